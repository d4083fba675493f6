import math

import pytest

from raven.app.engine_view import Endpoints, EngineView, quantile
from raven.testing import ManualClock

core = pytest.importorskip("raven._core", reason="the native engine is not built")

ENDPOINTS = Endpoints("test", "127.0.0.1:1", "http://h/health", "http://h/metrics")
SNAPSHOT = b'{"lastUpdateId":100,"bids":[["61000.5","1.0"]],"asks":[["61000.6","2.0"]]}'
DIFF = (
    b'{"e":"depthUpdate","E":1723075200000,"T":1723075200000,"s":"BTCUSDT","U":99,"u":101,"pu":98,'
    b'"b":[["61000.4","3"]],"a":[]}'
)


def trade(number: int, quantity: str = "0.125", *, seller: bool = False) -> bytes:
    return (
        f'{{"e":"aggTrade","E":1723075200000,"a":{number},"s":"BTCUSDT","p":"61000.6","q":"{quantity}","f":{number},'
        f'"l":{number},"T":1723075200000,"m":{"true" if seller else "false"}}}'
    ).encode()


class Rig:
    """An engine with one symbol, fed by hand."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.hub = core.Hub()
        self.engine = core.Engine(self.hub)
        venue = self.engine.add_venue("v", "futures")
        self.handle = self.engine.add_instrument(venue, "BTCUSDT", price_scale=1, quantity_scale=3)
        self.connection = self.engine.open_connection(venue)
        self.view = EngineView(
            self.engine,
            self.hub,
            lambda: [("v", "BTCUSDT", self.handle)],
            lambda venue, symbol: True,
            lambda: {"connections": 2, "streams": 3, "lost": 4, "messages": 0},
            ENDPOINTS,
            clock,
        )

    def feed(self, *frames: bytes) -> None:
        for frame in frames:
            self.engine.on_frame(self.connection, self.clock.time_ns(), frame)


@pytest.fixture
def rig(clock: ManualClock) -> Rig:
    return Rig(clock)


def test_a_symbol_without_a_book_shows_nothing_rather_than_zero(rig: Rig) -> None:
    (row,) = rig.view.rows()

    assert (row.state, row.bid, row.ask, row.spread_ticks, row.last_price) == ("waiting", "", "", None, "")


def test_a_row_shows_the_touch_and_the_last_trade_exactly(rig: Rig) -> None:
    rig.feed(DIFF)
    rig.engine.on_snapshot(rig.handle, rig.clock.time_ns(), SNAPSHOT, limit=1000)
    rig.feed(trade(5), trade(6, "0.250", seller=True))

    (row,) = rig.view.rows()

    assert (row.state, row.bid, row.ask, row.spread_ticks) == ("synced", "61000.5", "61000.6", 1)
    assert row.spread_bps == pytest.approx(0.0164, abs=1e-4)
    assert (row.last_quantity, row.last_price, row.last_side) == ("0.250", "61000.6", "sell")


async def test_rates_are_counts_between_two_looks(rig: Rig) -> None:
    rig.view.rows()
    rig.view.totals()
    rig.feed(*(trade(number) for number in range(1, 11)))
    await rig.clock.advance(2)

    (row,) = rig.view.rows()

    assert row.trades_per_s == 5
    assert rig.view.totals().frames_per_s == 5


def test_totals_tell_clients_losses_and_endpoints(rig: Rig) -> None:
    totals = rig.view.totals()

    assert (totals.clients, totals.streams, totals.lost, totals.grpc) == (2, 3, 4, "127.0.0.1:1")
    assert totals.latency_p50_us is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.99, 4.0), (0.1, 1.0)])
def test_a_quantile_is_the_bound_of_its_bucket(share: float, expected: float) -> None:
    assert quantile([10, 50, 39, 1], [1.0, 2.0, 4.0, math.inf], share) == expected


def test_beyond_the_last_bound_the_last_bound_is_said() -> None:
    assert quantile([0, 5], [1.0, math.inf], 0.5) == 1.0
    assert quantile([0, 0], [1.0, math.inf], 0.5) is None

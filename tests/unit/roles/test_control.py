"""What is started by hand is collected until it is stopped by hand, whoever else wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from raven.errors import DataValidation, NetworkTimeout
from raven.fanout import Limits, Refused, Status, Unobtainable, dialect
from raven.fanout.dialect import Dialect
from raven.roles.control import CONTROL, CollectorControl
from raven.topics import Collected, DataType, StreamKind, Topic

ANY, TRADE = StreamKind.UNSPECIFIED, StreamKind.TRADE
SPOT, FUTURES = "binance_spot", "binance_futures"
LISTED = ("BTCUSDT", "ETHUSDT", "STUCK", "NOBOOK")


class Holders:
    """A collector that counts references and starts nothing."""

    def __init__(self, *venues: str) -> None:
        self.venue_names = venues
        self.held: dict[Topic, set[str]] = {}
        self.statuses: dict[Topic, str] = {}

    def venues(self) -> Sequence[str]:
        return self.venue_names

    def symbols(self, venue: str) -> Sequence[str]:
        return ()

    async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
        return symbol in LISTED

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        if symbol not in LISTED:
            raise DataValidation(f"{venue} has no symbol {symbol!r}; did you mean BTCUSDT?")
        if symbol == "STUCK":
            await asyncio.Event().wait()
        if symbol == "NOBOOK" and data_type is DataType.ORDERBOOK:
            raise NetworkTimeout("the venue does not answer")
        self.held.setdefault(Topic(venue, symbol, data_type), set()).add(holder)
        return 1

    async def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None:
        topic = Topic(venue, symbol, data_type)
        self.held.get(topic, set()).discard(holder)
        if not self.held.get(topic):
            self.held.pop(topic, None)

    async def release_all(self, holder: str) -> None:
        for topic in list(self.held):
            await self.release(holder, topic.venue, topic.symbol, topic.data_type)

    def collected(self) -> Sequence[Collected]:
        return [
            Collected(topic, frozenset(holders), self.statuses.get(topic, "live"))
            for topic, holders in sorted(self.held.items())
        ]

    def by_hand(self) -> list[str]:
        return [topic.name for topic, holders in sorted(self.held.items()) if CONTROL in holders]


@pytest.fixture
def collector() -> Holders:
    return Holders(SPOT, FUTURES)


def control_of(collector: Holders, offered: Dialect = dialect.SOURCE, limits: Limits | None = None) -> CollectorControl:
    return CollectorControl(collector, offered, limits=limits, start_timeout_s=0.01)


async def test_no_kind_means_what_the_service_is_there_for(collector: Holders) -> None:
    said = await control_of(collector).start("btcusdt", "", ANY)

    assert said == "collecting TRADES, ORDERBOOK of BTCUSDT from binance_spot"
    assert collector.by_hand() == ["binance_spot.BTCUSDT.ORDERBOOK", "binance_spot.BTCUSDT.TRADES"]


@pytest.mark.parametrize("kind", [ANY, StreamKind.CANDLE])
async def test_an_aggregator_collects_its_bars(collector: Holders, kind: StreamKind) -> None:
    await control_of(collector, dialect.aggregator(DataType.CANDLES_5M)).start("BTCUSDT", "", kind)

    assert collector.by_hand() == ["binance_spot.BTCUSDT.CANDLES_5M"]


async def test_starting_twice_changes_nothing_and_says_so(collector: Holders) -> None:
    control = control_of(collector)
    await control.start("BTCUSDT", FUTURES, TRADE)

    assert await control.start("BTCUSDT", FUTURES, TRADE) == (
        "TRADES of BTCUSDT from binance_futures was started before"
    )
    assert collector.by_hand() == ["binance_futures.BTCUSDT.TRADES"]


@pytest.mark.parametrize(
    ("symbol", "venue", "kind", "status", "words"),
    [
        pytest.param("BTCUSD", SPOT, TRADE, Status.NOT_FOUND, "did you mean BTCUSDT", id="unknown symbol"),
        pytest.param(
            "BTCUSDT", "binance_spt", TRADE, Status.INVALID_ARGUMENT, "did you mean 'binance_spot'", id="venue"
        ),
        pytest.param(
            "BTCUSDT",
            SPOT,
            StreamKind.OPEN_INTEREST,
            Status.UNIMPLEMENTED,
            "OPEN_INTEREST is not offered",
            id="kind not offered",
        ),
        pytest.param("", SPOT, TRADE, Status.INVALID_ARGUMENT, "symbol is ''", id="no symbol"),
        pytest.param("X" * 65, SPOT, TRADE, Status.INVALID_ARGUMENT, "at most 64 characters", id="a long symbol"),
        pytest.param("STUCK", SPOT, TRADE, Status.UNAVAILABLE, "did not start within 0.01 s", id="too slow"),
        pytest.param("NOBOOK", SPOT, ANY, Status.UNAVAILABLE, "the venue does not answer", id="the second of two"),
    ],
)
async def test_what_cannot_be_started_is_explained_and_leaves_nothing_behind(
    collector: Holders, symbol: str, venue: str, kind: StreamKind, status: Status, words: str
) -> None:
    with pytest.raises((Refused, Unobtainable)) as refusal:
        await control_of(collector).start(symbol, venue, kind)

    assert refusal.value.status is status
    assert words in refusal.value.message
    assert collector.held == {}


class OneBook(Holders):
    """Gives a book to the first who asks, when it is told to, and to nobody else."""

    def __init__(self) -> None:
        super().__init__(SPOT)
        self.asked, self.go_on = 0, asyncio.Event()

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        if data_type is DataType.ORDERBOOK:
            self.asked += 1
            if self.asked > 1:
                raise NetworkTimeout("the venue does not answer")
            await self.go_on.wait()
        return await super().acquire(holder, venue, symbol, data_type, depth)


async def test_of_two_starts_at_once_one_that_fails_takes_nothing_from_the_other() -> None:
    collector = OneBook()
    control = CollectorControl(collector, dialect.SOURCE, start_timeout_s=60)
    starts = [asyncio.create_task(control.start("BTCUSDT", "", ANY)) for _ in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)

    collector.go_on.set()
    await asyncio.gather(*starts, return_exceptions=True)

    assert collector.by_hand() == ["binance_spot.BTCUSDT.ORDERBOOK", "binance_spot.BTCUSDT.TRADES"]


async def test_control_has_a_quota_like_every_client(collector: Holders) -> None:
    control = control_of(collector, limits=Limits(max_topics_per_client=3))
    await control.start("BTCUSDT", "", ANY)

    with pytest.raises(Refused) as refusal:
        await control.start("ETHUSDT", "", ANY)

    assert refusal.value.status is Status.RESOURCE_EXHAUSTED


async def test_stopping_takes_nothing_from_those_who_listen(collector: Holders) -> None:
    control = control_of(collector)
    await control.start("BTCUSDT", "", ANY)
    await collector.acquire("stream:1", SPOT, "BTCUSDT", DataType.TRADES)

    said = await control.stop("btcusdt", "", ANY)

    assert said == "stopped TRADES, ORDERBOOK of BTCUSDT from binance_spot; it goes on for 1 subscriber"
    assert collector.held == {Topic(SPOT, "BTCUSDT", DataType.TRADES): {"stream:1"}}


async def test_one_kind_is_stopped_alone(collector: Holders) -> None:
    control = control_of(collector)
    await control.start("BTCUSDT", "", ANY)

    said = await control.stop("BTCUSDT", SPOT, StreamKind.ORDERBOOK)

    assert said == "stopped ORDERBOOK of BTCUSDT from binance_spot; nobody else wants it, so it ends"
    assert collector.by_hand() == ["binance_spot.BTCUSDT.TRADES"]


async def test_a_venue_need_not_be_named_to_stop(collector: Holders) -> None:
    control = control_of(collector)
    await control.start("BTCUSDT", FUTURES, TRADE)

    await control.stop("BTCUSDT", "", ANY)

    assert collector.held == {}


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        pytest.param("BTCUSDT", "it goes on for configuration and 1 subscriber", id="held by others only"),
        pytest.param("BTCUSD", "is not collected (did you mean 'BTCUSDT'?)", id="not collected"),
    ],
)
async def test_what_was_not_started_cannot_be_stopped(collector: Holders, symbol: str, words: str) -> None:
    await collector.acquire("configuration", SPOT, "BTCUSDT", DataType.TRADES)
    await collector.acquire("client:desk", SPOT, "BTCUSDT", DataType.TRADES)

    with pytest.raises(Refused) as refusal:
        await control_of(collector).stop(symbol, "", ANY)

    assert refusal.value.status is Status.NOT_FOUND
    assert words in refusal.value.message


async def test_everything_is_stopped_at_once_and_again(collector: Holders) -> None:
    control = control_of(collector)
    await control.start("BTCUSDT", "", ANY)
    await control.start("ETHUSDT", FUTURES, TRADE)

    assert await control.stop_all() == "stopped 2 symbols; nobody else wants it, so it ends"
    assert collector.held == {}
    assert await control.stop_all() == "nothing was started by hand, so there is nothing to stop"


async def test_a_row_has_every_holder_but_control_and_the_worst_status(collector: Holders) -> None:
    control = control_of(collector)
    await control.start("BTCUSDT", "", ANY)
    for holder in ("stream:1", "stream:2"):
        await collector.acquire(holder, SPOT, "BTCUSDT", DataType.TRADES)
    collector.statuses[Topic(SPOT, "BTCUSDT", DataType.ORDERBOOK)] = "resyncing"
    await control.start("ETHUSDT", "", TRADE)

    rows = [(row.symbol, row.venue, row.status, row.subscribers) for row in control.collections()]

    assert rows == [("BTCUSDT", SPOT, "resyncing", 2), ("ETHUSDT", SPOT, "live", 0)]


async def test_a_symbol_lingers_only_when_all_of_it_does(collector: Holders) -> None:
    topics = [Topic(SPOT, "BTCUSDT", data_type) for data_type in (DataType.TRADES, DataType.ORDERBOOK)]
    collector.held = {topic: set() for topic in topics}
    collector.statuses = dict.fromkeys(topics, "lingering")
    control = control_of(collector)
    assert control.collections()[0].status == "lingering"

    collector.statuses[topics[0]] = "live"
    assert control.collections()[0].status == "live"

"""Whoever subscribes may use names; topics have the venue's symbols."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.unit.fanout.conftest import FakeCollector, FakeStreams, Scene

from raven.errors import NetworkTimeout
from raven.fanout import Fanout, Status, Subscribe, Unsubscribe
from raven.fanout.names import names_of, note
from raven.instruments import Instrument, Listing
from raven.testing import ManualClock
from raven.topics import DataType

FUTURES, SPOT = "binance_futures", "binance_spot"
TRADES = DataType.TRADES


def instrument(symbol: str, base: str, factor: int = 1) -> Instrument:
    return Instrument(symbol, 2, 3, base=base, quote="USDT", factor=factor)


class NamingCollector(FakeCollector):
    """One coin that the venues call differently, and a venue that may not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.configured = {FUTURES: ["BTCUSDT", "1000PEPEUSDT"], SPOT: []}
        self.listings = {
            FUTURES: Listing(
                FUTURES,
                {"BTCUSDT": instrument("BTCUSDT", "BTC"), "1000PEPEUSDT": instrument("1000PEPEUSDT", "PEPE", 1000)},
            ),
            SPOT: Listing(SPOT, {"PEPEUSDT": instrument("PEPEUSDT", "PEPE"), "ADAUSDT": instrument("ADAUSDT", "ADA")}),
        }
        self.is_silent = False

    def known_as(self, venue: str, text: str) -> str:
        return self.listings[venue].known_as(text)

    async def resolve(self, venue: str, text: str) -> Instrument:
        if self.is_silent:
            raise NetworkTimeout(f"{venue} does not answer")
        return self.listings[venue].resolve(text)

    async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
        return symbol in self.listings[venue]


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    collector, streams, clock = NamingCollector(), FakeStreams(), ManualClock()
    made = Scene(Fanout(collector, streams, clock=clock), collector, streams, clock)
    yield made
    await made.fanout.close()


def asked(*symbols: str, venue: str = "") -> Subscribe:
    return Subscribe("c", symbols, (TRADES,), {"venue": venue} if venue else {})


@pytest.mark.parametrize("text", ["BTC/USDT", "btc-usdt", "btcusdt"])
async def test_every_spelling_is_one_topic(scene: Scene, text: str) -> None:
    await scene.fanout.subscribe(asked("BTCUSDT"))

    answer = await scene.fanout.subscribe(asked(text))

    assert (answer.success, answer.topics) == (True, ("binance_futures.BTCUSDT.TRADES",))
    assert scene.fanout.stats()["topics"] == 1


async def test_a_unit_of_many_is_told(scene: Scene) -> None:
    answer = await scene.fanout.subscribe(asked("pepe/usdt"))

    assert answer.topics == ("binance_futures.1000PEPEUSDT.TRADES",)
    assert answer.message.endswith("; PEPE/USDT is 1000PEPEUSDT on binance_futures: prices are of 1000 PEPE")


async def test_a_venue_filter_gives_the_symbol_of_that_venue(scene: Scene) -> None:
    answer = await scene.fanout.subscribe(asked("PEPE/USDT", venue=SPOT))

    assert answer.topics == ("binance_spot.PEPEUSDT.TRADES",)
    assert "prices are of" not in answer.message


async def test_who_unsubscribes_may_use_another_spelling(scene: Scene) -> None:
    await scene.fanout.subscribe(asked("1000PEPEUSDT", "BTCUSDT"))

    answer = await scene.fanout.unsubscribe(Unsubscribe("c", ("PEPE/USDT",), ()))

    assert answer.topics == ("binance_futures.1000PEPEUSDT.TRADES",)
    assert scene.collector.held.keys() == {(FUTURES, "BTCUSDT", TRADES)}


async def test_an_unknown_name_is_explained_by_every_venue_that_was_asked(scene: Scene) -> None:
    answer = await scene.fanout.subscribe(asked("ADA/USDX"))

    assert not answer.success
    assert answer.message == (
        "binance_futures has no symbol 'ADA/USDX'; `ravenctl symbols` lists what it has; "
        "binance_spot has no symbol 'ADA/USDX'; did you mean ADAUSDT?"
    )


async def test_a_venue_that_does_not_answer_is_no_reason_to_call_a_name_unknown(scene: Scene) -> None:
    assert isinstance(scene.collector, NamingCollector)
    scene.collector.is_silent = True

    scene.open_stream(1, Subscribe("", ("BTC/USDT",), (TRADES,), {}))
    await scene.until(lambda: 1 in scene.streams.ended)

    assert scene.streams.ended[1][0] is Status.UNAVAILABLE


async def test_without_lists_a_name_is_a_symbol_with_a_stroke_in_it() -> None:
    names = names_of(FakeCollector())

    assert names.known_as(SPOT, "btc/usdt") == "BTCUSDT"
    assert (await names.resolve(SPOT, "btc-usdt")).symbol == "BTCUSDT"


def test_nothing_is_said_to_who_asks_for_the_symbol_itself() -> None:
    assert note("1000PEPEUSDT", FUTURES, instrument("1000PEPEUSDT", "PEPE", 1000)) == ""


@pytest.mark.parametrize(
    ("text", "symbols"),
    [("PEPEUSDT", ("PEPEUSDT",)), ("pepe/usdt", ("1000PEPEUSDT", "PEPEUSDT")), ("btc/usdt", ("BTCUSDT",))],
)
async def test_in_the_past_a_name_is_what_every_venue_calls_it(
    scene: Scene, text: str, symbols: tuple[str, ...]
) -> None:
    assert scene.fanout.symbols_of([text, text]) == symbols

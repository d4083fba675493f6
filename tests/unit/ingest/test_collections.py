"""What is collected is decided by who wants it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from raven._core import Engine, Hub
from raven.errors import ConfigurationError, DataValidation, InternalError
from raven.ingest.collections import Collections
from raven.ingest.settings import IngestSettings
from raven.instruments import Instrument, Listing
from raven.testing import ManualClock
from raven.topics import DataType
from raven.venues.binance import usdm

VENUE, SYMBOL, TRADES = "binance_futures", "BTCUSDT", DataType.TRADES


class Snapshots:
    def __init__(self) -> None:
        self.forgotten: list[int] = []

    def forget(self, instrument: int) -> None:
        self.forgotten.append(instrument)


class Feed:
    """A venue with two symbols; keeps which streams were started and ended."""

    def __init__(self, handle: int) -> None:
        self.venue = usdm()
        self.handle = handle
        self.snapshots = Snapshots()
        self.listed = Listing(VENUE, {name: Instrument(name, 1, 3) for name in (SYMBOL, "ETHUSDT")})
        self.told: list[tuple[str, str, DataType]] = []
        self.list_is_there = asyncio.Event()
        self.list_is_there.set()

    async def look_up(self, symbol: str, seconds: float) -> None:
        await self.list_is_there.wait()

    def add(self, symbol: str, instrument: int, data_type: DataType) -> None:
        self.told.append(("add", symbol, data_type))

    def remove(self, symbol: str, data_type: DataType) -> None:
        self.told.append(("remove", symbol, data_type))


class Stand:
    def __init__(self, clock: ManualClock, **settings: Any) -> None:
        self.clock = clock
        self.hub = Hub()
        self.engine = Engine(self.hub)
        self.feed = Feed(self.engine.add_venue(VENUE, "futures"))
        feeds: Any = {VENUE: self.feed}
        self.collections = Collections(
            self.engine, self.hub, feeds, IngestSettings(**{"linger_s": 30.0, **settings}), 65_536, clock
        )

    async def acquire(self, holder: str, symbol: str = SYMBOL, data_type: DataType = TRADES, depth: int = 0) -> int:
        return await self.collections.acquire(holder, VENUE, symbol, data_type, depth)

    def release(self, holder: str, symbol: str = SYMBOL, data_type: DataType = TRADES) -> None:
        self.collections.release(holder, VENUE, symbol, data_type)

    def holders(self) -> dict[str, int]:
        return {topic.name: count for topic, count in self.collections.topics().items()}


@pytest.fixture
def stand(clock: ManualClock) -> Stand:
    return Stand(clock)


async def test_who_holds_what_can_be_told(stand: Stand) -> None:
    for holder in ("configuration", "a"):
        await stand.acquire(holder)
    stand.release("a")

    ((topic, holders),) = stand.collections.holders().items()
    assert (topic.name, holders) == (f"{VENUE}.{SYMBOL}.TRADES", {"configuration"})

    stand.release("configuration")
    assert list(stand.collections.holders().values()) == [frozenset()], "it lingers, and nobody wants it"


async def test_the_first_holder_starts_the_stream_and_the_others_share_it(stand: Stand) -> None:
    ids = {await stand.acquire(holder) for holder in ("configuration", "a", "b", "a")}

    assert len(ids) == 1
    assert stand.feed.told == [("add", SYMBOL, TRADES)]
    assert stand.holders() == {f"{VENUE}.{SYMBOL}.TRADES": 3}


async def test_the_last_one_to_leave_ends_it_after_the_linger_time(stand: Stand) -> None:
    await stand.acquire("a")
    await stand.acquire("b")

    stand.release("a")
    await stand.clock.advance(60)
    assert stand.feed.told == [("add", SYMBOL, TRADES)]
    stand.release("b")
    await stand.clock.advance(29.9)
    assert stand.feed.told == [("add", SYMBOL, TRADES)]
    await stand.clock.advance(0.2)

    assert stand.feed.told[1:] == [("remove", SYMBOL, TRADES)]
    assert stand.collections.instruments() == {}
    assert stand.holders() == {}


async def test_who_comes_back_in_time_keeps_it(stand: Stand) -> None:
    await stand.acquire("a")
    stand.release("a")
    await stand.clock.advance(29)

    await stand.acquire("b")
    await stand.clock.advance(120)

    assert stand.feed.told == [("add", SYMBOL, TRADES)]


async def test_what_is_configured_stays(stand: Stand) -> None:
    await stand.acquire("configuration")
    await stand.acquire("a")

    stand.collections.release_all("a")
    await stand.clock.advance(3600)

    assert stand.holders() == {f"{VENUE}.{SYMBOL}.TRADES": 1}


async def test_a_client_that_goes_lets_go_of_everything(stand: Stand) -> None:
    for symbol in (SYMBOL, "ETHUSDT"):
        for data_type in (TRADES, DataType.ORDERBOOK):
            await stand.acquire("a", symbol, data_type)

    stand.collections.release_all("a")
    await stand.clock.advance(31)

    assert stand.holders() == {}
    assert len([what for what, *_ in stand.feed.told if what == "remove"]) == 4
    assert len(stand.feed.snapshots.forgotten) == 2


async def test_all_who_ask_before_the_list_is_there_are_holders(stand: Stand) -> None:
    stand.feed.list_is_there.clear()
    asking = [asyncio.create_task(stand.acquire(holder)) for holder in ("a", "b", "c")]
    await stand.clock.settle()

    stand.feed.list_is_there.set()
    await asyncio.gather(*asking)

    assert stand.feed.told == [("add", SYMBOL, TRADES)]
    assert stand.holders() == {f"{VENUE}.{SYMBOL}.TRADES": 3}


async def test_letting_go_of_what_one_does_not_hold_changes_nothing(stand: Stand) -> None:
    await stand.acquire("a")

    stand.release("b")
    stand.release("a", "ETHUSDT")
    await stand.clock.advance(60)

    assert stand.holders() == {f"{VENUE}.{SYMBOL}.TRADES": 1}


@pytest.mark.parametrize(
    ("venue", "symbol", "data_type", "error"),
    [
        ("binance_spot", SYMBOL, TRADES, ConfigurationError),
        (VENUE, "NOPEUSDT", TRADES, DataValidation),
        (VENUE, SYMBOL, DataType.WALLET_UPDATES, DataValidation),
    ],
)
async def test_what_cannot_be_collected_is_refused_and_leaves_nothing_behind(
    stand: Stand, venue: str, symbol: str, data_type: DataType, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await stand.collections.acquire("a", venue, symbol, data_type)

    assert (stand.holders(), stand.feed.told, stand.collections.instruments()) == ({}, [], {})


async def test_who_could_not_be_served_holds_nothing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand.collections, "_hub", Hub())
    with pytest.raises(InternalError, match="the engine has no topic"):
        await stand.acquire("a")
    await stand.clock.advance(31)

    assert stand.holders() == {}


async def test_the_number_of_collections_is_bounded(clock: ManualClock) -> None:
    stand = Stand(clock, max_topics=1)
    await stand.acquire("a")

    with pytest.raises(DataValidation, match="1 topics are collected already"):
        await stand.acquire("a", "ETHUSDT")

    assert await stand.acquire("b") >= 0


async def test_small_letters_mean_the_same_symbol(stand: Stand) -> None:
    assert await stand.acquire("a", "btcusdt") == await stand.acquire("b", "BTCUSDT")
    stand.release("a", "btcusdt")

    assert stand.holders() == {f"{VENUE}.{SYMBOL}.TRADES": 1}


async def test_a_thousand_rounds_leave_nothing_behind(stand: Stand) -> None:
    tasks = len(asyncio.all_tasks())
    for number in range(1000):
        await stand.acquire(f"client{number}")
        stand.release(f"client{number}")
        if number % 10 == 0:
            await stand.clock.advance(31)
    await stand.clock.advance(31)

    assert len(asyncio.all_tasks()) == tasks
    assert stand.holders() == {}
    assert stand.clock.sleepers == 0

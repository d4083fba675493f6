"""One venue: streams spread over connections, symbols checked against the venue's list."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from raven.errors import DataValidation, NetworkTimeout
from raven.ingest import feed as feed_module
from raven.ingest.budgets import Budgets
from raven.ingest.feed import VenueFeed
from raven.ingest.settings import IngestSettings, VenuePlan
from raven.instruments import Instrument
from raven.ports import Request
from raven.resilience.bans import Bans
from raven.testing import ManualClock
from raven.topics import DataType
from raven.venues.binance import MARKET, PUBLIC, spot, usdm

LISTED = {name: Instrument(name, 2, 3) for name in ("BTCUSDT", "BTCUSDC", "ETHUSDT")}


class Rest:
    """Serves lists of symbols one after the other; an error stands for a venue that cannot be reached."""

    def __init__(self, *lists: Mapping[str, Instrument] | Exception) -> None:
        self.lists = list(lists)
        self.asked = 0

    async def get(self, request: Request) -> bytes:
        self.asked += 1
        answer = self.lists[min(self.asked, len(self.lists)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return ",".join(answer).encode()

    async def close(self) -> None:
        pass


class Venue:
    """Binance with a simpler list."""

    def __init__(self, venue: Any) -> None:
        self._venue = venue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    def instruments(self, body: bytes) -> tuple[Mapping[str, Instrument], int]:
        return {name: Instrument(name, 2, 3) for name in body.decode().split(",")}, 0


def make(clock: ManualClock, engine: Any, rest: Rest | None = None, venue: Any = None, **plan: Any) -> VenueFeed:
    venue = venue or Venue(usdm())
    feed = VenueFeed(
        venue, 0, engine, IngestSettings(), VenuePlan(venue.name, **plan), clock, Budgets(0.8, clock, Bans(clock))
    )
    feed._rest = rest or Rest(LISTED)  # type: ignore[assignment]
    return feed


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async def rest(self: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(feed_module.Shard, "run", rest)


def spread(feed: VenueFeed) -> list[tuple[str, int]]:
    return [(shard.category, len(shard.streams)) for shard in feed.shards]


@pytest.mark.usefixtures("no_connections")
@pytest.mark.parametrize(
    ("venue", "symbols", "per_connection", "expected"),
    [
        (usdm(), 1, 0, [(PUBLIC, 2), (MARKET, 1)]),
        (usdm(), 5, 4, [(PUBLIC, 4), (MARKET, 4), (PUBLIC, 4), (PUBLIC, 2), (MARKET, 1)]),
        (usdm(), 600, 0, [(PUBLIC, 1024), (MARKET, 600), (PUBLIC, 176)]),
        (spot(), 600, 0, [(PUBLIC, 1024), (PUBLIC, 776)]),
    ],
)
async def test_streams_are_spread_by_route_and_within_the_limit(
    clock: ManualClock, engine: Any, venue: Any, symbols: int, per_connection: int, expected: list[tuple[str, int]]
) -> None:
    feed = make(clock, engine, venue=venue, streams_per_connection=per_connection)

    for number in range(symbols):
        for data_type in (DataType.ORDERBOOK, DataType.TRADES, DataType.QUOTES):
            feed.add(f"S{number}USDT", number, data_type)

    assert sorted(spread(feed)) == sorted(expected)
    await feed.stop()


@pytest.mark.usefixtures("no_connections")
async def test_a_place_that_became_free_is_used_again(clock: ManualClock, engine: Any) -> None:
    feed = make(clock, engine, streams_per_connection=1)
    feed.add("BTCUSDT", 0, DataType.TRADES)
    feed.remove("BTCUSDT", DataType.TRADES)

    feed.add("ETHUSDT", 1, DataType.TRADES)

    assert spread(feed) == [(MARKET, 1)]
    assert [watch.symbol for watch in feed.watches()] == ["ETHUSDT"]
    await feed.stop()


@pytest.mark.usefixtures("no_connections")
async def test_a_symbol_is_connected_when_all_its_streams_are(clock: ManualClock, engine: Any) -> None:
    feed = make(clock, engine)
    feed.add("BTCUSDT", 0, DataType.ORDERBOOK)
    feed.add("BTCUSDT", 0, DataType.TRADES)
    public, market = feed.shards
    assert not feed.is_connected("BTCUSDT")

    public._link = market._link = object()  # type: ignore[assignment]
    assert feed.is_connected("BTCUSDT")
    market._link = None
    assert not feed.is_connected("BTCUSDT")
    feed.remove("BTCUSDT", DataType.TRADES)
    assert feed.is_connected("BTCUSDT")
    assert not feed.is_connected("ETHUSDT")
    await feed.stop()


@pytest.mark.usefixtures("no_connections")
async def test_why_a_stream_does_not_speak_is_told_in_a_word(clock: ManualClock, engine: Any) -> None:
    feed = make(clock, engine)
    feed.add("BTCUSDT", 0, DataType.TRADES)
    (shard,) = feed.shards
    (name,) = shard.streams
    said = [feed.stream_trouble("BTCUSDT", DataType.TRADES)]

    link = SimpleNamespace(requests=SimpleNamespace(refused={}))
    shard._link = link  # type: ignore[assignment]
    said.append(feed.stream_trouble("BTCUSDT", DataType.TRADES))
    feed.watchdog.silent.add(name)
    said.append(feed.stream_trouble("BTCUSDT", DataType.TRADES))
    link.requests.refused[name] = "no such stream"
    said.append(feed.stream_trouble("BTCUSDT", DataType.TRADES))

    assert said == ["connecting", "", "silent", "refused"]
    await feed.stop()


@pytest.mark.usefixtures("no_connections")
async def test_a_lost_connection_desyncs_what_was_on_it(clock: ManualClock, engine: Any) -> None:
    feed = make(clock, engine)
    feed.add("BTCUSDT", 0, DataType.ORDERBOOK)
    feed.add("BTCUSDT", 0, DataType.TRADES)
    feed.add("ETHUSDT", 1, DataType.TRADES)
    public, market = feed.shards

    feed._on_lost(public, "venue closed 1001", 0.5)
    feed._on_lost(market, "lost", None)

    assert engine.told == [
        ("desync", 0, "reconnect", True),
        ("desync", 0, "reconnect", False),
        ("desync", 1, "reconnect", False),
    ]
    await feed.stop()


async def test_an_unknown_symbol_is_answered_with_the_nearest(clock: ManualClock, engine: Any) -> None:
    feed = make(clock, engine)
    feed.start()
    await feed.look_up("BTCUSD", 5)

    with pytest.raises(DataValidation, match=r"no symbol 'BTCUSD'; did you mean BTCUSDT, BTCUSDC"):
        feed.listed.resolve("BTCUSD")
    assert feed.listed.resolve("BTCUSDT") == LISTED["BTCUSDT"]
    await feed.stop()


async def test_a_symbol_that_was_listed_since_is_found(clock: ManualClock, engine: Any) -> None:
    rest = Rest(LISTED, {**LISTED, "NEWUSDT": LISTED["BTCUSDT"]})
    feed = make(clock, engine, rest)
    feed.start()
    await feed.look_up("NEWUSDT", 5)
    assert rest.asked == 1

    await clock.advance(61)
    await feed.look_up("NEWUSDT", 5)
    await feed.look_up("NEVERUSDT", 5)

    # One question a minute at most, whatever people ask for.
    assert rest.asked == 2
    assert feed.listed.resolve("NEWUSDT").symbol == "NEWUSDT"
    await feed.stop()


async def test_without_a_list_collecting_goes_on_and_only_the_first_one_waits(clock: ManualClock, engine: Any) -> None:
    feed = make(clock, engine, Rest(NetworkTimeout("down")))
    feed.start()
    waiting = asyncio.create_task(feed.look_up("BTCUSDT", 5))
    await clock.advance(4.9)
    assert not waiting.done()
    await clock.advance(0.2)
    await waiting

    await asyncio.wait_for(feed.look_up("ETHUSDT", 5), 30)

    assert feed.listed.resolve("BTCUSDT") == Instrument("BTCUSDT", 0, 0)
    for strange in ("", "A&B=C", "A B", "A/../B", "X" * 65, "A\n"):
        with pytest.raises(DataValidation, match="cannot be a symbol"):
            feed.listed.resolve(strange)
    await feed.stop()


async def test_the_list_is_asked_for_until_it_comes(clock: ManualClock, engine: Any) -> None:
    rest = Rest(NetworkTimeout("down"), NetworkTimeout("down"), LISTED)
    feed = make(clock, engine, rest)
    feed.start()

    await clock.advance(10)

    assert rest.asked == 3
    assert feed.listed == LISTED
    await feed.stop()

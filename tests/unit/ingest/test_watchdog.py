"""Is every stream speaking? Each one is measured against its own pace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from raven.ingest.settings import IngestSettings
from raven.ingest.watchdog import Watch, Watchdog
from raven.testing import ManualClock
from raven.topics import DataType

SETTINGS = IngestSettings(silence_s=10.0, max_silence_s=120.0, first_frame_s=15.0)
POSITION = {DataType.ORDERBOOK: 0, DataType.TRADES: 1, DataType.QUOTES: 2, DataType.FUNDING_RATES: 4}


@dataclass(eq=False)
class Shard:
    """A connection that keeps what it was told."""

    url: str = "wss://venue/route"
    category: str = "market"
    is_connected: bool = True
    streams: dict[str, None] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    told: list[Any] = field(default_factory=list)

    def resubscribe(self, names: list[str]) -> None:
        self.told.append(("resubscribe", sorted(names)))

    def rotate(self) -> None:
        self.told.append("rotate")

    def reconnect(self, reason: str) -> None:
        self.told.append(("reconnect", reason))


class Streams:
    """Streams of several symbols on a connection, each with the time between two events of it."""

    def __init__(self, clock: ManualClock, engine: Any) -> None:
        self.clock = clock
        self.engine = engine
        self.shard = Shard()
        self.watches: list[Watch] = []
        self.pauses: dict[str, float | None] = {}
        self.dog = Watchdog(lambda: self.watches, engine, SETTINGS, clock, "venue")

    def add(self, data_type: DataType, pause_s: float | None, shard: Shard | None = None) -> str:
        shard = shard or self.shard
        name = f"{len(self.watches)}@{data_type.name}"
        self.watches.append(Watch(name, "SYMBOL", len(self.watches), data_type, shard))
        self.pauses[name] = pause_s
        shard.streams[name] = None
        return name

    async def run(self, seconds: int) -> None:
        """Let time pass, second by second; a stream with a pause speaks at every multiple of it."""
        for _ in range(seconds):
            await self.clock.advance(1)
            now = self.clock.monotonic()
            for watch in self.watches:
                pause = self.pauses[watch.name]
                if pause is not None and now % pause < 1:
                    self.engine.seen[watch.instrument][POSITION[watch.data_type]] = int(now * 1e9)
            self.dog.check()


@pytest.fixture
def streams(clock: ManualClock, engine: Any) -> Streams:
    return Streams(clock, engine)


@pytest.mark.parametrize(
    ("data_type", "pause_s", "allowed_s"),
    [
        (DataType.ORDERBOOK, 1, 10),
        (DataType.QUOTES, 1, 10),
        (DataType.FUNDING_RATES, 3, 40),
        (DataType.ORDERBOOK, 8, 120),
        (DataType.TRADES, 1, 30),
        (DataType.TRADES, 20, 380),
    ],
)
async def test_a_stream_may_be_silent_for_twenty_of_its_pauses_between_floor_and_ceiling(
    streams: Streams, data_type: DataType, pause_s: float, allowed_s: int
) -> None:
    streams.add(DataType.QUOTES, 1)
    name = streams.add(data_type, pause_s)
    await streams.run(400)
    assert streams.dog.silent == set()

    streams.pauses[name] = None
    # Twice the limit is generous: what is asserted is that it is neither at once nor never.
    await streams.run(int(allowed_s * 0.8))
    assert streams.dog.silent == set()
    await streams.run(int(allowed_s * 0.5) + 2)

    assert streams.dog.silent == {name}
    assert streams.shard.told[0] == ("resubscribe", [name])


async def test_one_silent_book_is_flagged_and_the_others_are_left_alone(streams: Streams, engine: Any) -> None:
    names = [streams.add(DataType.ORDERBOOK, 1) for _ in range(100)]
    await streams.run(20)

    streams.pauses[names[7]] = None
    await streams.run(12)

    assert streams.shard.told == [("resubscribe", [names[7]])]
    assert engine.told == [("stale", 7, True)]


async def test_a_hundred_silent_streams_share_one_request(streams: Streams) -> None:
    streams.add(DataType.QUOTES, 1)
    names = [streams.add(DataType.ORDERBOOK, 1) for _ in range(100)]
    await streams.run(20)

    for name in names:
        streams.pauses[name] = None
    await streams.run(12)

    assert streams.shard.told == [("resubscribe", sorted(names))]


async def test_what_does_not_help_is_done_less_often_and_then_the_connection_is_replaced_once(streams: Streams) -> None:
    streams.add(DataType.QUOTES, 1)
    name = streams.add(DataType.ORDERBOOK, 1)
    await streams.run(20)

    streams.pauses[name] = None
    await streams.run(600)

    # After 10, 30, 70, 150, 310 s.
    assert streams.shard.told.count(("resubscribe", [name])) in (5, 6)
    assert streams.shard.told.count("rotate") == 1


async def test_a_stream_that_speaks_again_is_well(streams: Streams) -> None:
    streams.add(DataType.QUOTES, 1)
    name = streams.add(DataType.ORDERBOOK, 1)
    await streams.run(20)
    streams.pauses[name] = None
    await streams.run(15)
    assert streams.dog.silent == {name}

    streams.pauses[name] = 1
    await streams.run(2)

    assert streams.dog.silent == set()


async def test_a_connection_on_which_nothing_speaks_is_given_up(streams: Streams) -> None:
    names = [streams.add(DataType.ORDERBOOK, 1), streams.add(DataType.QUOTES, 1)]
    await streams.run(20)

    for name in names:
        streams.pauses[name] = None
    await streams.run(12)

    assert ("reconnect", "silent") in streams.shard.told


async def test_a_stream_that_never_speaks_is_called_by_name_with_the_route_as_hint(
    streams: Streams, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Shard(category="public")
    streams.add(DataType.QUOTES, 1, other)
    name = streams.add(DataType.FUNDING_RATES, None)

    await streams.run(14)
    assert streams.dog.silent == set()
    await streams.run(3)

    said = capsys.readouterr().out
    assert streams.dog.silent == {name}
    assert name in said
    assert "it never spoke here: streams of the kind 'market' may have moved to another route" in said
    # It stays on the list until it speaks, whatever connection it is on.
    streams.dog.begin_anew(name)
    assert streams.dog.silent == {name}
    assert other.told == []


@pytest.mark.parametrize("data_type", [DataType.LIQUIDATIONS, DataType.WALLET_UPDATES])
async def test_streams_whose_silence_is_good_news_are_not_watched(streams: Streams, data_type: DataType) -> None:
    streams.add(data_type, None)

    await streams.run(1000)

    assert streams.shard.told == []


@pytest.mark.parametrize("reason", ["refused", "not connected"])
async def test_streams_that_cannot_speak_are_not_blamed(streams: Streams, reason: str) -> None:
    name = streams.add(DataType.ORDERBOOK, None)
    streams.shard.is_connected = reason != "not connected"
    streams.shard.refused = {name: "bad name"} if reason == "refused" else {}

    await streams.run(100)

    assert (streams.shard.told, streams.dog.silent) == ([], set())


async def test_what_is_not_wanted_any_more_is_forgotten(streams: Streams) -> None:
    streams.add(DataType.QUOTES, 1)
    name = streams.add(DataType.ORDERBOOK, None)
    await streams.run(20)

    streams.watches.pop()
    streams.dog.forget(name)
    await streams.run(1)

    assert streams.dog.silent == set()

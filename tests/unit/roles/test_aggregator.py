"""Bars made of what a link brings: when somebody wants them, over restarts, with the past that was missed."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.roles.fake_link import Link

from raven._core import BarSpec, Hub, Reader, Record
from raven.bars.spec import bar_spec
from raven.errors import ConfigurationError
from raven.records import BarQuality, BarWord, Flags
from raven.roles.aggregator import Aggregator
from raven.roles.bar_states import BarStates
from raven.testing import ManualClock
from raven.topics import DataType, Topic

BARS = DataType.TICK_BARS
TRADES = Topic("venue", "BTCUSDT", DataType.TRADES)


class Stage:
    """An aggregator of bars of three trades, and its upstream."""

    def __init__(
        self, clock: ManualClock, folder: Path | None = None, spec: BarSpec | None = None, **options: Any
    ) -> None:
        self.link, self.hub, self.clock = Link(), Hub(), clock
        spec = spec or bar_spec("tick", ticks=3)
        self.aggregator = Aggregator(
            self.link, self.hub, spec, venue="venue", state_dir=folder, linger_s=30, clock=clock, **options
        )

    async def hold(self, holder: str = "a", data_type: DataType = BARS) -> Reader:
        topic_id = await self.aggregator.acquire(holder, "venue", "btcusdt", data_type)
        return self.hub.reader(topic_id, from_latest=True)

    async def release(self, holder: str = "a") -> None:
        await self.aggregator.release(holder, "venue", "BTCUSDT", BARS)

    async def trade(self, *ids: int) -> None:
        for number in ids:
            self.link.writers[TRADES].trade(
                self.clock.time_ns(), self.clock.time_ns(), number, 100 + number, 5, price_scale=1, quantity_scale=1,
                taker_sells=False,
            )  # fmt: skip
        await self.clock.advance(0.01)

    async def bars(self, reader: Reader, count: int) -> list[Record]:
        """Read so many bars."""
        read: list[Record] = []
        while len(read) < count:
            await self.clock.advance(0.005)
            read += reader.drain(10)
        return read

    def status(self) -> list[str]:
        return [row.status for row in self.aggregator.collected()]


def ids(bars: Sequence[Record]) -> list[tuple[int, int]]:
    return [(bar.body[BarWord.FIRST_TRADE_ID], bar.body[BarWord.LAST_TRADE_ID]) for bar in bars]


def is_complete(bar: Record) -> bool:
    return bool(bar.body[BarWord.QUALITY] & BarQuality.COMPLETE)


@pytest.fixture
async def stage(clock: ManualClock, tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(clock, tmp_path)
    await stage.aggregator.start()
    yield stage
    await stage.aggregator.stop()


async def test_bars_are_made_when_somebody_asks(stage: Stage) -> None:
    assert not stage.link.wishes
    reader = await stage.hold()
    assert stage.status() == ["waiting"]

    await stage.trade(1, 2, 3, 4)

    assert ids(reader.drain(10)) == [(1, 3)]
    assert stage.status() == ["live"]


async def test_the_upstream_is_let_go_of_when_nobody_listens(stage: Stage) -> None:
    await stage.hold()
    await stage.release()
    await stage.clock.advance(29)
    assert (stage.link.wishes[TRADES], stage.status()) == (1, ["lingering"])

    await stage.clock.advance(1)

    assert (stage.link.wishes[TRADES], stage.status()) == (0, [])
    assert stage.hub.topics() == []


async def test_what_was_known_of_a_bar_is_gone_on_with_when_it_is_asked_for_again(stage: Stage) -> None:
    await stage.hold()
    await stage.trade(1, 2, 3, 4)
    await stage.release()
    await stage.clock.advance(30)

    reader = await stage.hold()
    await stage.trade(5, 6)

    assert ids(await stage.bars(reader, 1)) == [(4, 6)]


async def test_a_restart_goes_on_with_the_bar(stage: Stage, clock: ManualClock, tmp_path: Path) -> None:
    await stage.hold()
    await stage.trade(1, 2)
    await stage.aggregator.stop()

    again = Stage(clock, tmp_path)
    await again.aggregator.start()
    reader = await again.hold()
    await again.trade(3)

    (bar,) = await again.bars(reader, 1)
    assert (ids([bar]), is_complete(bar)) == ([(1, 3)], True)
    await again.aggregator.stop()


async def test_a_killed_one_goes_on_from_what_was_kept_and_says_what_is_missing(
    stage: Stage, clock: ManualClock, tmp_path: Path
) -> None:
    await stage.hold()
    await stage.trade(1)
    await clock.advance(1.1)
    file = tmp_path / "bars.state"
    await until_there(file, clock)
    kept = file.read_bytes()
    await stage.trade(2)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "bars.state").write_bytes(kept)

    again = Stage(clock, tmp_path / "killed")
    await again.aggregator.start()
    reader = await again.hold()
    await again.trade(3, 4)

    (bar,) = await again.bars(reader, 1)
    assert ids([bar]) == [(1, 4)]
    assert (bar.body[BarWord.GAP_COUNT], is_complete(bar)) == (1, False)
    await again.aggregator.stop()


async def until_there(file: Path, clock: ManualClock) -> None:
    """Written on a thread."""
    while not file.exists():  # noqa: ASYNC240 - a look at a local folder
        await clock.advance(0.005)


async def test_bars_do_not_wait_for_the_disk(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("raven.roles.bar_states.BarStates.write", lambda _: go_on.wait(10))
    reader = await stage.hold()
    await stage.trade(1)
    await stage.clock.advance(1.1)

    await stage.trade(2, 3)
    made = ids(reader.drain(10))
    go_on.set()

    assert made == [(1, 3)]


async def test_a_stop_waits_for_the_file_that_is_being_written(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    writers, at_a_time = 0, []
    began, go_on, write = threading.Event(), threading.Event(), BarStates.write

    def write_slowly(states: BarStates) -> None:
        nonlocal writers
        writers += 1
        at_a_time.append(writers)
        began.set()
        if len(at_a_time) == 1:
            go_on.wait(10)
        write(states)
        writers -= 1

    monkeypatch.setattr("raven.roles.bar_states.BarStates.write", write_slowly)
    await stage.hold()
    await stage.trade(1)
    await stage.clock.advance(1.1)
    await asyncio.to_thread(began.wait, 10)

    stopping = asyncio.create_task(stage.aggregator.stop())
    for _ in range(10):
        await asyncio.sleep(0)
    go_on.set()
    await stopping

    assert at_a_time == [1, 1]


async def test_the_past_fills_what_was_missed(clock: ManualClock) -> None:
    asked = []

    def past(topic: Topic, since_ms: int) -> list[tuple[Any, ...]]:
        asked.append((topic, clock.time_ns() // 1_000_000 - since_ms))
        times, prices, numbers = [clock.time_ns() // 1_000_000] * 4, [100] * 4, [1, 2, 3, 4]
        times, prices, numbers = (
            memoryview(struct.pack("<4q", *column)).cast("q") for column in (times, prices, numbers)
        )
        return [(times, prices, prices, bytes(4), numbers, 1, 1)]

    stage = Stage(clock, past=past, warm_up_s=600)
    await stage.aggregator.start()
    reader = await stage.hold()
    # The last of the past comes a second time, live.
    await stage.trade(4, 5, 6)

    old, new = reader.drain(10)
    assert ids([old, new]) == [(1, 3), (4, 6)]
    assert (old.flags & Flags.BACKFILLED, new.flags & Flags.BACKFILLED) == (Flags.BACKFILLED, 0)
    assert asked == [(TRADES, 600_000)]
    await stage.aggregator.stop()


async def test_without_a_past_bars_begin_with_what_comes(clock: ManualClock) -> None:
    def past(topic: Topic, since_ms: int) -> list[tuple[Any, ...]]:
        raise ConfigurationError("this server keeps no history")

    stage = Stage(clock, past=past)
    await stage.aggregator.start()
    reader = await stage.hold()

    await stage.trade(7, 8, 9)

    assert ids(reader.drain(10)) == [(7, 9)]
    await stage.aggregator.stop()


async def test_a_past_that_makes_no_sense_leaves_nothing_behind(clock: ManualClock) -> None:
    told: list[tuple[Any, ...]] = [("no columns",)]
    stage = Stage(clock, past=lambda *_: told)
    await stage.aggregator.start()

    with pytest.raises(TypeError):
        await stage.hold()
    left = (stage.link.wishes[TRADES], stage.status(), stage.hub.topics())
    told.clear()
    reader = await stage.hold()
    await stage.trade(1, 2, 3)

    assert left == (0, [], [])
    assert ids(reader.drain(10)) == [(1, 3)]
    await stage.aggregator.stop()


async def test_bars_that_are_there_already_leave_nothing_held(stage: Stage) -> None:
    stage.hub.create_topic("venue", "BTCUSDT", BARS, 1 << 16)

    with pytest.raises(ValueError, match="exists"):
        await stage.hold()

    assert (stage.link.wishes[TRADES], stage.status()) == (0, [])


@pytest.mark.parametrize("damage", [b"", b"\x93garbage"])
async def test_a_damaged_file_is_reported_and_bars_begin_anew(
    clock: ManualClock, tmp_path: Path, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bars.state").write_bytes(damage)

    stage = Stage(clock, tmp_path)
    await stage.aggregator.start()
    reader = await stage.hold()
    await stage.trade(1, 2, 3)

    assert ids(reader.drain(10)) == [(1, 3)]
    await stage.aggregator.stop()


async def test_the_state_of_another_rule_is_not_used(stage: Stage, clock: ManualClock, tmp_path: Path) -> None:
    await stage.hold()
    await stage.trade(1, 2)
    await stage.aggregator.stop()

    link, hub = Link(), Hub()
    other = Aggregator(link, hub, bar_spec("tick", ticks=2), venue="venue", state_dir=tmp_path, clock=clock)
    await other.start()
    topic_id = await other.acquire("a", "venue", "BTCUSDT", BARS)
    reader = hub.reader(topic_id)
    for number in (3, 4):
        link.writers[TRADES].trade(0, 0, number, 1, 1, price_scale=0, quantity_scale=0, taker_sells=False)
    await clock.advance(0.01)

    assert ids(reader.drain(10)) == [(3, 4)]
    await other.stop()


async def test_the_clock_ends_no_bar_while_the_upstream_is_away(clock: ManualClock) -> None:
    stage = Stage(clock, spec=bar_spec("time", seconds=1))
    await stage.aggregator.start()
    reader = await stage.hold(data_type=DataType.TIME_BARS)
    await stage.trade(1)

    stage.link.away = True
    await clock.advance(10)
    assert reader.drain(10) == []
    stage.link.away = False
    await stage.trade(4)
    (bar,) = await stage.bars(reader, 1)

    assert ids([bar]) == [(1, 1)]
    assert (is_complete(bar), bar.body[BarWord.GAP_COUNT]) == (False, 2)
    await clock.advance(5)
    assert len(reader.drain(10)) == 1
    await stage.aggregator.stop()


async def test_after_a_restart_the_clock_ends_no_bar_before_it_is_known_what_is_missing(
    clock: ManualClock, tmp_path: Path
) -> None:
    spec = bar_spec("time", seconds=1)
    stage = Stage(clock, tmp_path, spec)
    await stage.aggregator.start()
    await stage.hold(data_type=DataType.TIME_BARS)
    await stage.trade(1)
    await stage.aggregator.stop()

    await clock.advance(10)
    again = Stage(clock, tmp_path, spec)
    await again.aggregator.start()
    reader = await again.hold(data_type=DataType.TIME_BARS)
    await clock.advance(1)
    await again.trade(4)

    (bar,) = reader.drain(10)
    assert ids([bar]) == [(1, 1)]
    assert (is_complete(bar), bar.body[BarWord.GAP_COUNT]) == (False, 2)
    await again.aggregator.stop()


async def test_what_makes_bars_impossible_reaches_whoever_watches(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raven.roles.aggregator.Aggregator._step", broken)
    await stage.hold()

    with pytest.raises(OSError, match="broken"):
        await stage.aggregator.watch()
    monkeypatch.undo()


async def test_an_end_in_order_is_no_news_for_whoever_watches(stage: Stage) -> None:
    watching = asyncio.create_task(stage.aggregator.watch())
    await stage.hold()

    await stage.aggregator.stop()

    await asyncio.wait_for(watching, 5)
    assert watching.exception() is None


def broken(_: Aggregator) -> None:
    raise OSError("broken")

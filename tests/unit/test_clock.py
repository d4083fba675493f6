import asyncio

import pytest

from raven.clock import SystemClock, parse_time
from raven.errors import DataValidation
from raven.testing import ManualClock


async def test_sleepers_wake_in_the_order_of_their_deadlines(clock: ManualClock) -> None:
    woken: list[str] = []

    async def nap(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(f"{name}@{clock.monotonic():g}")

    tasks = [asyncio.create_task(nap(name, s)) for name, s in (("late", 3), ("early", 1), ("tie", 3))]
    await clock.advance(5)

    assert woken == ["early@1", "late@3", "tie@3"]
    await asyncio.gather(*tasks)


async def test_a_task_that_sleeps_again_is_woken_again_inside_one_advance(clock: ManualClock) -> None:
    ticks: list[float] = []

    async def every_second() -> None:
        while True:
            await clock.sleep(1)
            ticks.append(clock.monotonic())

    task = asyncio.create_task(every_second())
    await clock.advance(3.5)
    task.cancel()

    assert ticks == [1, 2, 3]


async def test_a_cancelled_sleeper_is_forgotten(clock: ManualClock) -> None:
    task = asyncio.create_task(clock.sleep(10))
    await clock.settle()
    assert (clock.sleepers, clock.next_deadline_s) == (1, 10.0)

    task.cancel()
    await clock.settle()

    assert (clock.sleepers, clock.next_deadline_s) == (0, None)
    await clock.advance(20)
    assert clock.monotonic() == 20


async def test_the_manual_clock_refuses_to_go_back(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="does not go back"):
        await clock.advance(-1)


async def test_both_kinds_of_time_move_together(clock: ManualClock) -> None:
    before_ns = clock.time_ns()

    await clock.advance(1.5)

    assert clock.time_ns() - before_ns == 1_500_000_000


async def test_the_system_clock_never_sleeps_backwards() -> None:
    clock = SystemClock()
    before = clock.monotonic()

    await clock.sleep(-1)

    assert clock.monotonic() >= before
    assert clock.time_ns() > 1_700_000_000_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20", 1_795_132_800 * 10**9),
        ("2026-11-20T12:30:00Z", 1_795_177_800 * 10**9),
        ("2026-11-20T13:30:00+01:00", 1_795_177_800 * 10**9),
        ("2026-11-20T12:30:00.123456", 1_795_177_800 * 10**9 + 123_456_000),
        ("-90s", -90 * 10**9),
        ("-1.5h", -5_400 * 10**9),
        ("-2d", -172_800 * 10**9),
    ],
)
def test_a_time_is_a_moment_or_so_long_ago(text: str, expected: int) -> None:
    assert parse_time(text, 0) == expected


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01", "-9999999d"])
def test_a_time_that_nanoseconds_cannot_say_is_refused(text: str) -> None:
    with pytest.raises(DataValidation, match="is out of range; expected a time between"):
        parse_time(text, 0)


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "-h", "-²h", "1h", "-1y", "2026-13-01"])
def test_what_is_no_time_is_said_with_what_is(text: str) -> None:
    with pytest.raises(DataValidation, match="is no time; expected one like"):
        parse_time(text, 0)

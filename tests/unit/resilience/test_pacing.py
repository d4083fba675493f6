"""At most so much in any window of time, whoever asks."""

from __future__ import annotations

import asyncio

import pytest

from raven.resilience.pacing import Pacer
from raven.testing import ManualClock


async def test_no_window_holds_more_than_the_limit(clock: ManualClock) -> None:
    pacer = Pacer(5, 1.0, clock)
    moments: list[float] = []

    async def work() -> None:
        await pacer.take()
        moments.append(clock.monotonic())

    tasks = [asyncio.create_task(work()) for _ in range(23)]
    await clock.advance(4.5)
    await asyncio.gather(*tasks)

    assert moments == [0.0] * 5 + [1.0] * 5 + [2.0] * 5 + [3.0] * 5 + [4.0] * 3


async def test_who_came_first_goes_first_even_with_a_larger_wish(clock: ManualClock) -> None:
    pacer = Pacer(10, 60.0, clock)
    await pacer.take(8)
    order: list[str] = []

    async def work(name: str, units: float) -> None:
        await pacer.take(units)
        order.append(name)

    tasks = [asyncio.create_task(work("large", 5)), asyncio.create_task(work("small", 1))]
    await clock.advance(59)
    assert order == []
    await clock.advance(1)
    await asyncio.gather(*tasks)

    assert order == ["large", "small"]


async def test_more_than_the_limit_fits_when_nothing_else_was_taken(clock: ManualClock) -> None:
    pacer = Pacer(10, 60.0, clock)

    await pacer.take(25)

    assert pacer.used == 25
    assert pacer.wait_s(1) == 60.0


async def test_what_the_other_side_counted_more_is_believed(clock: ManualClock) -> None:
    pacer = Pacer(100, 60.0, clock)
    await pacer.take(10)

    pacer.note(95)
    pacer.note(50)

    assert pacer.used == 95
    assert pacer.wait_s(5) == 0.0
    assert pacer.wait_s(6) == 60.0


@pytest.mark.parametrize(
    ("units", "seconds"), [(10, 0.0), (96, 0.0), (97, 60.0), (192, 60.0), (193, 120.0), (1000, 600.0)]
)
async def test_the_end_of_a_queue_can_be_told(clock: ManualClock, units: float, seconds: float) -> None:
    assert Pacer(96, 60.0, clock).queue_s(units) == seconds


async def test_a_limit_can_change(clock: ManualClock) -> None:
    pacer = Pacer(1, 1.0, clock)
    await pacer.take()
    assert pacer.wait_s(1) == 1.0

    pacer.set_limit(2)

    assert pacer.wait_s(1) == 0.0

"""Work on a thread is done when whoever waited for it goes on, cancelled or not."""

from __future__ import annotations

import asyncio
import threading

import pytest

from raven.resilience.finishing import to_the_end


async def test_what_the_work_returns_and_raises_comes_back() -> None:
    assert await to_the_end(int, "12", base=16) == 18

    with pytest.raises(ValueError, match="invalid literal"):
        await to_the_end(int, "nothing")


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_one_ends_after_the_work(fails: bool) -> None:
    began, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait(10)
        done.set()
        if fails:
            raise OSError("the disk is full")

    doing = asyncio.create_task(to_the_end(work))
    await asyncio.to_thread(began.wait, 10)
    doing.cancel()
    await asyncio.sleep(0)
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await doing
    assert done.is_set()

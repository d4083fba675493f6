"""A capture gets an answer for each book once an hour, and for all of them after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from raven.errors import NetworkTimeout
from raven.ingest.capture import Capture
from raven.ingest.checkpoints import Checkpoints
from raven.testing import ManualClock


class LosingCapture(Capture):
    def __init__(self) -> None:
        self.count = 0

    @property
    def lost(self) -> int:
        return self.count


class AskedFeed:
    venue = type("Venue", (), {"name": "binance_spot"})

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def capture_book(self, symbol: str) -> None:
        self.asked.append(symbol)
        if symbol == "B":
            raise NetworkTimeout("no answer")


@asynccontextmanager
async def running(capture: Capture, feed: AskedFeed, symbols: list[str], clock: ManualClock) -> AsyncIterator[None]:
    books: Any = lambda: [(cast("Any", feed), symbol) for symbol in symbols]  # noqa: E731
    task = asyncio.ensure_future(Checkpoints(capture, books, clock, round_s=30.0).run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_book_is_asked_for_once_in_a_round(clock: ManualClock) -> None:
    feed = AskedFeed()
    async with running(Capture(), feed, ["A", "B", "C"], clock):
        for _ in range(61):
            await clock.advance(1.0)
    assert feed.asked == ["A", "B", "C", "A", "B", "C"]


async def test_after_a_loss_all_are_asked_for_once_the_disk_keeps_up_again(clock: ManualClock) -> None:
    feed, capture = AskedFeed(), LosingCapture()
    async with running(capture, feed, ["A", "B", "C"], clock):
        for _ in range(3):
            capture.count += 10
            await clock.advance(1.0)
        assert feed.asked == [], "still losing"
        for _ in range(3):
            await clock.advance(1.0)
    assert feed.asked == ["A", "B", "C"]


async def test_without_books_nothing_is_asked_for(clock: ManualClock) -> None:
    feed = AskedFeed()
    async with running(Capture(), feed, [], clock):
        for _ in range(70):
            await clock.advance(1.0)
    assert feed.asked == []

"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools

__all__ = ["ManualClock"]

# 2024-08-08 00:00:00 UTC, the day of the reference recordings; any fixed moment would do.
DEFAULT_START_NS = 1_723_075_200_000_000_000


class ManualClock:
    """A `raven.clock.Clock` moved by hand; sleepers wake in order of their deadlines, ties in the order they came.

    `await clock.advance(s)` moves the time deadline by deadline and lets the woken tasks run to their next wait before
    the time goes on, so a task that sleeps again inside the interval is woken again, at its exact time.
    """

    def __init__(self, start_ns: int = DEFAULT_START_NS) -> None:
        self._start_ns = start_ns
        self._elapsed_ns = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """Return seconds since this clock was made."""
        return self._elapsed_ns / 1e9

    def time_ns(self) -> int:
        """Return nanoseconds since 1970 on this clock."""
        return self._start_ns + self._elapsed_ns

    @property
    def sleepers(self) -> int:
        """How many tasks are asleep."""
        return sum(1 for _, _, future in self._sleepers if not future.done())

    @property
    def next_deadline_s(self) -> float | None:
        """Seconds until the next sleeper is due, None when nobody sleeps."""
        due = [deadline for deadline, _, future in self._sleepers if not future.done()]
        return (min(due) - self._elapsed_ns) / 1e9 if due else None

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by as much; zero or less only gives other tasks a turn."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_ns + round(seconds * 1e9), next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move the time forward and run everything that becomes due, in order.

        Raises: ValueError when asked to go back.
        """
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds} s: time does not go back")
        await self.settle()
        target = self._elapsed_ns + round(seconds * 1e9)
        while self._sleepers and self._sleepers[0][0] <= target:
            deadline, _, future = heapq.heappop(self._sleepers)
            if future.done():
                continue  # cancelled while asleep
            self._elapsed_ns = max(self._elapsed_ns, deadline)
            future.set_result(None)
            await self.settle()
        self._elapsed_ns = target
        await self.settle()

    async def settle(self, turns: int = 20) -> None:
        """Let ready tasks run without moving the time; `turns` bounds how long a chain of hand-overs may be."""
        for _ in range(turns):
            await asyncio.sleep(0)

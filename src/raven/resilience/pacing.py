"""Doing at most so much in so long: connection attempts, messages, request weight."""

from __future__ import annotations

import asyncio
import math
from collections import deque

from raven.clock import Clock

__all__ = ["Pacer"]


class Pacer:
    """A sliding window: at most `limit` units in any `window_s` seconds.

    `take` is called by any number of tasks of one loop; they are served in order.
    """

    def __init__(self, limit: float, window_s: float, clock: Clock) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._taken: deque[tuple[float, float]] = deque()
        self._used = 0.0
        self._turn = asyncio.Lock()

    def set_limit(self, limit: float) -> None:
        """Change the limit."""
        self._limit = limit

    @property
    def used(self) -> float:
        """Units taken in the window that ends now."""
        self._forget()
        return self._used

    def note(self, used: float) -> None:
        """Correct the account upwards: the other side has counted `used` units in the window."""
        missing = used - self.used
        if missing > 0:
            self._add(missing)

    def wait_s(self, units: float) -> float:
        """Return how long until `units` may be taken; 0 when now."""
        self._forget()
        over = self._used + min(units, self._limit) - self._limit
        if over <= 1e-9:
            return 0.0
        for at, amount in self._taken:
            over -= amount
            if over <= 1e-9:
                return max(0.0, at + self._window_s - self._clock.monotonic())
        return self._window_s

    def queue_s(self, units: float) -> float:
        """Return after how long the last of many requests that cost `units` together may go, if nobody else asks."""
        windows = max(0, math.ceil(units / self._limit) - 1)
        return windows * self._window_s + self.wait_s(units - windows * self._limit)

    async def take(self, units: float = 1.0) -> None:
        """Wait until `units` fit, and take them; more than the limit fits when nothing else was taken."""
        async with self._turn:
            while (pause := self.wait_s(units)) > 0:
                await self._clock.sleep(pause)
            self._add(units)

    def _add(self, units: float) -> None:
        self._taken.append((self._clock.monotonic(), units))
        self._used += units

    def _forget(self) -> None:
        # A microsecond early: times are sums of floats, and who waits for the last bit of one would wait for ever.
        edge = self._clock.monotonic() - self._window_s + 1e-6
        while self._taken and self._taken[0][0] <= edge:
            self._used -= self._taken.popleft()[1]

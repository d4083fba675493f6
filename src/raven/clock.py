"""Time as an argument: everything that waits or stamps takes a `Clock`, so tests move time by hand.

`raven.testing.ManualClock` is the hand-moved one.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the time is and how to wait."""

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; never goes back. For durations and deadlines."""
        ...

    def time_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC. For stamps; may jump when the machine's clock is set."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait. Zero or less still gives other tasks a turn."""
        ...


class SystemClock:
    """The machine's clock and the running asyncio loop."""

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    def time_ns(self) -> int:
        """Return `time.time_ns()`."""
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        await asyncio.sleep(max(0.0, seconds))

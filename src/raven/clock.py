"""Time as an argument: everything that waits or stamps takes a `Clock`, so tests move time by hand.

`raven.testing.ManualClock` is the hand-moved one.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

from raven.errors import DataValidation

__all__ = ["Clock", "SystemClock", "parse_time"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


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


def parse_time(text: str, now_ns: int) -> int:
    """Return the moment that a text names, ns since 1970: `2026-11-20`, `2026-11-20T12:30:00Z`, or `-1h` before now.

    Times without a zone are UTC. Raises: DataValidation when it is none of these.
    """
    moment_ns = _parsed(text, now_ns)
    if not -(2**63) <= moment_ns < 2**63:
        raise DataValidation(f"{text!r} is out of range; expected a time between the years 1678 and 2262")
    return moment_ns


def _parsed(text: str, now_ns: int) -> int:
    number, unit = text[1:-1], text[-1:]
    if text.startswith("-") and unit in _UNITS_S and number.replace(".", "", 1).isdecimal():
        return now_ns - round(float(number) * _UNITS_S[unit] * 1e9)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataValidation(
            f"{text!r} is no time; expected one like 2026-11-20, 2026-11-20T12:30:00Z, or -1h (units s, m, h, d)"
        ) from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    # A float of seconds has no room for microseconds since 1970.
    return int(aware.replace(microsecond=0).timestamp()) * 10**9 + aware.microsecond * 1000

"""Circuit breakers: whoever failed so often in a row is left alone for a while, then asked once whether it is back.

closed ──(failures in a row)──► open ──(pause over)──► half-open ──(one success)──► closed
                                  ▲──────(failure)─────────┘
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from raven.clock import Clock, SystemClock
from raven.errors import ConfigurationError
from raven.observe.metrics import record_breaker

__all__ = ["BreakerSettings", "BreakerState", "CircuitBreaker", "CircuitBreakerRegistry"]


class BreakerState(StrEnum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    """Lets it through."""
    OPEN = "open"
    """Refuses it at once."""
    HALF_OPEN = "half_open"
    """One call is under way to see whether the other side is back; others are refused."""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens and for how long. Raises: ConfigurationError for what makes no sense."""

    failures: int = 5
    """Failures in a row that open it."""
    open_s: float = 1.0
    """Pause before the first probe, seconds; it doubles with each probe that fails."""
    max_open_s: float = 30.0
    """Longest pause, seconds."""
    probe_s: float = 60.0
    """A probe that has not ended after so long counts as lost, and another may go."""

    def __post_init__(self) -> None:
        """Check that the values make sense."""
        if self.failures < 1 or not 0 < self.open_s <= self.max_open_s or self.probe_s <= 0:
            raise ConfigurationError(
                f"{self}: failures must be at least 1, 0 < open_s <= max_open_s, and probe_s more than 0"
            )


OnChange = Callable[[str, BreakerState, str], None]
"""Is told the breaker's name, its new state, and why."""


class CircuitBreaker:
    """Guards calls to one other side. May be used by any number of threads; a decision takes about a microsecond."""

    def __init__(
        self,
        name: str,
        settings: BreakerSettings | None = None,
        clock: Clock | None = None,
        on_change: OnChange = record_breaker,
    ) -> None:
        self.name = name
        self.last_failure = ""
        """Why the last call failed."""
        self._settings = settings or BreakerSettings()
        self._clock = clock or SystemClock()
        self._on_change = on_change
        self._lock = threading.Lock()
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._pause_s = self._settings.open_s
        self._until = 0.0

    @property
    def state(self) -> BreakerState:
        """What the last call left; that a pause is over shows when somebody asks `allows`."""
        return self._state

    def allows(self) -> bool:
        """Say whether a call may be made now; if so, tell afterwards how it went."""
        return self._state is BreakerState.CLOSED or self._allows_probe()

    def wait_s(self) -> float:
        """Return how long until a call may be made, seconds; 0 when now."""
        if self._state is BreakerState.CLOSED:
            return 0.0
        return max(0.0, self._until - self._clock.monotonic())

    def succeeded(self) -> None:
        """Say that a call went well."""
        if self._state is BreakerState.CLOSED and not self._failures:
            return
        with self._lock:
            self._failures = 0
            self._pause_s = self._settings.open_s
            self._change(BreakerState.CLOSED)

    def failed(self, reason: str = "") -> None:
        """Say that a call failed because of the other side; not for what was wrong with the call itself."""
        with self._lock:
            self._failures += 1
            self.last_failure = reason
            if self._state is BreakerState.CLOSED and self._failures < self._settings.failures:
                return
            if self._state is BreakerState.HALF_OPEN:
                self._pause_s = min(self._pause_s * 2, self._settings.max_open_s)
            self._until = self._clock.monotonic() + self._pause_s
            self._change(BreakerState.OPEN)

    def _allows_probe(self) -> bool:
        with self._lock:
            if self._state is BreakerState.CLOSED:
                return True
            now = self._clock.monotonic()
            if now < self._until:
                return False
            self._until = now + self._settings.probe_s
            self._change(BreakerState.HALF_OPEN)
            return True

    def _change(self, state: BreakerState) -> None:
        if state is not self._state:
            self._state = state
            self._on_change(self.name, state, self.last_failure)


class CircuitBreakerRegistry:
    """The breakers of a process by name: what health and metrics show."""

    def __init__(
        self,
        settings: BreakerSettings | None = None,
        clock: Clock | None = None,
        on_change: OnChange = record_breaker,
    ) -> None:
        self._settings = settings or BreakerSettings()
        self._clock = clock or SystemClock()
        self._on_change = on_change
        self._lock = threading.Lock()
        self._breakers: dict[str, CircuitBreaker] = {}

    def get(self, name: str, settings: BreakerSettings | None = None) -> CircuitBreaker:
        """Return the breaker of a name, made at the first call, with settings of its own if any are given."""
        with self._lock:
            if name not in self._breakers:
                self._breakers[name] = CircuitBreaker(name, settings or self._settings, self._clock, self._on_change)
            return self._breakers[name]

    def states(self) -> dict[str, BreakerState]:
        """Return the state of every breaker."""
        with self._lock:
            return {name: breaker.state for name, breaker in self._breakers.items()}

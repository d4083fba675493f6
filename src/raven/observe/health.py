"""Is the service well, and can it do its job: components with a status and a reason, and checks that say why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from raven.clock import Clock, SystemClock
from raven.observe.logs import get_logger
from raven.observe.metrics import COMPONENT_HEALTH

__all__ = ["Component", "Health", "Status"]

log = get_logger("health")


class Status(StrEnum):
    """How a component is."""

    HEALTHY = "healthy"
    """Works as promised."""
    DEGRADED = "degraded"
    """Works with limits; the reason says which."""
    UNHEALTHY = "unhealthy"
    """Does not work."""


_VALUE = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0}

ReadyCheck = Callable[[], str | None]
"""Returns None when ready, else why not."""


@dataclass(slots=True)
class Component:
    """One part of the service."""

    name: str
    critical: bool
    status: Status = Status.HEALTHY
    reason: str = ""
    since_ns: int = 0


class Health:
    """Collects what the parts say about themselves. Used from the main loop only."""

    def __init__(self, service: str, version: str, clock: Clock | None = None) -> None:
        self.service = service
        self.version = version
        self._clock = clock or SystemClock()
        self._started = self._clock.monotonic()
        self._components: dict[str, Component] = {}
        self._checks: dict[str, ReadyCheck] = {}
        self._limits: dict[str, ReadyCheck] = {}

    def set(self, name: str, status: Status, reason: str = "", *, critical: bool = True) -> None:
        """Say how a part is. A part that is not `critical` can make the service degraded, never unhealthy."""
        component = self._components.get(name)
        if component is None:
            component = self._components[name] = Component(name, critical, since_ns=self._clock.time_ns())
        elif component.status is not status:
            component.since_ns = self._clock.time_ns()
            write = log.info if status is Status.HEALTHY else log.warning
            write("component changed", component=name, was=component.status.value, now=status.value, reason=reason)
        component.status, component.reason, component.critical = status, reason, critical
        COMPONENT_HEALTH.labels(name, self.service).set(_VALUE[status])

    def remove(self, name: str) -> None:
        """Forget a part."""
        if self._components.pop(name, None):
            COMPONENT_HEALTH.remove(name, self.service)

    def add_ready_check(self, name: str, check: ReadyCheck) -> None:
        """Add a condition of `/ready`."""
        self._checks[name] = check

    def add_limit_check(self, name: str, check: ReadyCheck) -> None:
        """Add something that `/ready` names as soon as it is so: the service does its job, but not all of it."""
        self._limits[name] = check

    @property
    def components(self) -> Iterable[Component]:
        """All parts, in the order they first spoke."""
        return tuple(self._components.values())

    @property
    def status(self) -> Status:
        """The service as a whole: unhealthy when a critical part is, degraded when any part is not healthy."""
        if any(c.critical and c.status is Status.UNHEALTHY for c in self._components.values()):
            return Status.UNHEALTHY
        if any(c.status is not Status.HEALTHY for c in self._components.values()):
            return Status.DEGRADED
        return Status.HEALTHY

    def report(self) -> dict[str, Any]:
        """Return the body of `/health`."""
        return {
            "status": self.status.value,
            "service": self.service,
            "version": self.version,
            "uptime_seconds": round(self._clock.monotonic() - self._started, 3),
            "components": {
                c.name: {"status": c.status.value, "reason": c.reason, "since_ms": c.since_ns // 1_000_000}
                for c in self._components.values()
            },
        }

    def not_ready(self) -> dict[str, str]:
        """Return why the service cannot do its job now, by check; empty when it can."""
        reasons = {}
        for name, check in self._checks.items():
            if reason := check():
                reasons[name] = reason
        for component in self._components.values():
            if component.critical and component.status is Status.UNHEALTHY:
                reasons.setdefault(component.name, component.reason or "unhealthy")
        return reasons

    def ready_report(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the service is ready (also with limits), and the body of `/ready`."""
        reasons = self.not_ready()
        ready = not reasons
        limits = {name: reason for name, check in self._limits.items() if (reason := check())}
        told = limits | reasons
        checks = {name: told.get(name, "ok") for name in (*self._checks, *self._limits, *reasons)}
        return ready, {
            "status": "not_ready" if reasons else "degraded" if limits else "ready",
            "service": self.service,
            "version": self.version,
            "checks": checks,
        }

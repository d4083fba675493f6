"""One table of every service: its name, what it does, its gRPC port, and who it listens to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from raven.config import Settings

__all__ = ["SERVICES", "Role", "Service", "monitoring_port", "port"]


class Role(StrEnum):
    """What a service does with market data."""

    SERVER = "server"
    """All roles in one process."""
    SOURCE = "source"
    """Collects from a venue."""
    AGGREGATOR = "aggregator"
    """Makes bars of trades."""
    PERSISTENCE = "persistence"
    """Writes to a database."""


@dataclass(frozen=True, slots=True)
class Service:
    """One program that can run alone."""

    name: str
    role: Role
    port_key: str
    """Key of its gRPC port in `[server]`."""
    upstream: str | None = None
    """The service it hears when nothing else is said."""
    available: bool = False
    """Whether this version has it."""


_TABLE = (
    Service("raven", Role.SERVER, "port", available=True),
    Service("binance_spot", Role.SOURCE, "port_binance_spot"),
    Service("binance_futures", Role.SOURCE, "port_binance_futures"),
    Service("raven_timebar", Role.AGGREGATOR, "port_timebar", upstream="binance_spot"),
    Service("raven_tibs", Role.AGGREGATOR, "port_tibs", upstream="binance_spot"),
    Service("tick_persistence", Role.PERSISTENCE, "port_tick_persistence", upstream="binance_spot"),
    Service("bar_persistence", Role.PERSISTENCE, "port_bar_persistence", upstream="raven_timebar"),
)
SERVICES: dict[str, Service] = {service.name: service for service in _TABLE}
"""Every service by name."""


def port(service: Service, settings: Settings) -> int:
    """Return the gRPC port of a service."""
    return int(getattr(settings.server, service.port_key))


def monitoring_port(service: Service, settings: Settings) -> int:
    """Return the HTTP port of a service that runs alone: its gRPC port plus `monitoring.port_offset`."""
    return port(service, settings) + settings.monitoring.port_offset

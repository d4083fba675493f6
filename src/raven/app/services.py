"""One table of every service: its name, what it does, its gRPC port, and who it listens to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

from raven.config import Loaded, Settings
from raven.errors import ConfigurationError

__all__ = [
    "SERVICES",
    "Role",
    "Service",
    "alone",
    "find",
    "in_order",
    "monitoring_port",
    "port",
    "port_path",
    "reachable",
    "upstream_of",
]

_PREFIX = "raven_"
# Who listens everywhere is reached here from the same machine.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address to be replaced, not one to listen on


class Role(StrEnum):
    """What a service does with market data."""

    SERVER = "server"
    """All roles in one process."""
    SOURCE = "source"
    """Collects from the venue of its name."""
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
    what: str
    """What it does, in one line."""
    upstream: str | None = None
    """The service it hears when nothing else is said."""
    databases: tuple[str, ...] = ()
    """What it writes to, as far as the configuration has an address of it."""


_DATABASES = ("influx", "timescale", "questdb")
_TABLE = (
    Service("raven", Role.SERVER, "port", "the whole server in one process", databases=_DATABASES),
    Service("binance_spot", Role.SOURCE, "port_binance_spot", "source: Binance spot"),
    Service("binance_futures", Role.SOURCE, "port_binance_futures", "source: Binance USD-M futures"),
    Service("raven_timebar", Role.AGGREGATOR, "port_timebar", "aggregator: time bars", "binance_spot"),
    Service("raven_tibs", Role.AGGREGATOR, "port_tibs", "aggregator: tick imbalance bars", "binance_spot"),
    Service(
        "tick_persistence", Role.PERSISTENCE, "port_tick_persistence", "persistence: trades into InfluxDB or QuestDB",
        "binance_spot", ("influx", "questdb"),
    ),
    Service(
        "bar_persistence", Role.PERSISTENCE, "port_bar_persistence", "persistence: bars into TimescaleDB or PostgreSQL",
        "raven_timebar", ("timescale",),
    ),
)  # fmt: skip
SERVICES: dict[str, Service] = {service.name: service for service in _TABLE}
"""Every service by name; whom one hears stands before it."""


def find(name: str) -> Service:
    """Return a service by its name, with or without `raven_`.

    Raises: ConfigurationError naming the nearest, or all.
    """
    service = SERVICES.get(name) or SERVICES.get(_PREFIX + name)
    if service is None:
        short = {known.removeprefix(_PREFIX): known for known in SERVICES}
        near = get_close_matches(name.removeprefix(_PREFIX), short, n=1)
        hint = f"did you mean {short[near[0]]}?" if near else f"there are {', '.join(SERVICES)}"
        raise ConfigurationError(f"there is no service {name!r}; {hint}")
    return service


def port(service: Service, settings: Settings) -> int:
    """Return the gRPC port of a service."""
    return int(getattr(settings.server, service.port_key))


def port_path(service: Service) -> str:
    """Return the setting of its gRPC port."""
    return f"server.{service.port_key}"


def monitoring_port(service: Service, settings: Settings) -> int:
    """Return the HTTP port of a service: `monitoring.health_check_port` of `raven`, else its gRPC port plus an offset.

    A service on a free port has a free one for this, too.
    """
    if service.role is Role.SERVER:
        return settings.monitoring.health_check_port
    own = port(service, settings)
    return own + settings.monitoring.port_offset if own else 0


def reachable(host: str) -> str:
    """Return the address at which somebody on this machine reaches whoever listens on `host`."""
    return _EVERYWHERE.get(host, host)


def upstream_of(service: Service, settings: Settings) -> Service | None:
    """Return the service that one hears, as far as it is one of the table: that of its venue, or the usual one."""
    if service.upstream is None:
        return None
    usual = SERVICES[service.upstream]
    venue = settings.service(service.name).venue
    return SERVICES[venue] if usual.role is Role.SOURCE and venue in SERVICES else usual


def alone(loaded: Loaded, service: Service, monitoring: int | None = None) -> Settings:
    """Return the settings of one service that is not the whole server: its ports, its venue, folders of its own.

    `monitoring` is the HTTP port it was given. Symbols of `default.toml` are what `raven` collects; a source collects
    those only if somebody says so in another place.
    Raises: ConfigurationError for a section `[services.<name>]` of a service that does not exist.
    """
    settings = loaded.settings
    for name in settings.services:
        find(name)
    http = monitoring_port(service, settings) if monitoring is None else monitoring
    origin = loaded.origins.get(("feeds", "symbols"), "")
    of_raven = Path(origin.rpartition(":")[0] or origin).name == "default.toml"
    own = settings.service(service.name)
    symbols = [*([] if of_raven else settings.feeds.symbols), *own.symbols]
    is_source, keeps = service.role is Role.SOURCE, service.role is Role.PERSISTENCE
    others = {name: getattr(settings, name) for name in _DATABASES if name not in service.databases}
    changes: dict[str, dict[str, object]] = {
        "server": {"port": port(service, settings)},
        "monitoring": {"health_check_port": http, "metrics_port": http},
        "feeds": {
            "venues": [service.name] if is_source else [],
            "symbols": symbols if is_source else own.symbols,
            "exchange_ws_url": settings.feeds.exchange_ws_url if service.name in settings.feeds.venues else "",
            # Two processes must not write the same files.
            "state_dir": f"{settings.feeds.state_dir}/{service.name}" if settings.feeds.state_dir else "",
        },
        # Services on one Redis must not mix venues: whose names are the short ones is the same for all.
        "redis": {"venue": settings.redis.venue or next(iter(settings.feeds.venues), "")},
        "journal": {"enabled": keeps, "dir": f"{settings.journal.dir}-{service.name}"},
        **{name: {"url": type(section)().url} for name, section in others.items()},
    }
    return settings.model_copy(
        update={name: getattr(settings, name).model_copy(update=change) for name, change in changes.items()}
    )


def in_order(services: Iterable[Service]) -> list[Service]:
    """Return services so that whom one hears stands before it, each once."""
    wanted = {service.name for service in services}
    return [service for name, service in SERVICES.items() if name in wanted]

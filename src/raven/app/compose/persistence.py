"""Persistence: keeps what it hears in a journal of its own, and brings that into its databases."""

from __future__ import annotations

from collections.abc import Mapping

from raven.app.compose.front import Front, Report
from raven.app.compose.hearing import Hearing
from raven.app.compose.remembering import Remembering
from raven.app.from_settings import bar_spec_of
from raven.app.lifecycle import Lifecycle
from raven.app.services import SERVICES, Role, Service, upstream_of
from raven.config import Settings
from raven.errors import ConfigurationError, DataValidation
from raven.fanout import Dialect
from raven.observe import Health, Status
from raven.roles.link_collector import LinkCollector
from raven.topics import DataType, StreamKind

__all__ = ["Persistence", "wanted_types"]


class Persistence:
    """link → hub → journal → database, and gRPC for whoever wants to see or steer it."""

    def __init__(self, service: Service, settings: Settings, made: Mapping[str, object]) -> None:
        self._service, self._settings = service, settings
        self.hearing = Hearing(service, settings, made)
        self.hub = self.hearing.link.hub
        types = wanted_types(service, settings, self.hearing.name)
        self.collector = LinkCollector(
            self.hearing.link,
            self.hearing.venue,
            types,
            symbols=settings.service(service.name).symbols,
            linger_s=settings.feeds.linger_seconds,
        )
        # A hub of this process has more in it than what this service was asked for.
        self._memory = Remembering(self.hub, settings, keeps=self.collector.is_held)
        kind = StreamKind.TRADE if types[0] is DataType.TRADES else StreamKind.CANDLE
        self.front = Front(
            service,
            settings,
            self.hub,
            self.collector,
            spoken=Dialect({kind: types[0]}, unspecified=types),
            history=self._memory.history,
            report=Report(upstream=self.hearing.report, lag_s=self.hearing.lag_s, events=self._memory.records),
        )
        self.hearing.show_in(self.front)
        self._memory.show_in(self.front)
        self.front.add_probe(self._probe)

    def add_to(self, lifecycle: Lifecycle) -> None:
        """Let it start and stop with the program."""
        self.front.open_monitoring(lifecycle)
        self._memory.add_to(lifecycle)
        self.hearing.add_to(lifecycle)
        lifecycle.add(f"{self._service.name} collections", stop=self.collector.stop)
        self.hearing.collect(lifecycle, self.collector, self.collector.types)
        self.front.open_grpc(lifecycle)

    def _probe(self, health: Health) -> None:
        if not any(getattr(self._settings, name).url for name in self._service.databases):
            urls = " or ".join(f"{name}.url" for name in self._service.databases)
            reason = f"{urls} is not set: what it hears is only kept in {self._settings.journal.dir}"
            health.set("database", Status.HEALTHY, reason, critical=False)


def wanted_types(service: Service, settings: Settings, heard: str) -> tuple[DataType, ...]:
    """Return the data types that a service asks for: as it is told, else trades, or the bars of whom it hears."""
    said = settings.service(service.name).types
    try:
        if said:
            return tuple(DataType.parse(name) for name in said)
    except DataValidation as error:
        raise ConfigurationError(f"services.{service.name}.types: {error.message}") from None
    usual = upstream_of(service, settings)
    if usual is None or usual.role is not Role.AGGREGATOR:
        return (DataType.TRADES,)
    upstream = SERVICES.get(heard, usual)
    makes_bars = upstream if upstream.role is Role.AGGREGATOR else usual
    return (DataType(bar_spec_of(makes_bars, settings).data_type),)

"""The whole configuration as one immutable value, with the rules that span sections."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from raven.config.backends import (
    InfluxSettings,
    JournalSettings,
    NatsSettings,
    QuestdbSettings,
    RecordSettings,
    RedisSettings,
    ShmSettings,
    SinksSettings,
    TimescaleSettings,
)
from raven.config.fields import Section
from raven.config.sections import (
    CitadelSettings,
    DashboardSettings,
    DataProcessingSettings,
    FeedsSettings,
    HighFrequencySettings,
    MonitoringSettings,
    ServerSettings,
    VenueSettings,
)
from raven.config.services import ServiceSettings, TibsSettings, TimebarSettings
from raven.topics import DataType

__all__ = ["Settings"]

_TYPES = [*(one.name.lower() for one in DataType), "gaps"]
VenueName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Settings(Section):
    """Everything that can be set. `raven.config.load` fills it from files, environment and command line."""

    server: ServerSettings = ServerSettings()
    feeds: FeedsSettings = FeedsSettings()
    venues: dict[VenueName, VenueSettings] = Field(default_factory=dict)
    data_processing: DataProcessingSettings = DataProcessingSettings()
    citadel: CitadelSettings = CitadelSettings()
    high_frequency: HighFrequencySettings = HighFrequencySettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    dashboard: DashboardSettings = DashboardSettings()
    journal: JournalSettings = JournalSettings()
    record: RecordSettings = RecordSettings()
    shm: ShmSettings = ShmSettings()
    sinks: SinksSettings = SinksSettings()
    redis: RedisSettings = RedisSettings()
    influx: InfluxSettings = InfluxSettings()
    timescale: TimescaleSettings = TimescaleSettings()
    questdb: QuestdbSettings = QuestdbSettings()
    nats: NatsSettings = NatsSettings()
    services: dict[VenueName, ServiceSettings] = Field(default_factory=dict)
    timebar: TimebarSettings = TimebarSettings()
    tibs: TibsSettings = TibsSettings()

    @property
    def keeps_journal(self) -> bool:
        """Whether there is a journal: asked for, or needed because databases are written from it."""
        return self.journal.enabled or any(one.url for one in (self.influx, self.timescale, self.questdb))

    def venue(self, name: str) -> VenueSettings:
        """Return what applies to one venue: its own section, completed by `[feeds]`.

        `symbols` and `exclude` are those of `[feeds]` and then its own; `include` and `ws_url` are its own, else those
        of `[feeds]`. An empty URL means the venue's documented one.
        """
        own, feeds = self.venues.get(name, VenueSettings()), self.feeds
        return own.model_copy(
            update={
                "symbols": list(dict.fromkeys([*feeds.symbols, *own.symbols])),
                "include": own.include or feeds.include,
                "exclude": list(dict.fromkeys([*feeds.exclude, *own.exclude])),
                "ws_url": own.ws_url or feeds.exchange_ws_url,
            }
        )

    def service(self, name: str) -> ServiceSettings:
        """Return what is said about one service that runs alone."""
        return self.services.get(name, ServiceSettings())

    @model_validator(mode="after")
    def _hangs_together(self) -> Settings:
        problems = [*self._port_problems(), *self._feed_problems(), *self._tls_problems(), *self._sink_problems()]
        problems += self._journal_problems()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _port_problems(self) -> list[str]:
        taken: dict[int, str] = {}
        problems = []
        ports = [
            ("server.port", self.server.port),
            ("monitoring.metrics_port", self.monitoring.metrics_port),
            ("monitoring.health_check_port", self.monitoring.health_check_port),
        ]
        if self.dashboard.enabled:
            ports.append(("dashboard.port", self.dashboard.port))
        for key, port in ports:
            other = taken.setdefault(port, key) if port else key
            shared = {other, key} == {"monitoring.metrics_port", "monitoring.health_check_port"}
            if other != key and not shared:
                problems.append(f"{other} and {key} are both {port}; give each its own port")
        return problems

    def _feed_problems(self) -> list[str]:
        feeds = self.feeds
        problems = []
        if feeds.max_reconnect_delay_ms < feeds.reconnect_delay_ms:
            problems.append(
                f"feeds.max_reconnect_delay_ms ({feeds.max_reconnect_delay_ms}) is smaller than "
                f"feeds.reconnect_delay_ms ({feeds.reconnect_delay_ms}); the cap must not be below the first pause"
            )
        if feeds.exchange_ws_url and len(feeds.venues) > 1:
            problems.append(
                f"feeds.exchange_ws_url is set, but feeds.venues lists {len(feeds.venues)} venues; "
                "set venues.<name>.ws_url for each instead"
            )
        return problems

    def _tls_problems(self) -> list[str]:
        server = self.server
        if bool(server.tls_certificate) != bool(server.tls_key):
            have, lack = ("tls_certificate", "tls_key") if server.tls_certificate else ("tls_key", "tls_certificate")
            return [f"server.{have} is set without server.{lack}; TLS needs both"]
        if server.tls_client_ca and not server.tls_certificate:
            return ["server.tls_client_ca is set without server.tls_certificate; mutual TLS needs the server's own"]
        return []

    def _journal_problems(self) -> list[str]:
        journal = self.journal
        problems = [
            f"journal.{key}: {name!r} is not one of {', '.join(_TYPES)}"
            for key, names in (("retention_first", journal.retention_first), ("types", journal.types))
            for name in names
            if name not in _TYPES
        ]
        for name in ("", *journal.types):
            where = f"journal.types.{name}" if name else "journal"
            downsample, archive, delete = journal.days_of(name)
            if archive and not journal.archive_dir:
                problems.append(f"{where}.archive_days is set without journal.archive_dir; name a folder for old files")
            stages = [("downsample_days", downsample), ("archive_days", archive), ("retention_days", delete)]
            told = [(key, days) for key, days in stages if days]
            problems += [
                f"{where}: {later} ({last}) is not after {sooner} ({first}); expected downsample < archive < retention"
                for (sooner, first), (later, last) in pairwise(told)
                if last <= first
            ]
        return problems

    def _sink_problems(self) -> list[str]:
        sinks, known = self.sinks, _TYPES
        unknown = [
            f"{section}.types: {name!r} is not one of {', '.join(known)}"
            for section in ("influx", "timescale", "questdb")
            for name in getattr(self, section).types
            if name not in known
        ]
        return unknown + [
            f"sinks.{last} ({getattr(sinks, last)}) is smaller than sinks.{first} ({getattr(sinks, first)}); "
            "the longest pause must not be below the first"
            for first, last in (("retry_delay_ms", "max_retry_delay_ms"), ("breaker_open_ms", "breaker_max_open_ms"))
            if getattr(sinks, last) < getattr(sinks, first)
        ]

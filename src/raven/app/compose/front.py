"""What every service shows to the outside: a gRPC port, and HTTP ports with health, metrics and status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as MetricCollector

from raven import __version__
from raven._core import GrpcServer, Hub
from raven.app.compose.state import StateFolder
from raven.app.lifecycle import Lifecycle
from raven.app.services import Service
from raven.config import Settings
from raven.errors import ConfigurationError
from raven.fanout import CollectionRow, Collector, Dialect, Fanout, Limits, dialect
from raven.observe import REGISTRY, Health, MonitoringServer, Status, get_logger, record_error, record_loop
from raven.roles.control import CollectorControl
from raven.serve.grpc import GrpcFace

if TYPE_CHECKING:
    from raven.serve.history import JournalHistory

__all__ = ["Front", "Report"]

log = get_logger("raven")

Probe = Callable[[Health], None]
"""Looks at a part and says how it is."""


@dataclass(slots=True)
class Report:
    """What a service adds to `/status`; each is asked when somebody asks."""

    upstream: Callable[[], dict[str, Any] | None] = lambda: None
    """Whom it hears: `service`, `address`, `connected`, `trouble`."""
    lag_s: Callable[[], float | None] = lambda: None
    """How late its newest data is."""
    events: Callable[[], int] = lambda: 0
    """Events published since its start."""
    more: dict[str, str] = field(default_factory=dict)
    """What never changes, by name; the log says it, too."""


class Front:
    """The outside of one service."""

    def __init__(
        self,
        service: Service,
        settings: Settings,
        hub: Hub,
        collector: Collector,
        *,
        spoken: Dialect = dialect.SOURCE,
        history: JournalHistory | None = None,
        report: Report | None = None,
        remembers: bool = True,
    ) -> None:
        """`remembers`: what was started by hand is collected again after a restart."""
        self.service = service
        self.settings = settings
        self._report = report or Report()
        server = _grpc_server(hub, settings, service.name)
        limits = Limits(
            max_clients=settings.server.max_clients,
            max_topics_per_client=settings.server.max_topics_per_client,
            max_streams_per_client=settings.server.max_streams_per_client,
        )
        depth = settings.feeds.order_book_depth
        fanout = Fanout(collector, server, limits=limits, default_depth=depth, history=history)
        state_dir = settings.feeds.state_dir if remembers else ""
        self._state = StateFolder(Path(state_dir)) if state_dir else None
        started = Path(state_dir, "started.json") if state_dir else None
        self._control = CollectorControl(collector, spoken, limits=limits, file=started, party_of=fanout.party_of)
        self._restoring: asyncio.Task[None] | None = None
        self.face = GrpcFace(server, fanout, history=history, control=self._control, spoken=spoken)
        self.health = Health(service.name, __version__)
        self.health.add_ready_check("grpc", lambda: None if self.face.port else "the gRPC port is not open yet")
        self.metrics = CollectorRegistry()
        self.metrics.register(_OfTheProcess())
        monitoring = settings.monitoring
        self.monitoring = MonitoringServer(
            self.health,
            monitoring.host or settings.server.host,
            (monitoring.health_check_port, monitoring.metrics_port),
            registry=self.metrics,
            metrics_enabled=monitoring.metrics_enabled,
            status=self.status,
        )
        self._probes: list[Probe] = []

    def add_probe(self, probe: Probe) -> None:
        """Let somebody look at a part, now and then."""
        self._probes.append(probe)

    def open_monitoring(self, lifecycle: Lifecycle) -> None:
        """Open the HTTP ports; the first part of a service, so that a start that takes long can be watched."""
        if self._state is not None:
            lifecycle.add(f"{self.service.name} state", start=self._state.take, stop=self._state.let_go)
        lifecycle.add(f"{self.service.name} monitoring", start=self.monitoring.start, stop=self.monitoring.stop)

    def open_grpc(self, lifecycle: Lifecycle) -> None:
        """Open the gRPC port; the last part of a service: it answers when the service can."""
        seconds = self.settings.server.drain_seconds
        lifecycle.add(f"{self.service.name} grpc", start=self._open, drain=lambda: self._close(seconds))
        lifecycle.add(f"{self.service.name} health", start=lambda: self._watch(lifecycle))

    @property
    def addresses(self) -> tuple[str, str, str]:
        """Where it answers: gRPC, health, metrics; known once the ports are open."""
        host, ports = self.settings.server.host, self.monitoring.ports
        return f"{host}:{self.face.port}", f"http://{host}:{ports[0]}/health", f"http://{host}:{ports[-1]}/metrics"

    def status(self) -> dict[str, Any]:
        """Return the body of `/status`."""
        report, grpc = self._report, self.face.stats()
        return self.health.report() | {
            "ready": self.health.not_ready(),
            "role": self.service.role.value,
            "grpc": self.addresses[0],
            "upstream": report.upstream(),
            "collections": [_collection(row) for row in self._control.collections()],
            "lag_seconds": report.lag_s(),
            "events": report.events(),
            "clients": self.face.clients(),
            "sent": grpc.get("messages", 0),
            "lost": grpc.get("lost", 0),
            **report.more,
        }

    async def _open(self) -> None:
        try:
            await self.face.start()
        except OSError as error:
            key = self.service.port_key
            raise ConfigurationError(f"gRPC {error} (server.{key}, --port)") from None
        self.health.set("grpc", Status.HEALTHY)
        # Not waited for: an upstream may be away for long, and says so in `/ready`.
        self._restoring = asyncio.get_running_loop().create_task(self._restore(), name="what was started by hand")

    async def _restore(self) -> None:
        try:
            await self._control.restore()
        except Exception as error:
            record_error(error, "collecting again what was started by hand")

    async def _close(self, seconds: float) -> bool:
        if self._restoring is not None:
            self._restoring.cancel()
        return await self.face.drain(seconds)

    async def _watch(self, lifecycle: Lifecycle) -> None:
        self._probe()
        lifecycle.watch(
            asyncio.get_running_loop().create_task(self._keep_probing(), name=f"{self.service.name} health")
        )
        grpc, health, _ = self.addresses
        log.info(f"{self.service.name} is up", grpc=grpc, health=health, **self._report.more)

    async def _keep_probing(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.settings.monitoring.health_check_interval / 1000
            await asyncio.sleep(due - loop.time())
            record_loop("main", max(0.0, loop.time() - due), len(asyncio.all_tasks()))
            self._probe()

    def _probe(self) -> None:
        for probe in self._probes:
            probe(self.health)


def _collection(row: CollectionRow) -> dict[str, Any]:
    types = [data_type.name for data_type in row.data_types]
    return {
        "venue": row.venue, "symbol": row.symbol, "types": types, "status": row.status, "subscribers": row.subscribers
    }  # fmt: skip


class _OfTheProcess(MetricCollector):
    """What the process as a whole counts; services in one process all show it."""

    def collect(self) -> list[Metric]:
        return list(REGISTRY.collect())


def _grpc_server(hub: Hub, settings: Settings, producer: str) -> GrpcServer:
    """Return the gRPC server of the configuration, not started.

    Raises: ConfigurationError when a TLS file cannot be read.
    """
    server, fast = settings.server, settings.high_frequency
    token = server.token.get_secret_value()
    return GrpcServer(
        hub,
        host=server.host,
        port=server.port,
        producer=producer,
        max_connections=server.max_connections,
        max_message_bytes=server.max_message_bytes,
        max_streams_per_connection=server.max_streams_per_connection,
        keepalive_seconds=server.heartbeat_interval_seconds,
        keepalive_timeout_seconds=min(server.connection_timeout, 20.0),
        tls_certificate=_file("server.tls_certificate", server.tls_certificate),
        tls_key=_file("server.tls_key", server.tls_key),
        tls_client_ca=_file("server.tls_client_ca", server.tls_client_ca),
        token=token or None,
        busy_poll=fast.busy_poll,
        cpu=fast.server_cpu if fast.server_cpu >= 0 else None,
    )


def _file(key: str, path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{key}: {path} cannot be read: {error.strerror}") from None

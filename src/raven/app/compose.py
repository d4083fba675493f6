"""The server, put together: the one file that names concrete classes and says who hears whom.

venues → ingest (own thread, engine) → hub (rings) → gRPC server (own thread) → clients
                                         fan-out: who may read what ↗
metrics, health and the live view read what the others count.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from raven import __version__
from raven._core import GrpcServer, Hub
from raven.app.engine_view import Endpoints, EngineView
from raven.app.from_settings import engine_settings, ingest_settings, venue_plans
from raven.app.lifecycle import Lifecycle, run_program
from raven.app.live import show
from raven.app.memory import history, journal, keeper, recorder, sinks
from raven.app.options import RunOptions
from raven.app.snapshot_service import SnapshotService
from raven.app.stand_in import StandIn, demo, replay
from raven.config import Settings
from raven.errors import ConfigurationError
from raven.fanout import Fanout, Limits
from raven.ingest.thread import Ingest
from raven.observe import (
    REGISTRY,
    EngineSource,
    Health,
    MonitoringServer,
    NativeCollector,
    SnapshotCollector,
    Status,
    configure_logs,
    configure_metrics,
    get_logger,
    record_error,
    record_loop,
)
from raven.registry import VENUES, load
from raven.serve.grpc import GrpcFace

__all__ = ["run"]

log = get_logger("raven")

# A thread that renders a table or answers a scrape must not keep a frame waiting for the usual 5 ms.
_GIL_SWITCH_S = 0.0005
# A recording has ended when nothing came for so long after its last line was sent.
_QUIET_S = 0.2


def run(settings: Settings, options: RunOptions) -> int:
    """Run the server until it is told to stop; return the exit code."""
    live = options.live_view and sys.stdout.isatty()
    configure_logs(settings.monitoring.log_level, settings.monitoring.log_format)
    if live:
        # The table says all of it; warnings still scroll by above it.
        logging.getLogger().setLevel(logging.WARNING)
        configure_logs("warn" if settings.monitoring.log_level == "info" else settings.monitoring.log_level, "text")
    configure_metrics("raven", __version__, settings.monitoring.max_label_values)
    sys.setswitchinterval(_GIL_SWITCH_S)
    return run_program(lambda: _serve(settings, options))


async def _serve(settings: Settings, options: RunOptions) -> int:
    stand_in = await asyncio.to_thread(_stand_in, settings, options)
    try:
        return await _Server(settings, options, stand_in).run()
    finally:
        if stand_in is not None:
            await stand_in.stop()


def _stand_in(settings: Settings, options: RunOptions) -> StandIn | None:
    if options.replay:
        return replay(options.replay, options.speed)
    return demo(venue_plans(settings)) if options.demo else None


class _Server:
    """All parts of one run."""

    def __init__(self, settings: Settings, options: RunOptions, stand_in: StandIn | None) -> None:
        plans = stand_in.plans if stand_in else venue_plans(settings)
        if not plans:
            raise ConfigurationError(
                "feeds.venues is empty: name a venue to collect from (--venue binance_futures), or try --demo"
            )
        self._settings = settings
        self._options = options
        self._stand_in = stand_in
        self._source = stand_in.description if stand_in else ", ".join(plan.name for plan in plans)
        self.hub = Hub()
        self.recorder = recorder(settings)
        self.ingest = Ingest(
            self.hub,
            [(load(VENUES, plan.name, "venue"), plan) for plan in plans],
            settings=ingest_settings(settings, stand_in),
            engine=engine_settings(settings, sum(len(plan.symbols) for plan in plans)),
            capture=self.recorder,
        )
        self.journal = journal(self.hub, settings)
        self.keeper = keeper(settings)
        self.sinks = sinks(settings)
        self.server = grpc_server(self.hub, settings)
        past = history(self.journal, settings)
        self.face = GrpcFace(
            self.server,
            Fanout(
                self.ingest,
                self.server,
                limits=Limits(
                    max_clients=settings.server.max_clients,
                    max_topics_per_client=settings.server.max_topics_per_client,
                    max_streams_per_client=settings.server.max_streams_per_client,
                ),
                default_depth=settings.feeds.order_book_depth,
                history=past,
            ),
            history=past,
        )
        kept = list if self.journal is None else self.journal.books
        self.snapshots = SnapshotService(self.ingest.engine, self.ingest.instruments, kept)
        self.health = Health("raven", __version__)
        monitoring = settings.monitoring
        self.monitoring = MonitoringServer(
            self.health,
            monitoring.host or settings.server.host,
            (monitoring.health_check_port, monitoring.metrics_port),
            metrics_enabled=monitoring.metrics_enabled,
        )

    async def run(self) -> int:
        settings = self._settings
        lifecycle = Lifecycle()
        lifecycle.add("monitoring", start=self.monitoring.start, stop=self.monitoring.stop)
        # Whoever hears is started before and stopped after whom it hears: no first and no last record is missed.
        if self.sinks is not None:
            lifecycle.add("sinks", start=self.sinks.start, stop=self.sinks.stop)
        if self.journal is not None:
            lifecycle.add("journal", start=self.journal.start, stop=self.journal.stop)
        if self.recorder is not None:
            lifecycle.add("recorder", start=self.recorder.start, stop=self.recorder.stop)
        if self.keeper is not None:
            lifecycle.add("journal keeper", start=self.keeper.start, stop=self.keeper.stop)
        lifecycle.add("ingest", start=self.ingest.start, stop=self.ingest.stop)
        lifecycle.add("grpc", start=self._open_grpc, drain=lambda: self.face.drain(settings.server.drain_seconds))
        lifecycle.add("view", start=lambda: self._start_watching(lifecycle))
        self.health.add_ready_check("grpc", lambda: None if self.face.port else "the gRPC port is not open yet")
        self.health.add_ready_check("books", self._books_not_in_sync)
        SnapshotCollector(self.snapshots).register(REGISTRY)
        NativeCollector(EngineSource(self.ingest.engine, self._instruments, self.face.stats)).register(REGISTRY)
        return await lifecycle.run()

    async def _open_grpc(self) -> None:
        try:
            await self.face.start()
        except OSError as error:
            raise ConfigurationError(f"gRPC {error} (server.port, --port)") from None
        self.health.set("grpc", Status.HEALTHY)

    async def _start_watching(self, lifecycle: Lifecycle) -> None:
        self._probe()
        self._shown = self._view()
        loop = asyncio.get_running_loop()
        lifecycle.watch(loop.create_task(self.ingest.watch(), name="ingest"))
        if self.journal is not None:
            lifecycle.watch(loop.create_task(self.journal.watch(), name="journal"))
        if self.recorder is not None:
            lifecycle.watch(loop.create_task(self.recorder.watch(), name="recorder"))
        lifecycle.watch(loop.create_task(self._keep_probing(), name="health"))
        if self._stand_in is not None and self._stand_in.ends:
            self._announcing = loop.create_task(self._announce_end(self._stand_in), name="end of replay")
        live = self._options.live_view and sys.stdout.isatty()
        lifecycle.watch(loop.create_task(show(self._shown, live=live), name="view"))

    async def _keep_probing(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._settings.monitoring.health_check_interval / 1000
            await asyncio.sleep(due - loop.time())
            record_loop("main", max(0.0, loop.time() - due), len(asyncio.all_tasks()))
            self._probe()

    async def _announce_end(self, stand_in: StandIn) -> None:
        """Say that a recording was played to its end, with the balance: nothing of it is unaccounted for."""
        try:
            await stand_in.ended()
            await self._until_quiet()
            sums = self._event_counts()
        except Exception as error:
            # Nobody awaits this task; what was collected so far is still served.
            record_error(error, "waiting for the end of the recording")
            self._note_on_source("broken off")
            return
        self._note_on_source("ended")
        log.info("the recording has ended", **sums, next="still serving; stop with Ctrl-C")

    def _note_on_source(self, note: str) -> None:
        self._source = f"{self._source} ({note})"
        self._shown.source = self._source

    async def _until_quiet(self) -> None:
        """Wait until what is on its way through sockets has arrived."""
        before = -1
        while (now := self.ingest.engine.totals()["frames"]) != before:
            before = now
            await asyncio.sleep(_QUIET_S)

    def _event_counts(self) -> dict[str, int]:
        """Sum what happened to events; `received` is the sum of all others."""
        names = ("received", "published", "ignored", "rejected", "gap", "pending")
        counters = [self.ingest.engine.counters(handle) for _, _, handle in self._instruments()]
        return {name: sum(one[name] for one in counters) for name in names}

    def _probe(self) -> None:
        for venue, shards in self.ingest.status().items():
            lost = [shard for shard in shards if not shard["connected"] and shard["streams"]]
            status = Status.HEALTHY if not lost else Status.UNHEALTHY if len(lost) == len(shards) else Status.DEGRADED
            reason = "; ".join(connection_trouble(shard["url"], shard["last_error"]) for shard in lost)
            self.health.set(venue, status, reason, critical=False)
        if self.journal is not None:
            trouble = self.journal.status.trouble or (self.keeper.trouble if self.keeper else "")
            self.health.set("journal", Status.DEGRADED if trouble else Status.HEALTHY, trouble, critical=False)
        if self.recorder is not None:
            trouble = self.recorder.status.trouble
            self.health.set("recorder", Status.DEGRADED if trouble else Status.HEALTHY, trouble, critical=False)
        for name, trouble in (self.sinks.troubles() if self.sinks else {}).items():
            self.health.set(name, Status.DEGRADED if trouble else Status.HEALTHY, trouble, critical=False)

    def _troubles(self) -> list[str]:
        """Say for people what does not work; a connection that is still at its first attempt is no trouble."""
        kept = self.journal.status.trouble if self.journal else ""
        journal = [f"journal: {kept}; what comes is lost until it can write"] if kept else []
        databases = (self.sinks.troubles() if self.sinks else {}).items()
        if self.recorder is not None and self.recorder.status.trouble:
            journal.append(
                f"recorder: {self.recorder.status.trouble}; what comes waits in memory as long as there is room"
            )
        return [*journal, *(f"{name}: {trouble}" for name, trouble in databases if trouble), *self._unreachable()]

    def _unreachable(self) -> list[str]:
        return [
            f"{venue}: {connection_trouble(shard['url'], shard['last_error'])}; trying again"
            for venue, shards in self.ingest.status().items()
            for shard in shards
            if shard["streams"] and not shard["connected"] and shard["last_error"]
        ]

    def _books_not_in_sync(self) -> str | None:
        rows = self.ingest.books()
        wanted = [plan for plan in self.ingest.plans if plan.symbols]
        if wanted and not rows:
            return "no symbol is collected yet"
        bad = [f"{venue} {symbol} is {state}" for venue, symbol, state in rows if state != "synced"]
        return f"{len(bad)} of {len(rows)} books are not in sync: {', '.join(bad[:3])}" if bad else None

    def _instruments(self) -> list[tuple[str, str, int]]:
        return [(venue, symbol, handle) for (venue, symbol), handle in self.ingest.instruments()]

    def _view(self) -> EngineView:
        host = self._settings.server.host
        ports = self.monitoring.ports
        endpoints = Endpoints(
            source=self._source,
            grpc=f"{host}:{self.face.port}",
            health_url=f"http://{host}:{ports[0]}/health",
            metrics_url=f"http://{host}:{ports[-1]}/metrics",
        )
        log.info("raven is up", grpc=endpoints.grpc, health=endpoints.health_url, source=self._source)
        return EngineView(
            self.ingest.engine,
            self.hub,
            self._instruments,
            self.ingest.is_connected,
            self.face.stats,
            endpoints,
            troubles=self._troubles,
        )


def connection_trouble(url: str, last_error: str) -> str:
    """Say what is wrong with a connection that is not there, naming its address once."""
    return last_error if last_error.startswith(url) else f"{url}: {last_error or 'connecting'}"


def grpc_server(hub: Hub, settings: Settings) -> GrpcServer:
    """Return the gRPC server of the configuration, not started.

    Raises: ConfigurationError when a TLS file cannot be read.
    """
    server, fast = settings.server, settings.high_frequency
    token = server.token.get_secret_value()
    return GrpcServer(
        hub,
        host=server.host,
        port=server.port,
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

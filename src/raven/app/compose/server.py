"""The whole server in one process.

venues → ingest (own thread, engine) → hub (rings) → gRPC server (own thread) → clients
                                         fan-out: who may read what ↗
journal, capture, databases and Redis read the same rings; health, metrics and the live view read what the others count.
"""

from __future__ import annotations

import asyncio
import sys

from raven.app.compose.collecting import Collecting
from raven.app.compose.front import Front, Report
from raven.app.compose.publishing import Publishing
from raven.app.compose.remembering import Remembering
from raven.app.engine_view import Endpoints, EngineView
from raven.app.from_settings import venue_plans
from raven.app.lifecycle import Lifecycle
from raven.app.live import show
from raven.app.memory import recorder
from raven.app.options import RunOptions
from raven.app.services import SERVICES
from raven.app.snapshot_service import SnapshotService
from raven.app.stand_in import StandIn
from raven.config import Settings
from raven.errors import ConfigurationError
from raven.observe import Health, SnapshotCollector, Status, get_logger, record_error

__all__ = ["Server"]

log = get_logger("raven")

# A recording has ended when nothing came for so long after its last line was sent.
_QUIET_S = 0.2


class Server:
    """All parts of one run."""

    def __init__(self, settings: Settings, options: RunOptions, stand_in: StandIn | None) -> None:
        plans = stand_in.plans if stand_in else venue_plans(settings)
        if not plans:
            raise ConfigurationError(
                "feeds.venues is empty: name a venue to collect from (--venue binance_futures), or try --demo"
            )
        self._live = options.live_view and sys.stdout.isatty()
        self._stand_in = stand_in
        self._source = stand_in.description if stand_in else ", ".join(plan.name for plan in plans)
        self._recorder = recorder(settings)
        self._collecting = Collecting(settings, plans, stand_in=stand_in, capture=self._recorder)
        self._ingest, self._hub = self._collecting.ingest, self._collecting.hub
        self._memory = Remembering(self._hub, settings)
        self._publishing = Publishing(self._hub, settings)
        self._front = Front(
            SERVICES["raven"],
            settings,
            self._hub,
            self._ingest,
            history=self._memory.history,
            remembers=stand_in is None,
            report=Report(
                lag_s=self._collecting.lag_s,
                events=self._collecting.events,
                more={"source": self._source},
            ),
        )
        self._collecting.show_in(self._front)
        self._memory.show_in(self._front)
        self._publishing.show_in(self._front)
        self._front.add_probe(self._probe)
        if self._recorder is not None:
            status = self._recorder.status
            self._front.health.add_limit_check("recorder", lambda: status.trouble or None)
        snapshots = SnapshotService(self._ingest.engine, self._ingest.instruments, self._memory.books)
        SnapshotCollector(snapshots).register(self._front.metrics)

    async def run(self) -> int:
        """Run until told to stop; return the exit code."""
        lifecycle = Lifecycle()
        self._front.open_monitoring(lifecycle)
        # Whoever hears is started before and stopped after whom it hears: no first and no last record is missed.
        self._memory.add_to(lifecycle)
        self._publishing.add_to(lifecycle)
        if self._recorder is not None:
            lifecycle.add("recorder", start=self._recorder.start, stop=self._recorder.stop)
        self._collecting.add_to(lifecycle)
        self._front.open_grpc(lifecycle)
        lifecycle.add("view", start=lambda: self._start_watching(lifecycle))
        return await lifecycle.run()

    async def _start_watching(self, lifecycle: Lifecycle) -> None:
        loop = asyncio.get_running_loop()
        if self._recorder is not None:
            lifecycle.watch(loop.create_task(self._recorder.watch(), name="recorder"))
        self._shown = self._view()
        if self._stand_in is not None and self._stand_in.ends:
            self._announcing = loop.create_task(self._announce_end(self._stand_in), name="end of replay")
        lifecycle.watch(loop.create_task(show(self._shown, live=self._live), name="view"))

    def _view(self) -> EngineView:
        return EngineView(
            self._ingest.engine,
            self._hub,
            self._collecting.instruments,
            self._ingest.is_connected,
            self._front.face.stats,
            Endpoints(self._source, *self._front.addresses),
            troubles=self._troubles,
        )

    # --- a recording, and its end -----------------------------------------------------------------------------------

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
        while (now := self._ingest.engine.totals()["frames"]) != before:
            before = now
            await asyncio.sleep(_QUIET_S)

    def _event_counts(self) -> dict[str, int]:
        """Sum what happened to events; `received` is the sum of all others."""
        names = ("received", "published", "ignored", "rejected", "gap", "pending")
        counters = [self._ingest.engine.counters(handle) for _, _, handle in self._collecting.instruments()]
        return {name: sum(one[name] for one in counters) for name in names}

    # --- how it is --------------------------------------------------------------------------------------------------

    def _probe(self, health: Health) -> None:
        if self._recorder is not None:
            trouble = self._recorder.status.trouble
            health.set("recorder", Status.DEGRADED if trouble else Status.HEALTHY, trouble, critical=False)

    def _troubles(self) -> list[str]:
        """Say for people what does not work."""
        recording = self._recorder.status.trouble if self._recorder else ""
        told = [f"recorder: {recording}; what comes waits in memory as long as there is room"] if recording else []
        return [*self._memory.troubles(), *self._publishing.troubles(), *told, *self._collecting.unreachable()]

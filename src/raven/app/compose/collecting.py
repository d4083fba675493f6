"""Collection from venues, put together from the configuration, and what is said about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from raven._core import Hub
from raven.app.compose.front import Front
from raven.app.compose.sharing import Sharing
from raven.app.from_settings import engine_settings, expected_symbols, ingest_settings
from raven.app.lifecycle import Lifecycle
from raven.app.stand_in import StandIn
from raven.config import Settings
from raven.ingest.capture import Capture
from raven.ingest.settings import VenuePlan
from raven.ingest.thread import Ingest
from raven.observe import EngineSource, Health, NativeCollector, Status
from raven.registry import VENUES, load

__all__ = ["Collecting", "connection_trouble"]


class Collecting:
    """A hub, and the ingest that fills it."""

    def __init__(
        self,
        settings: Settings,
        plans: Sequence[VenuePlan],
        *,
        stand_in: StandIn | None = None,
        capture: Capture | None = None,
    ) -> None:
        self._sharing = Sharing(settings)
        self.hub = Hub(self._sharing.memory)
        self.ingest = Ingest(
            self.hub,
            [(load(VENUES, plan.name, "venue"), plan) for plan in plans],
            settings=ingest_settings(settings, stand_in),
            engine=engine_settings(settings, expected_symbols(plans)),
            capture=capture,
        )

    def add_to(self, lifecycle: Lifecycle) -> None:
        """Let it start and stop with the program, and end the program when it ends by itself."""

        async def start() -> None:
            await self.ingest.start()
            lifecycle.watch(asyncio.get_running_loop().create_task(self.ingest.watch(), name="ingest"))

        self._sharing.add_to(lifecycle)
        lifecycle.add("ingest", start=start, stop=self.ingest.stop)

    def show_in(self, front: Front) -> None:
        """Let health, readiness and metrics of a service say how the collection is."""
        front.add_probe(self._probe)
        self._sharing.show_in(front)
        front.health.add_ready_check("books", self._books_not_in_sync)
        front.health.add_ready_check("venue", lambda: "; ".join(self.unreachable()) or None)
        NativeCollector(EngineSource(self.ingest.engine, self.instruments, front.face.stats)).register(front.metrics)

    def instruments(self) -> list[tuple[str, str, int]]:
        """Return `(venue, symbol, engine handle)` of everything that is collected."""
        return [(venue, symbol, handle) for (venue, symbol), handle in self.ingest.instruments()]

    def unreachable(self) -> list[str]:
        """Say which connections are wanted and not there; one that is still at its first attempt is no trouble."""
        return [
            f"{venue}: {connection_trouble(shard['url'], shard['last_error'])}; trying again"
            for venue, shards in self.ingest.status().items()
            for shard in shards
            if shard["streams"] and not shard["connected"] and shard["last_error"]
        ]

    def lag_s(self) -> float | None:
        """Return the age of the newest event; None while there is none."""
        newest = max((max(self.ingest.engine.last_seen(handle)) for _, _, handle in self.instruments()), default=0)
        return (time.time_ns() - newest) / 1e9 if newest else None

    def events(self) -> int:
        """Return how many events were published of what is collected now."""
        return sum(counters["published"] for _, _, _, counters in self.ingest.counters())

    def _probe(self, health: Health) -> None:
        for venue, shards in self.ingest.status().items():
            lost = [shard for shard in shards if not shard["connected"] and shard["streams"]]
            status = Status.HEALTHY if not lost else Status.UNHEALTHY if len(lost) == len(shards) else Status.DEGRADED
            reason = "; ".join(connection_trouble(shard["url"], shard["last_error"]) for shard in lost)
            health.set(venue, status, reason, critical=False)

    def _books_not_in_sync(self) -> str | None:
        rows = self.ingest.books()
        wanted = [plan for plan in self.ingest.plans if plan.symbols]
        if wanted and not rows:
            return "no symbol is collected yet"
        bad = [f"{venue} {symbol} is {state}" for venue, symbol, state in rows if state != "synced"]
        return f"{len(bad)} of {len(rows)} books are not in sync: {', '.join(bad[:3])}" if bad else None


def connection_trouble(url: str, last_error: str) -> str:
    """Say what is wrong with a connection that is not there, naming its address once."""
    return last_error if last_error.startswith(url) else f"{url}: {last_error or 'connecting'}"

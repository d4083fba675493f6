"""The memory of a service, put together from the configuration: journal, housekeeping, databases, history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from raven._core import Hub
from raven.app.compose.front import Front
from raven.app.lifecycle import Lifecycle
from raven.app.memory import history, journal, keeper, sinks
from raven.config import Settings
from raven.observe import Health, Status
from raven.topics import Topic

__all__ = ["Remembering"]


class Remembering:
    """A journal of everything in a hub, and the databases that are written from it; nothing when it is switched off."""

    def __init__(self, hub: Hub, settings: Settings, keeps: Callable[[Topic], bool] | None = None) -> None:
        """`keeps` says which topics are kept; without it all are."""
        self._journal = journal(hub, settings, keeps)
        self._keeper = keeper(settings)
        self._sinks = sinks(settings)
        self.history = history(self._journal, settings)
        """Who answers for the past; None without a journal."""

    def books(self) -> Sequence[tuple[str, str, int, int]]:
        """See `Journal.books`."""
        return self._journal.books() if self._journal else ()

    def records(self) -> int:
        """Return how many records were kept since the start."""
        return self._journal.status.records if self._journal else 0

    def add_to(self, lifecycle: Lifecycle) -> None:
        """Let it start and stop with the program; to be added before those whom it hears."""
        if self._sinks is not None:
            lifecycle.add("sinks", start=self._sinks.start, stop=self._sinks.stop)
        if self._journal is not None:
            lifecycle.add("journal", start=lambda: self._open_journal(lifecycle), stop=self._journal.stop)
        if self._keeper is not None:
            lifecycle.add("journal keeper", start=self._keeper.start, stop=self._keeper.stop)

    async def _open_journal(self, lifecycle: Lifecycle) -> None:
        assert self._journal is not None, "it is added only when there is one"
        await self._journal.start()
        lifecycle.watch(asyncio.get_running_loop().create_task(self._journal.watch(), name="journal"))

    def show_in(self, front: Front) -> None:
        """Let health and readiness say how it is; the feed and its clients go on without it."""
        front.add_probe(self._probe)
        if self._journal is not None:
            status = self._journal.status
            front.health.add_limit_check("journal", lambda: status.trouble or None)

    def troubles(self) -> list[str]:
        """Say for people what does not work."""
        kept = self._journal.status.trouble if self._journal else ""
        journal_ = [f"journal: {kept}; what comes is lost until it can write"] if kept else []
        return [*journal_, *(f"{name}: {trouble}" for name, trouble in self._databases().items() if trouble)]

    def _databases(self) -> dict[str, str]:
        return self._sinks.troubles() if self._sinks else {}

    def _probe(self, health: Health) -> None:
        if self._journal is not None:
            trouble = self._journal.status.trouble or (self._keeper.trouble if self._keeper else "")
            health.set("journal", Status.DEGRADED if trouble else Status.HEALTHY, trouble, critical=False)
        for name, trouble in self._databases().items():
            health.set(name, Status.DEGRADED if trouble else Status.HEALTHY, trouble, critical=False)

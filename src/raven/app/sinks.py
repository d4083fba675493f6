"""The databases of a server: one thread, one loop, and a task for each, so that none of them can delay the feed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raven.errors import RavenError
from raven.observe import get_logger, record_error
from raven.registry import SINKS, load
from raven.resilience.breaker import BreakerSettings, CircuitBreakerRegistry
from raven.resilience.dead_letters import DeadLetterQueue
from raven.roles.persistence import Persistence, PersistenceSettings

__all__ = ["SinkPlan", "Sinks"]

log = get_logger("sinks")

# What a database is given to take the rest; what it does not take, it gets after the next start.
_STOP_S = 3.0
# A reader that broke (a disk that cannot be read, say) begins again after this long.
_RESTART_S = 5.0


@dataclass(frozen=True, slots=True)
class SinkPlan:
    """One database of the configuration."""

    name: str
    """In `raven.registry.SINKS`, and of its cursor."""
    options: Mapping[str, Any]
    """What its factory takes."""
    persistence: PersistenceSettings


class Sinks:
    """Brings one journal into any number of databases. `start` and `stop` belong to the main loop."""

    def __init__(
        self, plans: Sequence[SinkPlan], journal: Path, letters: Path, max_attempts: int, breakers: BreakerSettings
    ) -> None:
        """Raises: ConfigurationError for a database that is not known or options that make no sense."""
        self._plans = plans
        self._made = {plan.name: load(SINKS, plan.name, "database")(**plan.options) for plan in plans}
        self._journal = journal
        self._letters_path = letters
        self._max_attempts = max_attempts
        self._running: dict[str, Persistence] = {}
        self._troubles: dict[str, str] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name="sinks", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self.breakers = CircuitBreakerRegistry(breakers)

    def troubles(self) -> dict[str, str]:
        """Say for each database what is wrong, empty when nothing is."""
        return {
            plan.name: self._troubles.get(plan.name)
            or (str(self._running[plan.name].status) if plan.name in self._running else "")
            for plan in self._plans
        }

    async def start(self) -> None:
        """Begin. Raises: ConfigurationError when the dead letters cannot be kept."""
        self._letters = await asyncio.to_thread(DeadLetterQueue, self._letters_path, max_attempts=self._max_attempts)
        self._thread.start()
        await asyncio.to_thread(self._started.wait)

    async def stop(self) -> None:
        """End when every database that is well has everything, or soon; the rest they get after the next start."""
        if self._loop is None or self._stopping is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            await asyncio.to_thread(self._thread.join, _STOP_S + 1)
        self._letters.close()

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        tasks = [self._loop.create_task(self._keep(plan), name=plan.name) for plan in self._plans]
        self._started.set()
        await self._stopping.wait()
        for persistence in self._running.values():
            persistence.finish()
        for task in tasks:
            name = task.get_name()
            if name not in self._running or self._running[name].status.trouble:
                task.cancel()
        await asyncio.wait(tasks, timeout=_STOP_S)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _keep(self, plan: SinkPlan) -> None:
        """Run one database for ever."""
        while True:
            try:
                persistence = Persistence(
                    plan.name,
                    self._made[plan.name],
                    self._journal,
                    breaker=self.breakers.get(plan.name),
                    letters=self._letters,
                    settings=plan.persistence,
                )
                self._running[plan.name] = persistence
                self._troubles.pop(plan.name, None)
                await persistence.run()
                return
            except Exception as error:
                # This task's edge: a reader that cannot go on begins again where its cursor stands.
                record_error(error, f"sink {plan.name}")
                self._troubles[plan.name] = error.message if isinstance(error, RavenError) else repr(error)
            await asyncio.sleep(_RESTART_S)

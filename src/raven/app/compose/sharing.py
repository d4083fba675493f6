"""Shared memory, put together from the configuration: where the hub makes its rings, so that others can read them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from raven._core import SharedMemory
from raven.app.compose.front import Front
from raven.app.lifecycle import Lifecycle
from raven.config import Settings
from raven.errors import ConfigurationError
from raven.observe import Health, Status, get_logger
from raven.observe.sharing import SharedMemoryCollector

__all__ = ["Sharing"]

log = get_logger("shm")

_BEAT_S = 1.0


class Sharing:
    """The memory of a hub that other processes read; None without `[shm] enabled`."""

    def __init__(self, settings: Settings) -> None:
        """Raises: ConfigurationError when a living process has the name, or the system refuses."""
        self.memory = _memory(settings)
        self._beating: asyncio.Task[None] | None = None

    def add_to(self, lifecycle: Lifecycle) -> None:
        """Let it beat with the program, and take the name away at its end; to be added before who fills the hub."""
        if self.memory is not None:
            lifecycle.add("shared memory", start=self._start, stop=self._stop)

    def show_in(self, front: Front) -> None:
        """Let health and metrics say how it is; the service is ready all the same."""
        if self.memory is not None:
            front.add_probe(self._probe)
            SharedMemoryCollector(self.memory.usage).register(front.metrics)

    def _probe(self, health: Health) -> None:
        assert self.memory is not None, "added only when there is one"
        _, _, refused, trouble = self.memory.usage()
        text = f"{refused} topics found no room and are not shared: {trouble}" if refused else ""
        health.set("shm", Status.DEGRADED if refused else Status.HEALTHY, text, critical=False)

    async def _start(self) -> None:
        assert self.memory is not None, "added only when there is one"
        log.info("topics can be read from shared memory", path=self.memory.path)
        self._beating = asyncio.get_running_loop().create_task(self._beat(self.memory), name="shared memory")

    async def _beat(self, memory: SharedMemory) -> None:
        while True:
            memory.beat(time.time_ns())
            await asyncio.sleep(_BEAT_S)

    async def _stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        if self.memory is not None:
            self.memory.close()


def _memory(settings: Settings) -> SharedMemory | None:
    chosen = settings.shm
    if not chosen.enabled:
        return None
    try:
        return SharedMemory(chosen.name, chosen.size_mb << 20, time.time_ns())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"[shm] is enabled, but {error}") from None

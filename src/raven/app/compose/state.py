"""The state folder of a service belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from raven.errors import ConfigurationError
from raven.observe import get_logger

__all__ = ["StateFolder"]

log = get_logger("raven")


class StateFolder:
    """A folder that this process writes as long as it holds it; the lock goes with the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: IO[str] | None = None

    async def take(self) -> None:
        """Take it. Raises: ConfigurationError when another process has it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / "state.lock").open("a+")
        except OSError as error:
            # What is kept there is a help after a restart, and no reason not to serve.
            log.warning("what survives a restart cannot be kept", folder=str(self._folder), reason=str(error))
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise ConfigurationError(
                f"feeds.state_dir: {self._folder.resolve()} is that of another process (pid {owner}); stop it, or give "
                "this one another folder: RAVEN__FEEDS__STATE_DIR=…"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    async def let_go(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

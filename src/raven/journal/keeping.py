"""Keeping house in a journal while it is written: segments become Parquet, days one file, old ones leave.

A thread of low priority does it now and then. Nothing leaves that a database has not read, unless the quota leaves no
other way, and then it is said aloud and written into the manifest of the day.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from raven.clock import Clock, SystemClock
from raven.errors import RavenError
from raven.journal.compaction import Compacted, compact
from raven.journal.cursors import oldest_needed
from raven.journal.merging import merge
from raven.journal.retention import Retention, apply_retention
from raven.observe import get_logger, record_compaction, record_error

__all__ = ["Keeper", "KeeperSettings"]

log = get_logger("journal")

# The scheduler gives it what the feed and the journal leave.
_NICENESS = 15
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class KeeperSettings:
    """When to keep house."""

    interval_s: float = 300.0
    """Pause between two rounds, seconds."""
    compacts: bool = True
    """Whether finished segments become Parquet."""
    retention: Retention = field(default_factory=Retention)
    """What leaves, and when."""
    readers: Collection[str] | None = None
    """Databases that are configured; a cursor of another one holds nothing back. None: every cursor counts."""


class Keeper:
    """Keeps house in one journal. `start` and `stop` belong to the main loop; the work has its own thread."""

    def __init__(self, journal: Path, settings: KeeperSettings, clock: Clock | None = None) -> None:
        self._journal = journal
        self._settings = settings
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="journal keeper", daemon=True)
        self.trouble = ""
        """Why the last round failed; empty when it did not."""

    async def start(self) -> None:
        """Begin; the first round comes after the first pause, so that a start is not slowed down."""
        self._thread.start()

    async def stop(self) -> None:
        """End; a segment that is being compacted is finished, or done again by the next start."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, _LOOK_S)

    def round(self) -> Compacted:
        """Keep house once. Raises: RavenError, OSError."""
        done = Compacted()
        if self._settings.compacts:
            done = compact(self._journal, before=oldest_needed(self._journal, self._settings.readers))
            record_compaction(done.segments, done.bytes_after)
            merge(self._journal, self._clock.time_ns())
        apply_retention(self._journal, self._settings.retention, self._clock.time_ns())
        return done

    def _work(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._stopping.wait(self._settings.interval_s):
            try:
                self.round()
                self.trouble = ""
            except (RavenError, OSError) as error:
                # A full disk, most of all: the next round tries again, and nothing was removed.
                self.trouble = f"housekeeping: {error}"
                log.error("journal housekeeping failed", reason=str(error), next="tries again", every_s=60)
            except Exception as error:
                # This thread's edge.
                self.trouble = f"housekeeping: {error!r}"
                record_error(error, "journal housekeeping")

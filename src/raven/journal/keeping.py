"""Keeping house in a journal while it is written: segments become Parquet, days one file, old ones leave.

Each round is a process of its own with the lowest priority (`raven.journal.house`): the feed does not wait for its
interpreter lock, and its memory goes back when it ends. Nothing leaves that a database has not read, unless the quota
leaves no other way, and then it is said aloud, counted, and written into the manifest of the day.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from raven.clock import Clock, SystemClock
from raven.errors import InternalError, RavenError
from raven.journal.house import Round, Task
from raven.journal.retention import Readers, Retention, Retired
from raven.observe import get_logger, record_compaction, record_error, record_retention, record_unread

__all__ = ["Keeper", "KeeperSettings"]

log = get_logger("journal")

# The lowest priority there is. It comes first: what is imported takes a second of a core.
_NICE = 19
_PROGRAM = "import os, sys; os.nice(int(sys.argv[1])); from raven.journal.house import main; main()"
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class KeeperSettings:
    """When and how."""

    interval_s: float = 300.0
    """How often it is looked for work."""
    compacts: bool = True
    """Whether segments become Parquet."""
    retention: Retention = field(default_factory=Retention)
    readers: Readers | None = None
    """Databases that are configured; a cursor of another one holds nothing back. None: every cursor counts."""


class Keeper:
    """Keeps house in one journal. `start` and `stop` belong to the main loop; a thread waits for each round."""

    def __init__(self, journal: Path, settings: KeeperSettings, clock: Clock | None = None) -> None:
        self._journal = journal
        self.settings = settings
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="journal keeper", daemon=True)
        self._process: subprocess.Popen[str] | None = None
        self._trouble = ""
        self._unread: Counter[str] = Counter()
        self.rounds = 0
        """Rounds that came to an end, good or bad."""

    @property
    def trouble(self) -> str:
        """Why the last round failed, and what left before a database had it since the start; else empty."""
        lost = [f"{rows:,} records left before {sink} had them" for sink, rows in self._unread.items()]
        return "; ".join(f"housekeeping: {one}" for one in (self._trouble, *lost) if one)

    async def start(self) -> None:
        """Begin; the first round comes after one interval."""
        self._thread.start()

    async def stop(self) -> None:
        """End; a round that is under way is broken off, and the next start does what it left undone."""
        self._stopping.set()
        if (process := self._process) is not None:
            process.kill()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while not self._stopping.wait(self.settings.interval_s):
            try:
                done = self._round()
            except Exception as error:
                # A thread's edge: it must not end before the program does.
                if not isinstance(error, RavenError | OSError):
                    record_error(error, "journal housekeeping")
                done = Round(trouble=str(error) or repr(error))
            if not self._stopping.is_set():
                self._note(done)

    def _round(self) -> Round:
        """Let a process do one round. Raises: InternalError when it ended without a word; OSError."""
        task = Task(
            self._journal.absolute(), self._clock.time_ns(), self.settings.compacts, self.settings.retention,
            self.settings.readers,
        )  # fmt: skip
        packages = os.pathsep.join(filter(None, sys.path))
        with subprocess.Popen(  # noqa: S603 - this interpreter and a constant
            [sys.executable, "-c", _PROGRAM, str(_NICE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": packages},
            # Ctrl-C is for us: it ends when we do. Not a session of its own: to Linux that would be another user's
            # work (`sched_autogroup`), with as much right to the cores as all of ours, whatever its priority.
            process_group=0,
        ) as process:  # fmt: skip
            self._process = process
            try:
                return self._listen(process, task)
            finally:
                self._process = None
                process.kill()

    def _listen(self, process: subprocess.Popen[str], task: Task) -> Round:
        assert process.stdin is not None, "see Popen"
        assert process.stdout is not None, "see Popen"
        if self._stopping.is_set():
            # Before there was a process that `stop` could end.
            return Round()
        process.stdin.write(task.to_json() + "\n")
        process.stdin.flush()
        for line in process.stdout:
            said = json.loads(line)
            if "done" in said:
                retired = Retired(**said["done"].pop("retired"))
                return Round(**said["done"], retired=retired)
            write = getattr(log, said.pop("level"))
            write(said.pop("event"), **said)
        raise InternalError(f"the process that keeps house ended with code {process.wait(_END_S)} before it was done")

    def _note(self, done: Round) -> None:
        record_compaction(done.segments, done.bytes_after)
        for how, files in done.retired.files.items():
            record_retention(how, files)
        for sink, rows in done.retired.unread.items():
            record_unread(sink, rows)
            self._unread[sink] += rows
        if done.trouble:
            # A full disk, most of all: the next round tries again, and nothing was removed.
            log.error("journal housekeeping failed", reason=done.trouble, next="tries again", every_s=60)
        self._trouble = done.trouble
        self.rounds += 1

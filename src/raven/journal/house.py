"""Keeping house in a journal once: segments become Parquet, days one file, and what is old enough leaves.

As a program (`raven.journal.keeping` starts it) it is a process of its own with the lowest priority, which shares no
interpreter lock and no memory with the feed. It may be killed at any moment: the next round does what was left undone.

    stdin    one line of JSON: what to do. Its end is the end of the program that asked, and of this one
    stdout   lines of JSON: what is to be logged, and at last what was done
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import structlog

from raven.errors import RavenError
from raven.journal.compaction import compact
from raven.journal.cursors import oldest_needed
from raven.journal.merging import merge
from raven.journal.partitions import parquet_folder
from raven.journal.retention import Days, Readers, Retention, Retired, apply_retention
from raven.journal.segment import segments_in

__all__ = ["Round", "Task", "keep_house", "main"]


@dataclass(frozen=True, slots=True)
class Task:
    """What one round has to do."""

    journal: Path
    now_ns: int
    compacts: bool = True
    """Whether segments become Parquet."""
    retention: Retention = field(default_factory=Retention)
    readers: Readers | None = None
    """Databases that are configured; a cursor of another one holds nothing back. None: every cursor counts."""

    def to_json(self) -> str:
        """Return it in one line."""
        return json.dumps(asdict(self), default=_plain)

    @staticmethod
    def from_json(line: str) -> Task:
        """Return what `to_json` wrote."""
        values = json.loads(line)
        retention = values.pop("retention")
        archive = retention.pop("archive")
        types = {name: Days(**days) for name, days in retention.pop("types").items()}
        days = Days(**retention.pop("days"))
        return Task(
            Path(values.pop("journal")),
            retention=Retention(days, types, archive and Path(archive), **retention),
            **values,
        )


@dataclass(slots=True)
class Round:
    """What one round did."""

    segments: int = 0
    """Segments that became Parquet."""
    bytes_after: int = 0
    """Bytes of what they became."""
    retired: Retired = field(default_factory=Retired)
    trouble: str = ""
    """Why it could not do all of it; empty when it could."""


def keep_house(task: Task, done: Round | None = None) -> Round:
    """Do one round here and now; return what was done, in `done` if that is given. Raises: RavenError, OSError."""
    done, quota = Round() if done is None else done, task.retention.max_bytes
    if task.compacts:
        # What a database still has to read stays a segment, as long as there is room: it is read faster.
        is_too_much = bool(quota) and _size(task.journal) > quota
        try:
            compacted = compact(task.journal, before=None if is_too_much else oldest_needed(task.journal, task.readers))
            done.segments, done.bytes_after = compacted.segments, compacted.bytes_after
            merge(task.journal, task.now_ns)
        except OSError as error:
            # A full disk, most of all. What is allowed to leave makes room for the next round.
            done.trouble = str(error)
    apply_retention(task.journal, task.retention, task.now_ns, readers=task.readers, done=done.retired)
    return done


def _size(journal: Path) -> int:
    files = [*segments_in(journal), *parquet_folder(journal).glob("*/*/*/*/*.parquet")]
    return sum(path.stat().st_size for path in files)


def main() -> None:
    """Do what the first line of stdin says."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    # Whatever libraries print is not for who reads this.
    answer, sys.stdout = sys.stdout, sys.stderr
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(default=str)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.WriteLoggerFactory(answer),
    )
    line, done = sys.stdin.readline(), Round()
    if not line:
        return
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    try:
        keep_house(Task.from_json(line), done)
    except (RavenError, OSError) as error:
        done.trouble = done.trouble or str(error)
    print(json.dumps({"done": asdict(done)}), file=answer, flush=True)


def _end_with(stdin: IO[str]) -> None:
    stdin.read()
    os._exit(1)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value)

"""The memory of what was published: a thread that copies every topic into segment files, ten times a second.

What it owns: a folder with a lock (one process writes it), segments, and the topic table that says what the numbers in
them mean. What it promises: after `commit_interval_s` a record is on the disk, or a gap record says that it is not.
The feed never waits for it: it reads rings with cursors of its own.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import json
import os
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from raven._core import Collector, Hub, __version__
from raven.clock import Clock, SystemClock
from raven.errors import ConfigurationError, DatabaseConnection, InternalError
from raven.journal.cursors import Position
from raven.journal.reading import JournalTopic, unfinished_topics
from raven.journal.schema import record_batch
from raven.journal.segment import FORMAT, META, Damage, SegmentWriter, cut_torn_tail, segments_in
from raven.observe import get_logger, record_commit, record_error, record_journal_loss
from raven.records import Flags, GapReason, GapWord, Kind
from raven.topics import DataType, Topic

__all__ = ["Journal", "JournalStatus"]

log = get_logger("journal")

# Records per Arrow batch: bounds what is held in memory, and what one damaged frame costs.
_BATCH_RECORDS = 65_536
# A commit takes time too, and a busy machine lets a thread wait: so that the promise holds, turns come more often.
_TURNS_PER_INTERVAL = 3
# Turns between two looks for new topics: with thousands of them the look costs more than the turn.
_FOLLOW_EVERY = 5
# Numbers of topics of a run before this one, in gap records about its end.
_INTERRUPTED_FROM = 1 << 31
# While the disk is full, what cannot be kept is counted; the next attempt comes after this time.
_FULL_RETRY_S = 1.0

TopicRow = tuple[int, str, str, int, int]
"""Number, venue, symbol, data type, depth."""


@dataclass(slots=True)
class JournalStatus:
    """What a journal has done since it was started."""

    records: int = 0
    """Records on the disk."""
    bytes: int = 0
    """Bytes on the disk, this run."""
    lost: int = 0
    """Records that could not be kept; each is counted in a gap record."""
    trouble: str = ""
    """Why nothing can be written just now, `storage_full: …` when the disk is; empty when all is well."""
    segment: str = ""
    """File that is written."""
    recovered: list[Damage] = field(default_factory=list)
    """What a crash had left half written when this run began."""


class Journal:
    """Copies every topic of a hub to disk. `start` and `stop` belong to the main loop; the work has its own thread."""

    def __init__(
        self,
        hub: Hub,
        folder: Path,
        *,
        commit_interval_s: float = 0.1,
        books_every_s: float = 1.0,
        segment_max_bytes: int = 256 << 20,
        keeps: Callable[[Topic], bool] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Of each book the last state in every `books_every_s` is kept, by receive time, and every change of its
        quality; 0 keeps every published state. Everything else is kept as it comes.

        `keeps` says which topics are kept, from its thread and more than once; without it all are. One that is kept is
        kept until it ends.
        """
        self._hub = hub
        self._folder = folder
        self._commit_interval_s = commit_interval_s
        self._segment_max_bytes = segment_max_bytes
        self._clock = clock or SystemClock()
        self._keeps = keeps
        self._collector = Collector(hub, book_interval_ns=round(books_every_s * 1e9))
        self._topics: dict[int, TopicRow] = {}
        # How often a topic of this name was kept in this run; its sequences began anew each time.
        self._beginnings: Counter[tuple[str, str, int]] = Counter()
        self._unkept: Counter[int] = Counter()
        self._interrupted: set[JournalTopic] = set()
        self._segment: SegmentWriter | None = None
        self._number = 0
        self._run = f"{self._clock.time_ns():x}-{os.getpid()}"
        self._lock: IO[str] | None = None
        self._retry_at = 0.0
        self._books: list[tuple[str, str, int, int]] = []
        self._stopping = threading.Event()
        self._turns = threading.Condition()
        self._is_wanted = False
        self._begun = self._done = 0
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._failure: BaseException | None = None
        self.status = JournalStatus()

    async def start(self) -> None:
        """Lock the folder, cut what a crash left half written, and begin.

        Raises: ConfigurationError when the folder cannot be used or another process writes it.
        """
        await asyncio.to_thread(self.open)
        self._thread.start()

    @property
    def run(self) -> str:
        """What this run is called in the column `run`."""
        return self._run

    @property
    def end(self) -> Position:
        """Where the next record will stand; everything before it is on the disk."""
        segment = self._segment
        return Position(self._number, offset=segment.size) if segment else Position(self._number + 1)

    def commit_now(self, timeout_s: float = 5.0) -> Position:
        """Wait until everything published before this call is on the disk; return the end of the journal then.

        For other threads. Raises: DatabaseConnection when that takes too long or the journal cannot write.
        """
        with self._turns:
            wanted = self._begun + 1
            self._is_wanted = True
            self._turns.notify_all()
            if not self._turns.wait_for(lambda: self._done >= wanted, timeout_s) or self.status.trouble:
                raise DatabaseConnection(
                    f"the journal does not keep up: {self.status.trouble or f'no commit within {timeout_s:g} s'}"
                )
            return self.end

    def keeps(self, topic_id: int) -> bool:
        """Is this topic of the hub kept, as of the last look for new ones?"""
        return topic_id in self._topics

    def beginnings(self, venue: str, symbol: str, data_type: DataType) -> int:
        """Return how often a topic of this name began in this run."""
        return self._beginnings[venue, symbol, int(data_type)]

    async def stop(self) -> None:
        """Keep what was published until now, and close."""
        with self._turns:
            self._stopping.set()
            self._turns.notify_all()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        self.close()

    async def watch(self) -> None:
        """Wait until the thread has ended. Raises: InternalError when it ended by itself."""
        await asyncio.to_thread(self._thread.join)
        if not self._stopping.is_set():
            raise InternalError(f"the journal's thread ended: {self._failure!r}") from self._failure

    def open(self) -> None:
        """Do what `start` does, without the thread. For tools and tests that call `turn` themselves."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # A full disk is no reason not to start, but a folder where nothing can ever be written is one.
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise OSError(errno.EACCES, "no file can be made there", str(self._folder))
            self._take_lock()
            segments = segments_in(self._folder)
            self._number = int(segments[-1].stem) if segments else 0
            tail = cut_torn_tail(segments[-1]) if segments else None
            self._interrupted = unfinished_topics(segments[-1]) if segments else set()
        except OSError as error:
            where, why = error.filename or self._folder, error.strerror or str(error)
            if isinstance(error, FileExistsError | NotADirectoryError):
                why = "it is no folder, or stands below something that is none"
            raise ConfigurationError(
                f"journal.dir: {where} cannot be written: {why}; give a folder that user {os.geteuid()} may write"
            ) from None
        if tail is not None:
            self.status.recovered.append(tail)
            log.warning("a torn tail was cut", file=str(tail.path), bytes=tail.size, at=tail.offset)
        log.info("journal is open", folder=str(self._folder), segments=len(segments))

    def close(self) -> None:
        """Commit what waits and let go of the folder."""
        self.turn(last=True)
        self._close_segment("ended_ns")
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def turn(self, *, last: bool = False, follow: bool = True) -> int:
        """Collect what was published and commit it; return how many records that were. Called by one thread.

        `follow`: look for topics that are new; they are then read from their first record on.
        """
        fresh, gone = self._follow_topics() if follow else ([], [])
        kept = 0
        while True:
            waiting = self._collector.collect(_BATCH_RECORDS, self._clock.time_ns(), last=last or bool(gone))
            batches = self._collector.take()
            kept += self._keep(batches, fresh)
            fresh = []
            if waiting < _BATCH_RECORDS:
                break
        if follow:
            rows = ((self._topics[topic], kept, last_ns) for topic, kept, last_ns in self._collector.books())
            self._books = [(row[1], row[2], kept, last_ns) for row, kept, last_ns in rows]
        for topic in gone:
            self._collector.remove(topic)
            # What of it could not be kept is still to be said.
            if not self._unkept[topic]:
                del self._topics[topic]
        return kept

    def books(self) -> list[tuple[str, str, int, int]]:
        """Return `(venue, symbol, states kept, receive time of the last)` of every book; may be called by any thread.

        As of the last look for new topics, some times a second.
        """
        return self._books

    # --- inside -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            for number in itertools.count():
                with self._turns:
                    self._turns.wait_for(
                        lambda: self._is_wanted or self._stopping.is_set(),
                        self._commit_interval_s / _TURNS_PER_INTERVAL,
                    )
                    if self._stopping.is_set():
                        return
                    is_wanted, self._is_wanted = self._is_wanted, False
                    self._begun += 1
                self.turn(follow=is_wanted or number % _FOLLOW_EVERY == 0)
                with self._turns:
                    self._done = self._begun
                    self._turns.notify_all()
        except BaseException as error:
            self._failure = error
            raise

    def _take_lock(self) -> None:
        lock = (self._folder / "journal.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise ConfigurationError(
                f"journal.dir: {self._folder.resolve()} is written by another process (pid {owner}); "
                "stop it, or give this one another folder"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _follow_topics(self) -> tuple[list[TopicRow], list[int]]:
        """Read topics that are new; return them, and those that have ended (which are read one last time)."""
        present = {row[0]: row[:5] for row in self._hub.topics()}
        fresh = [row for topic, row in present.items() if topic not in self._topics and self._is_kept(row)]
        for row in fresh:
            self._collector.add(row[0])
            self._topics[row[0]] = row
            self._beginnings[row[1:4]] += 1
        return fresh, [topic for topic in self._topics if topic not in present]

    def _is_kept(self, row: TopicRow) -> bool:
        """Deeper tiers of a book come and go with their readers; the depth that is always published is kept."""
        number, venue, symbol, data_type, _ = row
        if data_type == DataType.ORDERBOOK and self._hub.find(venue, symbol, data_type) != number:
            return False
        return self._keeps is None or self._keeps(Topic(venue, symbol, DataType(data_type)))

    def _keep(self, batches: Sequence[tuple[int, int, list[bytes]]], fresh: Sequence[TopicRow]) -> int:
        rows = sum(count for _, count, _ in batches)
        if not rows and not fresh:
            return 0
        frames: list[tuple[int, bytes | memoryview]] = [_meta({"topics": fresh})] if fresh and self._segment else []
        frames += [(kind, record_batch(Kind(kind), count, columns).serialize()) for kind, count, columns in batches]
        if self._clock.monotonic() < self._retry_at or not self._commit(frames, rows):
            for _, _, columns in batches:
                self._count_lost(columns[0])
            return 0
        return rows

    def _commit(self, frames: list[tuple[int, bytes | memoryview]], rows: int) -> bool:
        began = self._clock.monotonic()
        try:
            if self._segment is None:
                self._open_segment()
                self._mend()
            assert self._segment is not None
            before = self._segment.size
            self._segment.commit(frames)
            size = self._segment.size - before
            if self._segment.size >= self._segment_max_bytes:
                self._close_segment()
        except OSError as error:
            self._fail(error)
            return False
        self.status.records += rows
        self.status.bytes += size
        record_commit(rows, size, self._clock.monotonic() - began)
        if self.status.trouble:
            log.info("journal writes again", lost=self.status.lost)
            self.status.trouble = ""
        return True

    def _open_segment(self) -> None:
        self._number += 1
        self._segment = SegmentWriter(self._folder, self._number)
        self.status.segment = self._segment.path.name
        self._segment.commit([self._about(opened_ns=self._clock.time_ns())])
        if self._interrupted:
            self._tell_interruption(self._segment)

    def _tell_interruption(self, segment: SegmentWriter) -> None:
        """Say of every topic that a crashed run was keeping: nobody knows what is missing at its end."""
        rows = {
            _INTERRUPTED_FROM + place: (_INTERRUPTED_FROM + place, one.venue, one.symbol, int(one.data_type), 0)
            for place, one in enumerate(sorted(self._interrupted, key=str))
        }
        gaps = _gaps([(number, 0) for number in rows], rows, self._clock.time_ns())
        segment.commit([_meta({"topics": list(rows.values())}), gaps])
        self._interrupted.clear()

    def _about(self, **moment: int) -> tuple[int, bytes]:
        """Say what this segment is; at its beginning and at its end, in case one of them is damaged."""
        topics = list(self._topics.values())
        return _meta({"format": FORMAT, "raven": __version__, "run": self._run, **moment, "topics": topics})

    def _mend(self) -> None:
        """Say in the journal what could not be kept while nothing could be written."""
        if not self._unkept or self._segment is None:
            return
        now = self._clock.time_ns()
        rows = list(self._unkept.items())
        self._segment.commit([_gaps(rows, self._topics, now)])
        self.status.records += len(rows)
        self._unkept.clear()

    def _close_segment(self, moment: str = "closed_ns") -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            try:
                segment.commit([self._about(**{moment: self._clock.time_ns()})])
            except OSError as error:
                record_error(error, f"closing {segment.path.name}")
            segment.close()

    def _fail(self, error: OSError) -> None:
        """Give up this segment; the next attempt begins another one, so that a failed fsync is never trusted."""
        segment, self._segment = self._segment, None
        if segment is not None:
            # On a disk that has just failed, letting go may fail as well.
            with suppress(OSError):
                segment.close()
                if segment.size == 0:
                    segment.path.unlink(missing_ok=True)
                    self._number -= 1
        self._retry_at = self._clock.monotonic() + _FULL_RETRY_S
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "storage_full: no space left" if is_full else str(error.strerror or error)
        if not self.status.trouble:
            log.error("journal cannot write", reason=what, next="counts what is lost and tries again every second")
        self.status.trouble = what

    def _count_lost(self, topics: bytes) -> None:
        """Remember of which topics these records were, until a gap record can say it."""
        counts = Counter(memoryview(topics).cast("I"))
        self._unkept.update(counts)
        self.status.lost += counts.total()
        record_journal_loss(counts.total())


def _meta(content: dict[str, object]) -> tuple[int, bytes]:
    return META, json.dumps(content, separators=(",", ":")).encode()


def _gaps(rows: Sequence[tuple[int, int]], topics: dict[int, TopicRow], now_ns: int) -> tuple[int, bytes | memoryview]:
    """Return a frame of gap records: so many records of these topics are missing."""
    words = {word: [0] * len(rows) for word in GapWord}
    words[GapWord.DATA_TYPE] = [topics[topic][3] for topic, _ in rows]
    words[GapWord.COUNT] = [count for _, count in rows]
    words[GapWord.REASON] = [int(GapReason.JOURNAL)] * len(rows)
    zero, now, after_gap = [0] * len(rows), [now_ns] * len(rows), [int(Flags.AFTER_GAP)] * len(rows)
    head = [("I", [topic for topic, _ in rows]), ("I", after_gap), ("Q", zero), ("q", now), ("q", now), ("Q", zero)]
    head += [("B", zero), ("B", zero)]
    columns = [array(code, values).tobytes() for code, values in [*head, *(("q", words[word]) for word in GapWord)]]
    return int(Kind.GAP), record_batch(Kind.GAP, len(rows), columns).serialize()

"""Persistence: what the journal has goes into a database, in order, as often as it takes, and each record once.

    journal ──► follower ──► batches ──► sink            the cursor moves when the sink has said that they are durable
                               └─ refused: halves, and halves of these, until one record is left ──► dead letters

A database that is away is tried again for ever; meanwhile the records wait in the journal, not in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from raven.clock import Clock, SystemClock
from raven.errors import DataValidation, RateLimited, RavenError
from raven.journal.cursors import Position, bytes_after, load_cursor, save_cursor
from raven.journal.following import Follower, Step
from raven.journal.letters import batch_of_letter, letter_of
from raven.observe import get_logger, record_error, record_sink_behind, record_sink_refusal, record_sink_write
from raven.ports import Sink, SinkBatch
from raven.resilience.backoff import Backoff
from raven.resilience.breaker import CircuitBreaker
from raven.resilience.dead_letters import DeadLetterQueue
from raven.resilience.finishing import to_the_end

__all__ = ["Persistence", "PersistenceSettings", "PersistenceStatus"]

log = get_logger("sinks")

# Letters that are tried before it looks for records again.
_LETTERS_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class PersistenceSettings:
    """How records are gathered and how failures are met."""

    batch_rows: int = 50_000
    """Records per batch, about."""
    batch_s: float = 0.5
    """Longest time that records wait for others before they are written, seconds."""
    first_pause_s: float = 0.1
    """After a failure; pauses double."""
    longest_pause_s: float = 5.0
    """Longest pause between two attempts: a database that is back is noticed within it."""
    types: Collection[str] = ()
    """Of `SinkBatch.type`, those that are written; empty for all."""


@dataclass(slots=True)
class PersistenceStatus:
    """How far a database is."""

    rows: int = 0
    """Records written by this run."""
    refused: int = 0
    """Records that went to the dead letters, this run."""
    behind_bytes: int = 0
    """Bytes of the journal that are not written yet."""
    behind_s: float = 0.0
    """Age of the oldest record that is not written yet, seconds; 0 when all are."""
    unreadable: int = 0
    """Places of the journal that were damaged or gone when they were to be read, this run; the log names each."""
    trouble: str = ""
    """Why the database takes nothing just now; empty when it does."""

    def __str__(self) -> str:
        """Say it for people; empty when all is well."""
        said = [self.trouble] if self.trouble else []
        if self.trouble or self.behind_s >= 5:
            said.append(
                f"{self.behind_bytes / 1e6:,.1f} MB / {self.behind_s:,.0f} s of the journal are not written yet"
            )
        if self.unreadable:
            said.append(f"places of the journal that could not be read: {self.unreadable}, see the log")
        return "; ".join(said)


class Persistence:
    """Brings a journal into one database. One instance per database; `run` is one task of one event loop."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        journal: Path,
        *,
        breaker: CircuitBreaker,
        letters: DeadLetterQueue,
        settings: PersistenceSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Begin where the cursor `name` stands. Raises: ConfigurationError when that cannot be read."""
        self.name = name
        self.status = PersistenceStatus()
        self._sink = sink
        self._journal = journal
        self._breaker = breaker
        self._letters = letters
        self._settings = settings or PersistenceSettings()
        self._clock = clock or SystemClock()
        self._backoff = Backoff(self._settings.first_pause_s, self._settings.longest_pause_s, stable_s=0.0)
        self._follower = Follower(journal, load_cursor(journal, name), self._settings.types)
        self._written = self._follower.position
        self._oldest_ns = self._clock.time_ns()
        self._is_open = False
        self._is_finishing = False

    def finish(self) -> None:
        """Let `run` end when it has written everything that is there."""
        self._is_finishing = True

    async def run(self) -> None:
        """Write what is there and wait for more, until cancelled; a batch that is under way then comes again."""
        reading: asyncio.Task[tuple[Step | None, bool]] | None = None
        try:
            # A new reader leaves its mark before anything is compacted away from under it.
            await self._save(self._follower.position)
            while True:
                step, is_last_look = await (reading or self._read())
                reading = None
                if step is None and is_last_look:
                    self._measure(has_all=True)
                    return
                if step is None and self._is_finishing:
                    continue
                if step is None:
                    self._measure(has_all=True)
                    await self._retry_letters()
                    await self._clock.sleep(self._settings.batch_s)
                    continue
                # The next records are made ready while these are written.
                reading = asyncio.get_running_loop().create_task(self._read(), name=f"{self.name} reads ahead")
                await self._deliver(step)
        finally:
            if reading is not None:
                reading.cancel()
            await self._sink.close()

    # --- records ----------------------------------------------------------------------------------------

    async def _read(self) -> tuple[Step | None, bool]:
        """Return what comes next, and whether this look began after `finish`: then nothing comes after it."""
        is_last_look = self._is_finishing
        return await asyncio.to_thread(self._follower.read, self._settings.batch_rows), is_last_look

    async def _deliver(self, step: Step) -> None:
        self._measure(step)
        for batch in step.batches:
            await self._write(batch)
        await self._save(step.position)
        self._written = step.position

    async def _save(self, position: Position) -> None:
        await to_the_end(save_cursor, self._journal, self.name, position)

    async def _write(self, batch: SinkBatch) -> None:
        """Write a batch, however long it takes; what of it is refused goes to the dead letters."""
        try:
            await self._insist(batch)
        except DataValidation as refusal:
            if len(batch.records) > 1:
                half = len(batch.records) // 2
                await self._write(SinkBatch(batch.type, batch.records.slice(0, half)))
                await self._write(SinkBatch(batch.type, batch.records.slice(half)))
                return
            key, symbol, payload = letter_of(batch)
            await asyncio.to_thread(
                self._letters.put, self.name, key, refusal.message, payload, symbol=symbol, format="arrow"
            )
            self.status.refused += 1
            record_sink_refusal(self.name, key, refusal.message)

    async def _insist(self, batch: SinkBatch) -> None:
        """Write a batch as often as it takes. Raises: DataValidation when the database refuses it for what it is."""
        while True:
            await self._clock.sleep(self._breaker.wait_s())
            if self._breaker.allows() and await self._try(batch):
                return

    async def _try(self, batch: SinkBatch) -> bool:
        """Write a batch; False when that has to be tried again. Raises: DataValidation."""
        began = self._clock.monotonic()
        try:
            if not self._is_open:
                await self._sink.open()
                self._is_open = True
            await self._sink.write(batch)
        except DataValidation:
            # The database is well: it has looked at the records.
            self._succeeded()
            raise
        except Exception as error:
            await self._failed(error)
            return False
        self._succeeded()
        self.status.rows += len(batch.records)
        record_sink_write(self.name, len(batch.records), self._clock.monotonic() - began)
        return True

    def _succeeded(self) -> None:
        self._breaker.succeeded()
        self._backoff.held(0.0)
        if self.status.trouble:
            log.info("the database writes again", sink=self.name)
            self.status.trouble = ""

    async def _failed(self, error: Exception) -> None:
        foreseen = isinstance(error, RavenError | OSError)
        reason = str(error) or type(error).__name__
        self._is_open = False
        self._breaker.failed(reason)
        self._measure()
        if not self.status.trouble:
            log.warning("the database does not write", sink=self.name, reason=reason, next="tries again until it does")
        if not foreseen:
            record_error(error, f"sink {self.name}")
        self.status.trouble = reason
        pause = self._backoff.next()
        if isinstance(error, RateLimited):
            pause = max(pause, error.retry_after_s)
        await self._clock.sleep(pause)

    # --- dead letters -----------------------------------------------------------------------------------

    async def _retry_letters(self) -> None:
        """Try again what somebody asked to try again, some at a time, and only while nothing else waits.

        One after the other: a letter that the program dies of must not use up the tries of those behind it.
        """
        for _ in range(_LETTERS_AT_A_TIME):
            due = await asyncio.to_thread(self._letters.take_due, self.name, 1)
            if not due:
                return
            (letter,) = due
            try:
                written = self._breaker.allows() and await self._try(batch_of_letter(letter.payload))
            except DataValidation as refusal:
                await asyncio.to_thread(self._letters.refused, letter.number, refusal.message)
                continue
            done = self._letters.accepted if written else self._letters.give_back
            await asyncio.to_thread(done, letter.number)
            if not written:
                return

    # --- how far ----------------------------------------------------------------------------------------

    def _measure(self, step: Step | None = None, *, has_all: bool = False) -> None:
        """Say how far the database is behind: with a step that is to be written, or without one that still is."""
        if step is not None and step.rows:
            # They stand in the order in which they came.
            self._oldest_ns = min(batch.records["recv_time"][0].value for batch in step.batches if len(batch.records))
        follower = self._follower
        self.status.unreadable = len(follower.damage) + len(follower.damaged_files) + len(follower.missing)
        self.status.behind_bytes = 0 if has_all else bytes_after(self._journal, self._written)
        self.status.behind_s = 0.0 if has_all else max(0.0, (self._clock.time_ns() - self._oldest_ns) / 1e9)
        record_sink_behind(self.name, self.status.behind_bytes, self.status.behind_s)

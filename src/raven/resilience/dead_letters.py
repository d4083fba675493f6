"""Dead letters: records that a database refused for what they are, kept with the reason until a person decides.

One SQLite file. A letter is kept once however often it is handed in, and each try is counted on disk before it begins,
so that a record that kills the program is parked after as many deaths as it may have tries.

    waiting ──(retry asked)──► due ──(tried)──► gone (accepted) · waiting (refused again) · parked (too many tries)
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from raven.clock import Clock, SystemClock
from raven.errors import ConfigurationError, DatabaseConnection

__all__ = ["DeadLetterQueue", "Letter", "LetterState"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS letters (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    source    TEXT NOT NULL,
    key       TEXT NOT NULL,
    symbol    TEXT NOT NULL,
    state     TEXT NOT NULL,
    attempts  INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    format    TEXT NOT NULL,
    payload   BLOB NOT NULL,
    first_ns  INTEGER NOT NULL,
    last_ns   INTEGER NOT NULL,
    UNIQUE (source, key)
)
"""
_VERSION = 1
# Integers of SQLite end here.
_NO_NUMBER = 1 << 63
_SELECT = (
    "SELECT number, source, key, symbol, state, attempts, reason, format, payload, first_ns, last_ns FROM letters "
)


class LetterState(StrEnum):
    """What becomes of a letter next."""

    WAITING = "waiting"
    """For a person: `retry` or `drop`."""
    DUE = "due"
    """Its source tries it again soon."""
    TRYING = "trying"
    """It is tried just now, or the program died of it."""
    PARKED = "parked"
    """Tried as often as it may be; only asking by its number brings it back."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One record that was refused."""

    number: int
    source: str
    """Who could not deliver it: the name of a sink, or `validation`."""
    key: str
    """What it is, unique within its source."""
    symbol: str
    state: LetterState
    attempts: int
    reason: str
    """The words of who refused it last."""
    format: str
    """How to read the payload: `arrow` (a table of one row), `frame` (bytes of the venue), `text`."""
    payload: bytes
    first_ns: int
    """When it was first handed in, ns since 1970."""
    last_ns: int
    """When it was last touched, ns since 1970."""


class DeadLetterQueue:
    """The letters of one installation. Any number of threads and processes may use the same file."""

    def __init__(self, path: Path, *, max_attempts: int = 5, clock: Clock | None = None) -> None:
        """Open the file, making it if it is new. Raises: ConfigurationError when it cannot be used."""
        self.path = path
        self.max_attempts = max_attempts
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=10.0, check_same_thread=False, isolation_level=None)
            self._file.execute("PRAGMA journal_mode = WAL")
            # What `put` returned from survives a crash of the machine.
            self._file.execute("PRAGMA synchronous = FULL")
            version = self._file.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise ConfigurationError(
                    f"{path}: dead letters of version {version}, but this Raven reads {_VERSION}; upgrade Raven"
                )
            self._file.execute(_SCHEMA)
            self._file.execute(f"PRAGMA user_version = {_VERSION}")
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"{path} cannot hold dead letters: {error}; give another file") from None

    def put(
        self, source: str, key: str, reason: str, payload: bytes, *, symbol: str = "", format: str = "text"
    ) -> bool:
        """Keep a letter; return when it is on the disk. False when it was there: then only the reason is new.

        Raises: DatabaseConnection when it cannot be kept: it is not there then.
        """
        now = self._clock.time_ns()
        with self._transaction() as file:
            row = file.execute("SELECT number FROM letters WHERE source = ? AND key = ?", (source, key)).fetchone()
            if row is not None:
                file.execute("UPDATE letters SET reason = ?, last_ns = ? WHERE number = ?", (reason, now, row[0]))
                return False
            file.execute(
                "INSERT INTO letters (source, key, symbol, state, attempts, reason, format, payload, first_ns, last_ns)"
                " VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
                (source, key, symbol, LetterState.WAITING, reason, format, payload, now, now),
            )
        return True

    def letters(
        self, source: str = "", *, state: LetterState | None = None, symbol: str = "", limit: int = 1000
    ) -> list[Letter]:
        """Return letters, oldest first."""
        # An empty name is any.
        where = (
            "WHERE (:source = '' OR source = :source) AND (:state = '' OR state = :state)"
            " AND (:symbol = '' OR symbol = :symbol) ORDER BY number LIMIT :limit"
        )
        wanted = {"source": source, "state": state or "", "symbol": symbol, "limit": limit}
        with self._lock:
            rows = self._file.execute(_SELECT + where, wanted).fetchall()
        return [_letter(row) for row in rows]

    def letter(self, number: int) -> Letter | None:
        """Return one letter."""
        if not 0 < number < _NO_NUMBER:
            return None
        with self._lock:
            row = self._file.execute(_SELECT + "WHERE number = ?", (number,)).fetchone()
        return _letter(row) if row else None

    def counts(self) -> dict[tuple[str, LetterState], int]:
        """Count letters by source and state."""
        with self._lock:
            rows = self._file.execute("SELECT source, state, COUNT(*) FROM letters GROUP BY source, state").fetchall()
        return {(source, LetterState(state)): count for source, state, count in rows}

    def ask_retry(self, numbers: Sequence[int]) -> int:
        """Let letters be tried again, also parked ones, whose tries then count anew; return how many there were."""
        return self._each(
            "UPDATE letters SET state = 'due', attempts = 0 WHERE number = ? AND state != 'trying'", numbers
        )

    def drop(self, numbers: Sequence[int]) -> int:
        """Throw letters away; return how many there were."""
        return self._each("DELETE FROM letters WHERE number = ?", numbers)

    def take_due(self, source: str, limit: int = 100) -> list[Letter]:
        """Take letters of a source that are to be tried now, oldest first; their tries are counted before this returns.

        End each with `accepted` or `refused`, or give it back with `give_back`.
        """
        now = self._clock.time_ns()
        with self._transaction() as file:
            # What is still being tried was left by a process that died meanwhile: a source has one taker.
            file.execute(
                "UPDATE letters SET state = CASE WHEN attempts >= ? THEN 'parked' ELSE 'due' END, last_ns = ?"
                " WHERE source = ? AND state = 'trying'",
                (self.max_attempts, now, source),
            )
            rows = file.execute(
                _SELECT + "WHERE source = ? AND state = 'due' ORDER BY number LIMIT ?",
                (source, limit),
            ).fetchall()
            file.executemany(
                "UPDATE letters SET state = 'trying', attempts = attempts + 1, last_ns = ? WHERE number = ?",
                [(now, row[0]) for row in rows],
            )
        return [_letter(row) for row in rows]

    def accepted(self, number: int) -> None:
        """Say that a letter was delivered; it is gone."""
        self._each("DELETE FROM letters WHERE number = ?", [number])

    def refused(self, number: int, reason: str) -> None:
        """Say that a letter was refused again."""
        with self._transaction() as file:
            file.execute(
                "UPDATE letters SET reason = ?, last_ns = ?,"
                " state = CASE WHEN attempts >= ? THEN 'parked' ELSE 'waiting' END WHERE number = ?",
                (reason, self._clock.time_ns(), self.max_attempts, number),
            )

    def give_back(self, number: int) -> None:
        """Say that a letter could not be tried after all (the database is away): this was no try."""
        self._each("UPDATE letters SET state = 'due', attempts = attempts - 1 WHERE number = ?", [number])

    def backup(self, path: Path) -> None:
        """Write a copy of the file as of now, while others go on using it. Raises: sqlite3.Error, OSError."""
        copy = sqlite3.connect(path)
        with self._lock:
            try:
                self._file.backup(copy)
            finally:
                copy.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises: DatabaseConnection when it cannot be written; a full disk, say."""
        with self._lock:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                yield self._file
                self._file.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise DatabaseConnection(f"{self.path}: dead letters cannot be written: {error}") from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        # A full disk may have ended the transaction already.
        if self._file.in_transaction:
            self._file.execute("ROLLBACK")

    def _each(self, statement: str, numbers: Sequence[int]) -> int:
        with self._transaction() as file:
            return sum(file.execute(statement, (number,)).rowcount for number in numbers)


def _letter(row: tuple[Any, ...]) -> Letter:
    number, source, key, symbol, state, attempts, reason, format, payload, first_ns, last_ns = row
    state = LetterState(state)
    return Letter(number, source, key, symbol, state, attempts, reason, format, payload, first_ns, last_ns)

"""Refused frames, kept as they came: one JSON line each with the reason and the raw bytes, in files of bounded size."""

from __future__ import annotations

import base64
import threading
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from raven.clock import Clock
from raven.observe import get_logger, record_error

__all__ = ["FILES", "Quarantine"]

log = get_logger("quarantine")

FILES = ("quarantine.1.jsonl", "quarantine.jsonl")
"""In the directory, older first."""

# What may wait for the disk. A venue gone mad sends more than any disk takes; the rest is counted only.
_WAITING_BYTES = 4 * 1024 * 1024
_STOP_S = 2.0


class Quarantine:
    """Writes to `quarantine.jsonl` in a directory; when full it becomes `quarantine.1.jsonl` and a new one begins.

    `keep` is called on the ingest thread and only queues; a thread of its own writes, so that a slow disk delays no
    frame. Without a directory, when the queue is full or the disk refuses, frames are counted and logged only.
    """

    def __init__(self, directory: Path | None, max_bytes: int, clock: Clock) -> None:
        self._file = directory / FILES[1] if directory is not None and max_bytes > 0 else None
        self._half = max_bytes // 2
        self._clock = clock
        self.kept = 0
        """Frames written."""
        self.not_kept = 0
        """Frames that were refused and are in no file."""
        self._waiting: deque[tuple[dict[str, Any], bytes]] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._writer: threading.Thread | None = None

    def keep(self, venue: str, symbol: str, reason: str, offset: int, raw: bytes) -> None:
        """Keep one refused frame."""
        text = raw[:120].decode("utf-8", "replace")
        log.warning("refused", venue=venue, symbol=symbol, reason=reason, offset=offset, raw=text, every_s=1)
        line = {
            "at_ms": self._clock.time_ns() // 1_000_000, "venue": venue, "symbol": symbol, "reason": reason,
            "offset": offset,
        }  # fmt: skip
        with self._changed:
            if self._file is None or self._stopping or self._waiting_bytes + len(raw) > _WAITING_BYTES:
                self.not_kept += 1
                return
            self._waiting.append((line, raw))
            self._waiting_bytes += len(raw)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_on, name="raven-quarantine", daemon=True)
                self._writer.start()
            self._changed.notify()

    def close(self) -> None:
        """Write what waits and end; bounded, because a hanging disk must not keep the program from ending."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._writer is not None:
            self._writer.join(_STOP_S)

    def _write_on(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                rows, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
            if not rows:
                return
            try:
                written = self._append(rows)
            except Exception as error:
                # This thread's edge: without it refused frames would be counted as kept and lost.
                record_error(error, "quarantine")
                written = 0
            with self._changed:
                self.kept += written
                self.not_kept += len(rows) - written

    def _append(self, rows: deque[tuple[dict[str, Any], bytes]]) -> int:
        """Write rows; return how many."""
        assert self._file is not None
        written = 0
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            while rows_left := len(rows) - written:
                if self._file.exists() and self._file.stat().st_size >= self._half:
                    self._file.replace(self._file.with_name(FILES[0]))
                with self._file.open("ab") as out:
                    for line, raw in list(rows)[-rows_left:]:
                        out.write(msgspec.json.encode(line | {"raw_base64": base64.b64encode(raw).decode()}) + b"\n")
                        written += 1
                        if out.tell() >= self._half:
                            break
        except OSError as error:
            log.error("refused frames could not be kept", file=str(self._file), reason=str(error), every_s=10)
        return written

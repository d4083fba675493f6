"""Refused frames, kept as they came: one JSON line each with the reason and the raw bytes, in files of bounded size."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec

from raven.clock import Clock
from raven.observe import get_logger

__all__ = ["Quarantine"]

log = get_logger("quarantine")


class Quarantine:
    """Writes to `quarantine.jsonl` in a directory; when full it becomes `quarantine.1.jsonl` and a new one begins.

    Without a directory, or when the disk refuses, frames are counted and logged only.
    """

    def __init__(self, directory: Path | None, max_bytes: int, clock: Clock) -> None:
        self._file = directory / "quarantine.jsonl" if directory is not None and max_bytes > 0 else None
        self._half = max_bytes // 2
        self._clock = clock
        self.kept = 0
        self.not_kept = 0

    def keep(self, venue: str, symbol: str, reason: str, offset: int, raw: bytes) -> None:
        """Keep one refused frame."""
        text = raw[:120].decode("utf-8", "replace")
        log.warning("refused", venue=venue, symbol=symbol, reason=reason, offset=offset, raw=text, every_s=1)
        line: dict[str, Any] = {
            "at_ms": self._clock.time_ns() // 1_000_000, "venue": venue, "symbol": symbol, "reason": reason,
            "offset": offset, "raw_base64": base64.b64encode(raw).decode(),
        }  # fmt: skip
        if self._write(msgspec.json.encode(line) + b"\n"):
            self.kept += 1
        else:
            self.not_kept += 1

    def _write(self, line: bytes) -> bool:
        if self._file is None:
            return False
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._file.exists() and self._file.stat().st_size + len(line) > self._half:
                self._file.replace(self._file.with_suffix(".1.jsonl"))
            with self._file.open("ab") as out:
                out.write(line)
        except OSError as error:
            log.error("a refused frame could not be kept", file=str(self._file), reason=str(error), every_s=10)
            return False
        return True

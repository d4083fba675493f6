"""When a venue has said "not before": kept over a restart, because asking too early makes it longer."""

from __future__ import annotations

from pathlib import Path

import msgspec

from raven.clock import Clock
from raven.observe import get_logger

__all__ = ["Bans"]

log = get_logger("ingest")

_FILE = msgspec.json.Decoder(dict[str, float])


class Bans:
    """Wall-clock times until which nothing may be asked, by name.

    With a file they survive a restart; a file that cannot be read or written is reported, and what is known is kept.
    """

    def __init__(self, clock: Clock, file: Path | None = None) -> None:
        self._clock = clock
        self._file = file
        self._until: dict[str, float] = {}
        if file is not None and file.exists():
            try:
                self._until = _FILE.decode(file.read_bytes())
            except (OSError, msgspec.DecodeError) as error:
                log.warning("bans cannot be read", file=str(file), reason=str(error))

    def left_s(self, name: str) -> float:
        """Return for how many seconds more nothing may be asked."""
        return max(0.0, self._until.get(name, 0.0) - self._clock.time_ns() / 1e9)

    def add(self, name: str, seconds: float) -> None:
        """Ask nothing for so long; a later end that is known already stays."""
        until = self._clock.time_ns() / 1e9 + seconds
        if until <= self._until.get(name, 0.0):
            return
        self._until[name] = until
        if self._file is not None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                waiting = self._file.with_suffix(".new")
                waiting.write_bytes(msgspec.json.encode(self._until))
                waiting.replace(self._file)
            except OSError as error:
                log.warning("bans cannot be kept over a restart", file=str(self._file), reason=str(error))

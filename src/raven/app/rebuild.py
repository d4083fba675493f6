"""A journal from a capture: what the server that recorded it published, record by record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from raven._core import Hub
from raven.errors import ConfigurationError
from raven.ingest.playback import Playback
from raven.ingest.settings import EngineSettings
from raven.journal import Journal
from raven.journal.segment import segments_in
from raven.recording import Damage, recording_files

__all__ = ["rebuild"]

# Lines between two commits: rings of this size hold what they publish, even if all of it is of one symbol.
_TURN_LINES = 2_000
_RING_BYTES = 16 << 20
_NEW_SYMBOL = b'{"raven":"instrument"'


class _CaptureClock:
    """The time of the line that is played."""

    def __init__(self) -> None:
        self.now_ns = 0

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError("a capture is played without waiting")


def rebuild(
    paths: Sequence[Path],
    journal: Path,
    *,
    settings: EngineSettings | None = None,
    books_every_s: float = 0.0,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[int, list[Damage]]:
    """Play captures (files, or folders of them) through the engine into a new journal.

    `progress` hears how many messages have passed. Returns: records written, and what of the capture was damaged.
    Raises: DataValidation when they are no capture; ConfigurationError when there is a journal in the folder already.
    """
    if segments_in(journal):
        raise ConfigurationError(f"{journal}: there is a journal already; name a new folder")
    files = recording_files(paths)
    hub, clock = Hub(), _CaptureClock()
    playback = Playback(hub, files, settings=settings or EngineSettings(ring_bytes=_RING_BYTES))
    store = Journal(hub, journal, books_every_s=books_every_s, clock=clock)
    store.open()
    lines = 0
    for lines, line in enumerate(playback.play(), 1):
        clock.now_ns = max(clock.now_ns, line.recv_ns)
        is_new_symbol = line.raw.startswith(_NEW_SYMBOL)
        if is_new_symbol or lines % _TURN_LINES == 0:
            # What a symbol publishes is kept from its first record on, even if it is soon dropped.
            store.turn()
            progress(lines)
    store.close()
    progress(lines)
    return store.status.records, playback.damage

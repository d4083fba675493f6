"""A capture through the engine once more, exactly as it went when it was recorded: the same frames on the same
connections in the same order, the same answers, the same decisions at the same times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from raven._core import EVENTS_PENDING, Engine, Hub
from raven.errors import DataValidation
from raven.ingest.settings import EngineSettings
from raven.recording import (
    CaptureHead,
    Damage,
    Note,
    RecordedLine,
    capture_head,
    capture_heads,
    depth_answer,
    note_of,
    read_recording,
)

__all__ = ["Playback"]


class Playback:
    """Plays a capture into a hub."""

    def __init__(self, hub: Hub, files: Sequence[Path], *, settings: EngineSettings | None = None) -> None:
        """`files` as from `recording_files`; `settings` should be those of the server that recorded.

        Raises: DataValidation when the files are no capture.
        """
        if not capture_heads(files):
            raise DataValidation(f"{files[0]}: no capture; expected what `raven --record` writes")
        options = asdict(settings or EngineSettings())
        self._ring_bytes: int = options.pop("ring_bytes")
        self.engine = Engine(hub, **options)
        self.damage: list[Damage] = []
        """What could not be read."""
        self._files = files
        self._venues: dict[str, int] = {}
        self._instruments: dict[tuple[str, str], int] = {}
        self._connections: dict[tuple[str, str, int], int] = {}
        self._heads: dict[int, CaptureHead] = {}
        self._run = ""

    def play(self) -> Iterator[RecordedLine]:
        """Give line after line to the engine, and yield each when that has been done."""
        for line in read_recording(self._files, notes=True, on_damage=self.damage.append):
            self.feed(line)
            yield line

    def feed(self, line: RecordedLine) -> None:
        """Give one line to the engine. The first line of a file has to come first."""
        bits = 0
        note = note_of(line.raw)
        if note is None:
            bits = self._message(line, self._heads[line.file])
        elif head := capture_head(line.raw):
            self._begin(line, head)
        else:
            self._decide(line, note, self._heads[line.file])
        if bits & EVENTS_PENDING:
            self.engine.take_events()

    def instrument(self, venue: str, symbol: str) -> int | None:
        """Return the engine's handle of a symbol, None when it is not collected (yet)."""
        return self._instruments.get((venue, symbol))

    def _begin(self, line: RecordedLine, head: CaptureHead) -> None:
        if head.run != self._run:
            if self._run:
                # Another start of the program: nothing it knew before counts.
                for instrument in self._instruments.values():
                    self.engine.desync(instrument, "reconnect", at_ns=line.recv_ns)
            self._run = head.run
        self._heads[line.file] = head
        if head.venue not in self._venues:
            self._venues[head.venue] = self.engine.add_venue(head.venue, head.rule)
        key = head.run, head.venue, head.connection
        if head.connection >= 0 and key not in self._connections:
            self._connections[key] = self.engine.open_connection(self._venues[head.venue])

    def _message(self, line: RecordedLine, head: CaptureHead) -> int:
        if head.connection >= 0:
            connection = self._connections[head.run, head.venue, head.connection]
            return self.engine.on_frame(connection, line.recv_ns, line.raw)
        answer = depth_answer(line.raw)
        instrument = None if answer is None else self._instruments.get((head.venue, answer.symbol))
        if answer is None or instrument is None:
            return 0
        return self.engine.on_snapshot(instrument, line.recv_ns, answer.body, limit=answer.limit)

    def _decide(self, line: RecordedLine, note: Note, head: CaptureHead) -> None:
        name = head.venue, note.symbol
        instrument = self._instruments.get(name)
        if note.raven == "closed":
            self.engine.close_connection(self._connections[head.run, head.venue, head.connection])
        elif instrument is not None:
            self._tell(line, note, instrument)
        elif note.raven == "instrument":
            self._instruments[name] = self.engine.add_instrument(
                self._venues[head.venue], note.symbol, price_scale=note.price_scale,
                quantity_scale=note.quantity_scale, ring_bytes=self._ring_bytes, needs_book=note.wanted,
            )  # fmt: skip

    def _tell(self, line: RecordedLine, note: Note, instrument: int) -> None:
        match note.raven:
            case "dropped":
                self.engine.remove_instrument(instrument)
                self._instruments = {name: other for name, other in self._instruments.items() if other != instrument}
            case "book":
                self.engine.want_book(instrument, note.wanted)
            case "desync":
                self.engine.desync(instrument, note.reason, book=note.book, at_ns=line.recv_ns)
            case "stale":
                self.engine.mark_stale(instrument, note.stale, at_ns=line.recv_ns)

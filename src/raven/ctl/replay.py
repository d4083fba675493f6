"""`ravenctl replay`: run recordings through the engine and say what came out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from raven import _core
from raven.ctl.audit import SymbolAudit, plain
from raven.errors import DataValidation
from raven.recording import (
    Damage,
    DepthAnswer,
    RecordedLine,
    capture_heads,
    depth_answer,
    market_of,
    read_recording,
    recording_files,
    stream_name,
)

__all__ = ["Replay", "replay_files"]

_VENUE = "recording"
_DECODER = msgspec.json.Decoder(dict[str, Any])
# One level a side is all that the audit reads of a record; a ring of 2 MiB then holds 20,000 states between two reads.
_BOOK_DEPTH = 1
_RING_BYTES = 4 << 20


class Replay:
    """One recording on its way through the engine, line by line."""

    def __init__(self) -> None:
        self.hub = _core.Hub()
        # A recording is history: nothing in it is too old, and no price is judged by today's.
        self.engine = _core.Engine(self.hub, book_depth=_BOOK_DEPTH)
        self.audits: dict[str, SymbolAudit] = {}
        self.events: dict[str, int] = {}
        self.lines = 0
        self.files: list[Path] = []
        self.damage: list[Damage] = []
        """What could not be read."""
        self.rejected: list[tuple[int, int, str, int]] = []
        """File, line, reason and byte offset of every refused message."""
        self._venue = -1
        self._connection = -1
        self.market = ""
        self._first_ns = self._last_ns = self._time_going_back = 0
        self._skew: dict[str, tuple[int, int]] = {}
        self._held_answer: tuple[RecordedLine, DepthAnswer] | None = None

    def feed(self, line: RecordedLine) -> None:
        """Take one line."""
        self._clock(line.recv_ns)
        self.lines += 1
        answer = depth_answer(line.raw)
        if answer is not None:
            self.events["rest depth"] = self.events.get("rest depth", 0) + 1
            self._snapshot(line, answer)
            return
        try:
            message = _DECODER.decode(line.raw)
        except msgspec.DecodeError:
            message = {}
        data = message.get("data", message)
        stream = message.get("stream") or stream_name(data) or "unknown"
        self.events[stream] = self.events.get(stream, 0) + 1
        # A capture has the venue's replies, too.
        if isinstance(data, dict) and stream != "unknown":
            self._event(line, stream, data)
        self._give(line)

    def _clock(self, recv_ns: int) -> None:
        if not self.lines:
            self._first_ns = recv_ns
        self._time_going_back += recv_ns < self._last_ns
        self._last_ns = recv_ns

    def _event(self, line: RecordedLine, stream: str, data: dict[str, Any]) -> None:
        symbol = str(data.get("s") or data.get("o", {}).get("s") or stream.partition("@")[0]).upper()
        if not symbol or symbol.startswith("!"):
            return
        kind = stream.partition("@")[2] or str(data.get("e", ""))
        is_diff = kind.startswith("depth") and "U" in data and not kind[5:6].isdigit()
        audit = self._audit(symbol, data)
        if is_diff:
            kind = "depth"
            audit.diff(line.file, line.line, data)
        elif kind == "bookTicker":
            audit.ticker(data)
        elif kind == "trade":
            audit.trade(data)
        else:
            audit.other(kind)
        if "E" in data:
            skew = data["E"] * 1_000_000 - line.recv_ns
            low, high = self._skew.get(kind, (skew, skew))
            self._skew[kind] = min(low, skew), max(high, skew)

    def _audit(self, symbol: str, data: dict[str, Any]) -> SymbolAudit:
        audit = self.audits.get(symbol)
        if audit is not None:
            return audit
        if self._venue < 0:
            self.market = "spot" if market_of(data) == "spot" else "futures"
            self._venue = self.engine.add_venue(_VENUE, self.market)
            self._connection = self.engine.open_connection(self._venue)
        instrument = self.engine.add_instrument(self._venue, symbol, ring_bytes=_RING_BYTES)
        audit = self.audits[symbol] = SymbolAudit(self.hub, self.engine, instrument, (_VENUE, symbol))
        if self._held_answer is not None:
            held, self._held_answer = self._held_answer, None
            self._snapshot(*held)
        return audit

    def _give(self, line: RecordedLine) -> None:
        if self._connection < 0:
            return
        bits = self.engine.on_frame(self._connection, line.recv_ns, line.raw)
        self._after(line, bits)

    def _snapshot(self, line: RecordedLine, answer: DepthAnswer) -> None:
        symbol = answer.symbol or (next(iter(self.audits)) if len(self.audits) == 1 else "")
        if not symbol:
            if self.audits:
                raise DataValidation(
                    f"line {line.line} of file {line.file}: a depth answer without symbol among {len(self.audits)} "
                    "symbols; wrap it as {'rest': '<path and query>', 'body': …}"
                )
            self._held_answer = line, answer
            return
        body = _DECODER.decode(answer.body)
        if symbol not in self.audits:
            self._audit(symbol, body)
        audit = self.audits[symbol]
        audit.snapshot(line.file, line.line, line.recv_ns, body, answer.limit)
        bits = self.engine.on_snapshot(audit.instrument, line.recv_ns, answer.body, limit=answer.limit)
        self._after(line, bits)

    def _after(self, line: RecordedLine, bits: int) -> None:
        if bits & _core.PUBLISHED:
            for audit in self.audits.values():
                audit.drain()
        if bits & _core.EVENTS_PENDING:
            for event, _, _, reason, number, _ in self.engine.take_events():
                if event == "rejected":
                    self.rejected.append((line.file, line.line, reason, number))

    def report(self) -> dict[str, Any]:
        """Return the whole result as one JSON-ready document."""
        span_ns = Decimal(self._last_ns - self._first_ns)
        milliseconds = {
            kind: [plain(Decimal(bound) / 1_000_000) for bound in bounds] for kind, bounds in sorted(self._skew.items())
        }
        return {
            "format": 1,
            "files": [{"file": _name(path), "sha256": _file_hash(path)} for path in self.files],
            "market": self.market, "events": dict(sorted(self.events.items())), "lines": self.lines,
            "local_first_ns": self._first_ns, "local_last_ns": self._last_ns, "span_s": plain(span_ns / 1_000_000_000),
            "local_time_going_back": self._time_going_back, "exchange_E_minus_local_ms": milliseconds,
            "rejected": [list(row) for row in self.rejected],
            "damage": [str(damage) for damage in self.damage],
            "symbols": {symbol: self.audits[symbol].report() for symbol in sorted(self.audits)},
        }  # fmt: skip


def replay_files(paths: Sequence[Path], progress: Callable[[int], None] = lambda _: None) -> Replay:
    """Run a recording (files, or folders of them) through a fresh engine; `progress` hears how many lines have passed,
    every thousand.

    Raises: DataValidation when a file is not a recording.
    """
    replay = Replay()
    files = replay.files = recording_files(paths)
    venues = sorted({head.venue for head in capture_heads(files)})
    if len(venues) > 1:
        raise DataValidation(f"a capture of {', '.join(venues)}; replay one, as in {paths[0] / venues[0]}")
    for line in read_recording(files, on_damage=replay.damage.append):
        replay.feed(line)
        if replay.lines % 1000 == 0:
            progress(replay.lines)
    progress(replay.lines)
    if not replay.lines:
        raise DataValidation(f"{', '.join(map(str, files))}: no messages; expected lines '<ns since 1970> <JSON>'")
    return replay


def _name(path: Path) -> str:
    """Folder and file, as the expected results name recordings."""
    return "/".join(path.parts[-2:])


def _file_hash(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

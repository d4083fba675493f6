"""`ravenctl dlq list --quarantine`: frames of a venue that validation refused, as they came, with the reason.

They stand in files of `feeds.state_dir`, one folder for each service, because they may come faster than any database
takes them. They cannot be tried again: the server has long gone on, and taken the book anew where it mattered.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from raven.ctl.terminal import figures, print_whole, printable
from raven.errors import DataValidation
from raven.ingest.quarantine import FILES

__all__ = ["Frame", "frames_in", "plain", "show"]

_SHOWN_BYTES = 60


class Frame(msgspec.Struct, frozen=True):
    """One line of a quarantine file."""

    at_ms: int
    venue: str
    symbol: str
    reason: str
    offset: int
    """Where in the frame it was found wrong, bytes."""
    raw_base64: str
    number: int = 0
    """From 1 on, oldest first; changes when the oldest leave."""

    @property
    def raw(self) -> bytes:
        """The frame as it came."""
        return base64.b64decode(self.raw_base64)


def frames_in(state_dir: Path, symbol: str = "") -> list[Frame]:
    """Return the frames that were refused, oldest first. Raises: DataValidation when there is no such folder; OSError.

    A line that a crash cut off is left out.
    """
    if not state_dir.is_dir():
        raise DataValidation(f"{state_dir}: no such folder; see feeds.state_dir, or name it with --state-dir")
    found = sorted(_read(state_dir), key=lambda frame: frame.at_ms)
    numbered = [msgspec.structs.replace(frame, number=number) for number, frame in enumerate(found, 1)]
    return [frame for frame in numbered if symbol in ("", frame.symbol)]


def _read(state_dir: Path) -> Iterator[Frame]:
    for name in FILES:
        for path in (state_dir / name, *state_dir.glob(f"*/{name}")):
            if not path.is_file():
                continue
            for line in path.read_bytes().splitlines():
                try:
                    frame = msgspec.json.decode(line, type=Frame)
                    base64.b64decode(frame.raw_base64, validate=True)
                except (msgspec.MsgspecError, UnicodeError, binascii.Error):
                    continue
                yield frame


def plain(frame: Frame) -> dict[str, Any]:
    """Return a frame as a JSON document."""
    return {
        "number": frame.number, "time": _time(frame), "venue": frame.venue, "symbol": frame.symbol,
        "reason": frame.reason, "offset": frame.offset, "raw": _readable(frame.raw), "raw_base64": frame.raw_base64,
    }  # fmt: skip


def show(frames: list[Frame], limit: int) -> None:
    """Print the newest frames for people."""
    if not frames:
        Console().print("[green]no frame was refused[/]")
        return
    newest = frames[-limit:]
    table = figures(f"{len(newest)} of {len(frames)}; `ravenctl dlq show NUMBER --quarantine` has the whole frame")
    for name in ("number", "time", "venue", "symbol", "reason", "at byte", "frame"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("number", "at byte") else "left")
    for frame in newest:
        raw = _readable(frame.raw[:_SHOWN_BYTES]) + ("…" if frame.raw[_SHOWN_BYTES:] else "")
        cells = (str(frame.number), _time(frame), frame.venue, frame.symbol, frame.reason, str(frame.offset), raw)
        table.add_row(*map(Text, cells))
    print_whole(Console(), table)


def _readable(raw: bytes) -> str:
    return printable(raw.decode("utf-8", "backslashreplace"))


def _time(frame: Frame) -> str:
    return datetime.fromtimestamp(frame.at_ms / 1e3, UTC).isoformat(sep=" ", timespec="milliseconds")[:-6]

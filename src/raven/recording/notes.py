"""Lines of a capture that are ours: `{"raven": "<what>", …}`. They say what else happened, so that everything that was
derived from the frames can be derived from the capture again.

    capture     the head of every file: see `CaptureHead`
    frame       a frame that cannot stand in a line as it is: `hex`
    answer      an answer to a request that is not JSON: `message` (path and query), `hex`
    sent        a message of ours: `message`
    closed      the connection's end: `reason`
    changeover  the frames behind this line had been held back and were taken at its time
    lost        frames that the disk was too slow for: `messages`, `bytes`, `until_ns`
    instrument  a symbol is collected: `symbol`, `price_scale`, `quantity_scale`; `dropped`: no longer
    book        its book is wanted or no longer: `symbol`, `wanted`
    desync      its book was declared untrusted: `symbol`, `reason`, `book`
    stale       its stream is silent or speaks again: `symbol`, `stale`
"""

from __future__ import annotations

import msgspec

from raven.errors import DataValidation

__all__ = ["CAPTURE_FORMAT", "CaptureHead", "Note", "capture_head", "note_line", "note_of", "unwrapped"]

CAPTURE_FORMAT = 1
"""Of captures; readers refuse others."""
_OURS = b'{"raven"'


class CaptureHead(msgspec.Struct, kw_only=True, frozen=True, tag_field="raven", tag="capture"):
    """The first line of a file of a capture."""

    format: int
    version: str
    """Of the program that wrote it."""
    run: str
    """One start of that program."""
    venue: str
    rule: str
    """How the venue's depth ids chain: `spot` or `futures`."""
    connection: int
    """By one per connection of the run; -1: REST answers, and what was decided about symbols."""
    category: str
    """Of the streams on it; `rest`."""
    url: str
    part: int
    """By one per file of the connection, from 1."""


class Note(msgspec.Struct, kw_only=True, frozen=True):
    """Any line of ours; which fields it has is said above."""

    raven: str
    message: str = ""
    reason: str = ""
    symbol: str = ""
    price_scale: int = 0
    quantity_scale: int = 0
    wanted: bool = False
    book: bool = True
    stale: bool = False
    messages: int = 0
    bytes: int = 0
    until_ns: int = 0
    hex: str = ""


_NOTE = msgspec.json.Decoder(Note)
_HEAD = msgspec.json.Decoder(CaptureHead)


def note_line(what: str, **fields: str | int | bool) -> bytes:
    """Write a line of ours."""
    return msgspec.json.encode({"raven": what, **fields})


def note_of(raw: bytes) -> Note | None:
    """Return a line of ours, None for any other message. Raises: DataValidation when it is broken."""
    if not raw.startswith(_OURS):
        return None
    try:
        return _NOTE.decode(raw)
    except msgspec.DecodeError as error:
        raise DataValidation(f"a line of the recorder is broken: {error}; it starts {raw[:60]!r}") from error


def capture_head(raw: bytes) -> CaptureHead | None:
    """Return the head of a capture's file, None for any other message.

    Raises: DataValidation when a version wrote it that this one cannot read.
    """
    if not raw.startswith(b'{"raven":"capture"'):
        return None
    try:
        head = _HEAD.decode(raw)
    except msgspec.DecodeError as error:
        raise DataValidation(f"the head of a capture is broken: {error}; it reads {raw[:80]!r}") from error
    if head.format != CAPTURE_FORMAT:
        raise DataValidation(f"a capture of format {head.format}, this version reads {CAPTURE_FORMAT}; upgrade Raven")
    return head


def unwrapped(raw: bytes) -> bytes:
    """Return a frame that was written in hexadecimal as it came; any other message as it is."""
    note = note_of(raw)
    return bytes.fromhex(note.hex) if note is not None and note.raven == "frame" else raw

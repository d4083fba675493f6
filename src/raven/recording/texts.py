"""The lines of one recorded file, whatever a crash or a bad disk has left of it.

A capture is a row of gzip members, each with a checksum and some tenths of a second of lines. A torn tail costs its
last line; a member that is damaged costs itself, and what follows it is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Damage", "lines_of"]

_MAGIC = b"\x1f\x8b\x08"
_READ_BYTES = 1 << 18
# What a member holds is handed on when its checksum was right; members of other programs may be too large to be kept.
_CHECKED_BYTES = 8 << 20


class Damage(NamedTuple):
    """Bytes of a file that could not be read."""

    path: Path
    line: int
    """The last line before it that was read, from 1; 0: none."""
    reason: str
    is_tail: bool
    """Nothing follows it: a crash while writing, or a file that is being written."""

    def __str__(self) -> str:
        """Say it for people."""
        after = f" after line {self.line}" if self.line else ""
        return f"{self.path}: cannot be read{after}: {self.reason}"


def lines_of(path: Path, on_damage: Callable[[Damage], None]) -> Iterator[tuple[int, bytes]]:
    """Yield `(number from 1, line without its end)` of a file. Raises: OSError."""
    number, rest = 0, b""
    for piece in _gzip_pieces(path) if path.suffix == ".gz" else _plain_pieces(path):
        if isinstance(piece, bytes):
            # Joined only where a line is cut, else a large file would be copied once more.
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for line in lines:
                number += 1
                yield number, line.rstrip(b"\r")
        else:
            reason, is_tail = piece
            rest = b""
            on_damage(Damage(path, number, reason, is_tail))
    if rest:
        yield number + 1, rest.rstrip(b"\r")


def _plain_pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            yield piece


def _gzip_pieces(path: Path) -> Iterator[bytes | tuple[str, bool]]:
    """Yield what is in a file of gzip members, and `(reason, is_tail)` where something is not readable."""
    with path.open("rb") as file:
        data = file.read(_READ_BYTES)
        while data:
            member = _Member(data)
            while not member.has_ended and (more := file.read(_READ_BYTES)):
                yield from member.take(more)
            yield from member.checked()
            if not member.has_ended:
                yield "it ends within a block (a crash, or it is being written)", True
                return
            if not member.error:
                data = member.behind or file.read(_READ_BYTES)
                continue
            data = _from_next_member(member.behind[1:], file.read)
            yield member.error, not data


class _Member:
    """One gzip member on its way through the decompressor."""

    def __init__(self, data: bytes) -> None:
        self.error = ""
        self.behind = b""
        """What is not of this member; after an error, the member's bytes from where it began to be wrong."""
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._kept: list[bytes] = []
        self._size = 0
        self._raw = b""
        self._take(data)

    @property
    def has_ended(self) -> bool:
        return bool(self.error) or self._inflate.eof

    def take(self, data: bytes) -> Iterator[bytes]:
        """Take more of it; a member that is too large is handed on unchecked."""
        self._take(data)
        if self._size > _CHECKED_BYTES:
            yield from self.checked()

    def checked(self) -> Iterator[bytes]:
        """Yield what is to be handed on."""
        kept, self._kept, self._size = self._kept, [], 0
        yield from kept

    def _take(self, data: bytes) -> None:
        # Kept until the checksum was right, to look for the next member in it if it is not.
        self._raw = self._raw + data if self._size <= _CHECKED_BYTES else data
        try:
            text = self._inflate.decompress(data)
        except zlib.error as error:
            self.error, self.behind, self._kept = str(error), self._raw, []
            return
        self._kept.append(text)
        self._size += len(text)
        self.behind = self._inflate.unused_data


def _from_next_member(data: bytes, read: Callable[[int], bytes]) -> bytes:
    """Return what is left of the file from the next member on, empty when there is none."""
    while True:
        at = data.find(_MAGIC)
        while at >= 0 and len(data) - at < _READ_BYTES and (more := read(_READ_BYTES)):
            data += more
        while at >= 0:
            try:
                # The magic stands in other data by chance, too: a head that inflates is one.
                zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data[at : at + _READ_BYTES])
            except zlib.error:
                at = data.find(_MAGIC, at + 1)
            else:
                return data[at:]
        more = read(_READ_BYTES)
        if not more:
            return b""
        data = data[-2:] + more

"""Segment files: what a crash may leave of them, and how that is told from damage.

A segment is a run of frames that are only ever appended. Each frame has its place in the segment, its length and a
checksum over all of it, so a torn tail is cut, and a flipped bit or a hole costs the frames that it hit and no other.

    frame = magic "RVNF" · kind u32 · number u32 · length u32 · crc32 u32 · payload
    kind 0: JSON (what the segment is, its topics, its end) · kind 1 to 7: one Arrow batch of that `Kind`
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from raven.errors import DataValidation

__all__ = [
    "FORMAT",
    "META",
    "Damage",
    "Frame",
    "SegmentFile",
    "SegmentWriter",
    "cut_torn_tail",
    "frames_of",
    "no_journal",
    "segments_in",
]

META = 0
FORMAT = 1
"""Of segments and what stands in them; readers refuse others."""
_MAGIC = b"RVNF"
_HEAD = struct.Struct("<4sIIII")
_SUFFIX = ".segment"
# One system call takes at most so many buffers.
_MOST_BUFFERS = 512


class Frame(NamedTuple):
    """One frame that is whole."""

    kind: int
    number: int
    """Place in the segment, from 0."""
    offset: int
    payload: bytes

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + _HEAD.size + len(self.payload)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a segment that are no frame."""

    path: Path
    offset: int
    size: int
    frames: int | None
    """How many frames were lost there; None when nothing whole follows, so nobody knows."""
    is_tail: bool
    """Nothing whole follows: a crash while writing, or a cut file."""

    def __str__(self) -> str:
        """Say it for people."""
        lost = "an unknown number of frames" if self.frames is None else f"{self.frames} frame(s)"
        where = "at its end" if self.is_tail else f"at byte {self.offset}"
        return f"{self.path}: {self.size} bytes {where} are damaged; {lost} lost"


def segments_in(folder: Path) -> list[Path]:
    """Return the segments of a journal, oldest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def no_journal(folder: Path) -> DataValidation:
    """Return the error for a folder without a journal; it names those of services beside it (`journal-<service>`)."""
    beside = [str(one) for one in sorted(folder.parent.glob(f"{folder.name}-*")) if segments_in(one)]
    hint = f". There is {', '.join(beside)}" if beside else ""
    return DataValidation(f"{folder}: no journal there; expected files named like 0000000001{_SUFFIX}{hint}")


class SegmentWriter:
    """Appends frames to one new file. What `commit` returned from survives a crash."""

    def __init__(self, folder: Path, number: int) -> None:
        """Create the file. Raises: OSError."""
        self.path = folder / f"{number:010d}{_SUFFIX}"
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._numbers = 0
        self.size = 0
        """Bytes committed."""
        _sync_folder(folder)

    def commit(self, frames: Sequence[tuple[int, bytes | memoryview]]) -> None:
        """Append `(kind, payload)` frames and wait until they are on the disk: all of them or none.

        Raises: OSError (a full disk, say); the file then ends where it ended before.
        """
        buffers: list[bytes | memoryview] = []
        for place, (kind, payload) in enumerate(frames, self._numbers):
            buffers += [_head(kind, place, payload), payload]
        try:
            for first in range(0, len(buffers), _MOST_BUFFERS):
                self._write(buffers[first : first + _MOST_BUFFERS])
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size = os.lseek(self._file, 0, os.SEEK_CUR)
        self._numbers += len(frames)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _write(self, buffers: list[bytes | memoryview]) -> None:
        left = sum(len(buffer) for buffer in buffers)
        written = os.writev(self._file, buffers)
        while written < left:
            # A write that was cut short: the disk is nearly full, or the file is as long as it may be.
            rest = memoryview(b"".join(buffers))[written:]
            written += os.write(self._file, rest)


class SegmentFile:
    """A segment that is held open: it can be read to its end, even when it has become Parquet and has no name."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises: OSError."""
        self.path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        """Let go of the file: readers are iterators that may be given up anywhere."""
        if hasattr(self, "_file"):
            os.close(self._file)

    def frames(self, offset: int = 0, number: int = 0) -> Iterator[Frame | Damage]:
        """Yield every whole frame in order, and between them what is damaged.

        `offset` is where to begin, and `number` that of the frame there. Raises: OSError.
        """
        size = os.fstat(self._file).st_size
        if size <= offset:
            return
        with mmap.mmap(self._file, 0, access=mmap.ACCESS_READ) as content:
            expected, at = number, offset
            while at < size:
                frame = _frame_at(content, at, size)
                if frame is None:
                    begin = at
                    at, frame = _next_frame(content, at + 1, size)
                    lost = None if frame is None else max(0, frame.number - expected)
                    yield Damage(self.path, begin, at - begin, lost, is_tail=frame is None)
                elif frame.number > expected:
                    yield Damage(self.path, at, 0, frame.number - expected, is_tail=False)
                if frame is not None:
                    yield frame
                    # A frame that stands too late was counted as lost; nobody loses by seeing it after all.
                    expected = max(expected, frame.number + 1)
                    at += _HEAD.size + len(frame.payload)


def frames_of(path: Path) -> Iterator[Frame | Damage]:
    """Yield what `SegmentFile.frames` does, of a file. Raises: OSError when it cannot be read."""
    yield from SegmentFile(path).frames()


def cut_torn_tail(path: Path) -> Damage | None:
    """Cut what a crash left half written at the end of a segment; return what was cut. Raises: OSError."""
    tail = next((one for one in frames_of(path) if isinstance(one, Damage) and one.is_tail), None)
    if tail is not None:
        with path.open("r+b") as file:
            file.truncate(tail.offset)
            os.fsync(file.fileno())
    return tail


def _head(kind: int, number: int, payload: bytes | memoryview) -> bytes:
    return _HEAD.pack(_MAGIC, kind, number, len(payload), _checksum(kind, number, payload))


def _checksum(kind: int, number: int, payload: bytes | memoryview) -> int:
    """Cover the head too: a frame in the wrong place is damage."""
    return zlib.crc32(payload, zlib.crc32(_HEAD.pack(_MAGIC, kind, number, len(payload), 0)))


def _frame_at(content: mmap.mmap, at: int, size: int) -> Frame | None:
    if at + _HEAD.size > size:
        return None
    magic, kind, number, length, checksum = _HEAD.unpack_from(content, at)
    end = at + _HEAD.size + length
    if magic != _MAGIC or end > size:
        return None
    payload = content[at + _HEAD.size : end]
    return Frame(kind, number, at, payload) if _checksum(kind, number, payload) == checksum else None


def _next_frame(content: mmap.mmap, at: int, size: int) -> tuple[int, Frame | None]:
    """Find the next whole frame; payloads may contain the magic by chance, the checksum tells."""
    while (at := content.find(_MAGIC, at)) >= 0:
        frame = _frame_at(content, at, size)
        if frame is not None:
            return at, frame
        at += 1
    return size, None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

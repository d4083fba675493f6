"""The messages of several files in one order: as given, or for captures by the time at which they were taken."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from raven.errors import DataValidation
from raven.recording.notes import CaptureHead, capture_head, unwrapped
from raven.recording.texts import Damage, lines_of

__all__ = ["RecordedLine", "capture_heads", "read_recording", "recording_files"]

_OURS = b'{"raven"'
_FRAME = b'{"raven":"frame"'


class RecordedLine(NamedTuple):
    """One message and where it stands."""

    file: int
    """Position of its file in the recording, from 0."""
    line: int
    """Line number in the file, from 1."""
    recv_ns: int
    """When it was received, ns since 1970 by the recorder's clock."""
    raw: bytes
    """The message, byte for byte."""


def recording_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files meant: a folder stands for all recordings in it. Raises: DataValidation when one has none."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.gz")) if path.is_dir() else [path]
        if not inside:
            raise DataValidation(f"{path}: no recording in it; expected files named *.gz")
        files += inside
    return files


def read_recording(
    files: Sequence[Path], *, notes: bool = False, on_damage: Callable[[Damage], None] | None = None
) -> Iterator[RecordedLine]:
    """Yield the messages of several files as one recording: in the order given; captures (`raven --record`) by time.

    `notes`: also the recorder's own lines. `on_damage` hears what cannot be read, and what can be is yielded.

    Raises: DataValidation naming file and line when a file cannot be read (damaged, without `on_damage`), or a line is
    not of the form above.
    """
    chains = _chains(files)
    lines = _in_order(files, on_damage) if chains is None else _by_time(files, chains, on_damage)
    for line in lines:
        if not line.raw.startswith(_OURS):
            yield line
        elif line.raw.startswith(_FRAME):
            yield line._replace(raw=unwrapped(line.raw))
        elif notes:
            yield line


def capture_heads(files: Sequence[Path]) -> list[CaptureHead]:
    """Return the heads of a capture's files; nothing when the files are another recording. Raises: DataValidation."""
    heads = (_head(files, position) for position in range(len(files)))
    return [head[1] for head in heads if isinstance(head, tuple)]


# --- one file ---------------------------------------------------------------------------------------------------------


def _lines(files: Sequence[Path], position: int, on_damage: Callable[[Damage], None] | None) -> Iterator[RecordedLine]:
    path = files[position]
    try:
        for number, text in lines_of(path, on_damage or _refuse):
            stamp, _, raw = text.partition(b" ")
            if stamp.isdigit() and raw:
                yield RecordedLine(position, number, int(stamp), raw)
            elif text.strip():
                raise DataValidation(
                    f"{path}:{number}: expected '<ns since 1970> <JSON>', got {text[:60]!r}; is it a recording?"
                )
    except OSError as error:
        raise DataValidation(f"{path}: cannot be read: {error}") from error


def _refuse(damage: Damage) -> None:
    raise DataValidation(str(damage))


def _in_order(files: Sequence[Path], on_damage: Callable[[Damage], None] | None) -> Iterator[RecordedLine]:
    for position in range(len(files)):
        yield from _lines(files, position, on_damage)


# --- captures ---------------------------------------------------------------------------------------------------------


class _Chain(NamedTuple):
    """The files of one connection, in their order."""

    first_ns: int
    files: list[int]


def _chains(files: Sequence[Path]) -> list[_Chain] | None:
    """Return the connections of a capture; None when the files are another recording.

    Raises: DataValidation when they are some of this and some of that.
    """
    heads = [_head(files, position) for position in range(len(files))]
    if not any(isinstance(head, tuple) for head in heads):
        return None
    found: dict[tuple[str, str, int], list[tuple[int, int, int]]] = defaultdict(list)
    for position, head in enumerate(heads):
        if head == "other":
            raise DataValidation(f"{files[position]}: no capture, but others of these files are; replay it by itself")
        if isinstance(head, tuple):
            first_ns, about = head
            found[about.run, about.venue, about.connection].append((about.part, first_ns, position))
    chains = [sorted(parts) for parts in found.values()]
    return [_Chain(parts[0][1], [position for _, _, position in parts]) for parts in chains]


def _head(files: Sequence[Path], position: int) -> tuple[int, CaptureHead] | str:
    """Return when a file begins and its head; `other` when it has none, `empty` when a crash left nothing of it."""
    for line in _lines(files, position, lambda _: None):
        head = capture_head(line.raw)
        return "other" if head is None else (line.recv_ns, head)
    return "empty"


def _by_time(
    files: Sequence[Path], chains: Sequence[_Chain], on_damage: Callable[[Damage], None] | None
) -> Iterator[RecordedLine]:
    """Merge connections by the time at which a message was taken.

    A message is taken when it was received, but never before the one that stands in front of it: frames behind a
    `changeover` had been held back. A file is opened when its time has come: a capture may have thousands.
    """
    waiting = sorted(range(len(chains)), key=lambda number: chains[number].first_ns, reverse=True)
    heap: list[tuple[int, int, RecordedLine]] = []
    iterators: dict[int, Iterator[RecordedLine]] = {}
    while heap or waiting:
        while waiting and (not heap or chains[waiting[-1]].first_ns <= heap[0][0]):
            number = waiting.pop()
            iterators[number] = _chained(files, chains[number], on_damage)
            _advance(heap, iterators, number, 0)
        if not heap:
            continue
        taken_ns, number, line = heapq.heappop(heap)
        yield line
        _advance(heap, iterators, number, taken_ns)


def _chained(
    files: Sequence[Path], chain: _Chain, on_damage: Callable[[Damage], None] | None
) -> Iterator[RecordedLine]:
    for position in chain.files:
        yield from _lines(files, position, on_damage)


def _advance(
    heap: list[tuple[int, int, RecordedLine]],
    iterators: dict[int, Iterator[RecordedLine]],
    number: int,
    taken_ns: int,
) -> None:
    line = next(iterators[number], None)
    if line is None:
        del iterators[number]
        return
    heapq.heappush(heap, (max(taken_ns, line.recv_ns), number, line))

"""Reading a journal: every record that is whole, in the order in which it was written, and a list of what is damaged.

Other processes may read while one writes; they see what was committed when they looked.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from raven.errors import DataValidation
from raven.journal.schema import SCHEMAS
from raven.journal.segment import FORMAT, META, Damage, Frame, SegmentFile, frames_of, no_journal, segments_in
from raven.records import Kind
from raven.topics import DataType

__all__ = ["Batch", "JournalTopic", "SegmentReader", "read_journal", "read_segment", "unfinished_topics"]


@dataclass(frozen=True, slots=True)
class JournalTopic:
    """What a number in the column `topic` means."""

    venue: str
    symbol: str
    data_type: DataType


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one kind that were committed together."""

    kind: Kind
    records: pa.RecordBatch
    topics: dict[int, JournalTopic]
    """What the numbers in the column `topic` mean in this run."""
    run: str
    """The run of the server that wrote it; sequences start from 1 in each."""
    path: Path
    """The segment that it stands in."""


def read_journal(folder: Path, kinds: Collection[Kind] = tuple(Kind)) -> Iterator[Batch | Damage]:
    """Yield the batches of these kinds, oldest first, and in their places what is damaged.

    Raises: DataValidation when there is no journal, or it was written by a version that this one cannot read.
    """
    segments = segments_in(folder)
    if not segments:
        raise no_journal(folder)
    for path in segments:
        yield from read_segment(path, kinds)


def read_segment(path: Path, kinds: Collection[Kind] = tuple(Kind)) -> Iterator[Batch | Damage]:
    """Yield what `read_journal` does, of one segment."""
    file = SegmentFile(path)
    segment = SegmentReader(file)
    for frame in file.frames():
        found = segment.take(frame, kinds)
        if found is not None:
            yield found


class SegmentReader:
    """Turns the frames of one segment, in their order, into batches: it remembers what their numbers mean."""

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self.run = ""
        self.topics: dict[int, JournalTopic] = {}

    def take(self, frame: Frame | Damage, kinds: Collection[Kind]) -> Batch | Damage | None:
        """Return what a frame holds, None if that is nothing of these kinds.

        Raises: DataValidation when a version wrote it that this one cannot read.
        """
        if isinstance(frame, Damage):
            if frame.offset == 0 and not self.run:
                # The head is gone; the end of the segment says the same once more.
                self.learn_from_all()
            return frame
        if frame.kind == META:
            self.run = _learn(self.file.path, frame, self.topics) or self.run
            return None
        if frame.kind not in kinds:
            return None
        kind = Kind(frame.kind)
        records = pa.ipc.read_record_batch(pa.py_buffer(frame.payload), SCHEMAS[kind])
        return Batch(kind, records, self.topics, self.run, self.file.path)

    def learn_from_all(self) -> None:
        """Learn what numbers mean from every frame that says it: for who begins in the middle."""
        for frame in self.file.frames():
            if isinstance(frame, Frame) and frame.kind == META:
                self.run = _learn(self.file.path, frame, self.topics) or self.run


def unfinished_topics(path: Path) -> set[JournalTopic]:
    """Return what the run that wrote this segment was keeping when it crashed; nothing if it came to its end."""
    topics: dict[int, JournalTopic] = {}
    has_ended = False
    for frame in frames_of(path):
        if isinstance(frame, Frame):
            if frame.kind == META:
                _learn(path, frame, topics)
            has_ended = frame.kind == META and "ended_ns" in json.loads(frame.payload)
    return set() if has_ended else set(topics.values())


def _learn(path: Path, frame: Frame, topics: dict[int, JournalTopic]) -> str:
    """Add the topics of a frame; return the run it names, if it names one."""
    meta = json.loads(frame.payload)
    if meta.get("format", FORMAT) != FORMAT:
        raise DataValidation(f"{path}: format {meta['format']}, but this version reads {FORMAT}; upgrade Raven")
    for number, venue, symbol, data_type, _ in meta.get("topics", ()):
        topics[number] = JournalTopic(venue, symbol, DataType(data_type))
    return str(meta.get("run", ""))

"""Is everything there? Counts what a journal holds, by run and topic, and what is missing without a gap record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from raven.journal.manifests import CheckedFile, Problem, Removed, check_parquet
from raven.journal.partitions import parquet_folder
from raven.journal.reading import Batch, read_segment
from raven.journal.segment import Damage, no_journal, segments_in
from raven.records import GapReason, Kind
from raven.topics import DataType

__all__ = ["TopicCount", "Verdict", "verify_journal"]

_EXPECTED_LOSS = (GapReason.JOURNAL, GapReason.SLOW_READER)

_Name = tuple[str, str, str, DataType]
"""Run, venue, symbol and type."""


@dataclass(slots=True)
class TopicCount:
    """What is there of one topic in one run of the server."""

    run: str
    venue: str
    symbol: str
    data_type: DataType
    records: int = 0
    last_sequence: int = 0
    first_ns: int = 0
    """Arrival of the first record, ns since 1970."""
    last_ns: int = 0
    told: int = 0
    """Records that a gap record of the journal names as not kept."""
    removed: int = 0
    """Records that retention removed, as manifests say."""
    venue_gaps: int = 0
    """Gap records for what the venue did not send."""

    @property
    def missing(self) -> int:
        """Records that are neither there nor named by a gap record.

        Of books only some states are kept on purpose, so of them nothing can be missing.
        """
        if self.data_type is DataType.ORDERBOOK:
            return 0
        return max(0, self.last_sequence - self.records - self.told - self.removed)


@dataclass(slots=True)
class Verdict:
    """What was found."""

    segments: int = 0
    size: int = 0
    """Bytes of all segments."""
    parquet_files: int = 0
    parquet_size: int = 0
    """Bytes of all Parquet files."""
    topics: list[TopicCount] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Parquet files that are missing, cut, swapped, or not what their manifests say; segments in wrong places."""
    absent: list[int] = field(default_factory=list)
    """Numbers of segments that are nowhere: lost, or nothing was in them when they were compacted."""

    @property
    def is_sound(self) -> bool:
        """Nothing is damaged, and nothing is missing that no gap record names.

        A torn tail is what a crash leaves; the next start cuts it.
        """
        is_whole = all(one.is_tail for one in self.damage) and not self.problems
        return is_whole and not any(topic.missing for topic in self.topics)


def verify_journal(folder: Path, progress: Callable[[int], None] = lambda _: None) -> Verdict:
    """Read all of a journal, segments and Parquet, and count; `progress` is told the records so far.

    Raises: DataValidation when there is no journal.
    """
    verdict = Verdict()
    counts: dict[_Name, TopicCount] = {}
    paths = segments_in(folder)
    if not paths and not parquet_folder(folder).exists():
        raise no_journal(folder)
    newest: dict[_Name, int] = {}
    fresh: set[int] = set()
    records = 0
    for path in paths:
        # One that has become Parquet since we looked is read there.
        with suppress(FileNotFoundError):
            size, is_misplaced = path.stat().st_size, False
            for item in read_segment(path):
                if isinstance(item, Damage):
                    verdict.damage.append(item)
                    continue
                records += item.records.num_rows
                _count(item, counts)
                is_misplaced |= _goes_back(item, newest)
                progress(records)
            if is_misplaced:
                problem = "is older than the segment before it; they changed places"
                verdict.problems.append(Problem(path, problem))
            fresh.add(int(path.stem))
            verdict.segments += 1
            verdict.size += size
    there = set(fresh)
    for found in check_parquet(folder, skip=fresh):
        if isinstance(found, Problem):
            verdict.problems.append(found)
        elif isinstance(found, Removed):
            there.update(found.segments)
            _count_removed(found, counts)
        else:
            there.update(found.segments)
            verdict.parquet_files += 1
            verdict.parquet_size += found.size
            records += len(found.records)
            _count_file(found, counts)
            progress(records)
    verdict.absent = sorted(set(range(min(there, default=0), max(there, default=0))) - there)
    verdict.topics = sorted(counts.values(), key=lambda one: (one.run, one.venue, one.symbol, one.data_type))
    return verdict


def _count(batch: Batch, counts: dict[_Name, TopicCount]) -> None:
    records = batch.records
    if batch.kind is Kind.GAP:
        for row in records.to_pylist():
            is_told = row["reason"] in _EXPECTED_LOSS
            _count_gap(_topic(batch, row["topic"], counts), row["sequence"], row["count"], is_told=is_told)
        return
    for number in pc.unique(records["topic"]).to_pylist():
        rows = records.filter(pc.equal(records["topic"], number))
        _count_rows(_topic(batch, number, counts), rows["sequence"], rows["recv_ns"])


def _goes_back(batch: Batch, newest: dict[_Name, int]) -> bool:
    """Do the sequences of a topic begin below what was there already?"""
    records, result = batch.records, False
    if batch.kind is Kind.GAP:
        return False
    for number in pc.unique(records["topic"]).to_pylist():
        known = batch.topics.get(number)
        if known is not None:
            name = (batch.run, known.venue, known.symbol, known.data_type)
            ends = pc.min_max(records.filter(pc.equal(records["topic"], number))["sequence"]).as_py()
            result |= ends["min"] <= newest.get(name, 0)
            newest[name] = max(newest.get(name, 0), ends["max"])
    return result


def _count_file(file: CheckedFile, counts: dict[_Name, TopicCount]) -> None:
    if file.type == "gaps":
        expected = [reason.name.lower() for reason in _EXPECTED_LOSS]
        for row in file.records.drop_columns(["recv_time"]).to_pylist():
            topic = _named(counts, row["run"], file.venue, file.symbol, row["data_type"])
            _count_gap(topic, row["sequence"], row["count"], is_told=row["reason"] in expected)
        return
    for run in pc.unique(file.records["run"]).to_pylist():
        rows = file.records.filter(pc.equal(file.records["run"], run))
        if file.type.upper() in DataType.__members__:
            topic = _named(counts, run, file.venue, file.symbol, file.type)
            _count_rows(topic, rows["sequence"], rows["recv_time"].cast(pa.int64()))


def _count_removed(removed: Removed, counts: dict[_Name, TopicCount]) -> None:
    # Gap records that left had a place in the sequence of their topic; which one, nobody knows any more.
    if removed.type.upper() in DataType.__members__:
        _named(counts, removed.run, removed.venue, removed.symbol, removed.type).removed += removed.rows


def _count_gap(topic: TopicCount, sequence: int, count: int, *, is_told: bool) -> None:
    if sequence == 0 and is_told:
        topic.told += count
        return
    topic.venue_gaps += 1
    topic.records += 1
    topic.last_sequence = max(topic.last_sequence, sequence)


def _count_rows(topic: TopicCount, sequences: pa.ChunkedArray, arrivals: pa.ChunkedArray) -> None:
    topic.records += len(sequences)
    topic.last_sequence = max(topic.last_sequence, pc.max(sequences).as_py())
    times = pc.min_max(arrivals).as_py()
    topic.first_ns = min(topic.first_ns or times["min"], times["min"])
    topic.last_ns = max(topic.last_ns, times["max"])


def _topic(batch: Batch, number: int, counts: dict[_Name, TopicCount]) -> TopicCount:
    known = batch.topics.get(number)
    if known is None:
        return counts.setdefault(
            (batch.run, "?", f"topic {number}", DataType.TRADES),
            TopicCount(batch.run, "?", f"topic {number}", DataType.TRADES),
        )
    return _named(counts, batch.run, known.venue, known.symbol, known.data_type.name)


def _named(counts: dict[_Name, TopicCount], run: str, venue: str, symbol: str, data_type: str) -> TopicCount:
    name = (run, venue, symbol, DataType[data_type.upper()])
    return counts.setdefault(name, TopicCount(*name))

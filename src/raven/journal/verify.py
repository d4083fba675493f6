"""Is everything there? Counts what a journal holds, by run and topic, and what is missing without a gap record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.compute as pc

from raven.journal.reading import Batch, read_journal
from raven.journal.segment import Damage
from raven.records import GapReason, Kind
from raven.topics import DataType

__all__ = ["TopicCount", "Verdict", "verify_journal"]

_EXPECTED_LOSS = (int(GapReason.JOURNAL), int(GapReason.SLOW_READER))


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
    venue_gaps: int = 0
    """Gap records for what the venue did not send."""

    @property
    def missing(self) -> int:
        """Records that are neither there nor named by a gap record.

        Of books only some states are kept on purpose, so of them nothing can be missing.
        """
        if self.data_type is DataType.ORDERBOOK:
            return 0
        return max(0, self.last_sequence - self.records - self.told)


@dataclass(slots=True)
class Verdict:
    """What was found."""

    segments: int = 0
    size: int = 0
    """Bytes of all segments."""
    topics: list[TopicCount] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Nothing is damaged, and nothing is missing that no gap record names.

        A torn tail is what a crash leaves; the next start cuts it.
        """
        return all(one.is_tail for one in self.damage) and not any(topic.missing for topic in self.topics)


def verify_journal(folder: Path, progress: Callable[[int], None] = lambda _: None) -> Verdict:
    """Read all of a journal and count; `progress` is told the records so far.

    Raises: DataValidation when there is no journal.
    """
    verdict = Verdict()
    counts: dict[tuple[str, int], TopicCount] = {}
    paths: set[Path] = set()
    records = 0
    for item in read_journal(folder):
        if isinstance(item, Damage):
            verdict.damage.append(item)
            paths.add(item.path)
            continue
        paths.add(item.path)
        records += item.records.num_rows
        _count(item, counts)
        progress(records)
    verdict.segments, verdict.size = len(paths), sum(path.stat().st_size for path in paths)
    verdict.topics = sorted(counts.values(), key=lambda one: (one.run, one.venue, one.symbol, one.data_type))
    return verdict


def _count(batch: Batch, counts: dict[tuple[str, int], TopicCount]) -> None:
    records = batch.records
    if batch.kind is Kind.GAP:
        for row in records.to_pylist():
            topic = _topic(batch, row["topic"], counts)
            if row["sequence"] == 0 and row["reason"] in _EXPECTED_LOSS:
                topic.told += row["count"]
                continue
            topic.venue_gaps += 1
            topic.records += 1
            topic.last_sequence = max(topic.last_sequence, row["sequence"])
        return
    for number in pc.unique(records["topic"]).to_pylist():
        rows = records.filter(pc.equal(records["topic"], number))
        topic = _topic(batch, number, counts)
        topic.records += rows.num_rows
        topic.last_sequence = max(topic.last_sequence, pc.max(rows["sequence"]).as_py())
        times = pc.min_max(rows["recv_ns"]).as_py()
        topic.first_ns = min(topic.first_ns or times["min"], times["min"])
        topic.last_ns = max(topic.last_ns, times["max"])


def _topic(batch: Batch, number: int, counts: dict[tuple[str, int], TopicCount]) -> TopicCount:
    if (batch.run, number) not in counts:
        known = batch.topics.get(number)
        name = (known.venue, known.symbol, known.data_type) if known else ("?", f"topic {number}", DataType.TRADES)
        counts[batch.run, number] = TopicCount(batch.run, *name)
    return counts[batch.run, number]

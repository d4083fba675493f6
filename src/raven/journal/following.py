"""A reader that follows a journal while it is written: batches for a sink, and the place after each.

It reads files and nothing else, so it may live in another process, be days behind, or start before the journal does.
A segment that has become Parquet meanwhile is read from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raven.journal.compaction import parquet_folder
from raven.journal.cursors import Position
from raven.journal.reading import Batch, SegmentReader
from raven.journal.segment import Damage, Frame, frames_of, segments_in
from raven.journal.tables import table_of
from raven.observe import get_logger
from raven.ports import SinkBatch
from raven.records import Kind

__all__ = ["Follower", "Step"]

log = get_logger("journal")


@dataclass(frozen=True, slots=True)
class Step:
    """What a reader takes at once."""

    batches: list[SinkBatch]
    position: Position
    """The place after it."""

    @property
    def rows(self) -> int:
        """Records in all batches."""
        return sum(len(batch.records) for batch in self.batches)


class Follower:
    """Reads a journal from a place on. Not thread-safe; `read` may block on the disk."""

    def __init__(self, journal: Path, position: Position, types: Collection[str] = ()) -> None:
        """`types` are those of `SinkBatch.type` that are wanted; empty for all."""
        self.position = position
        self.damage: list[Damage] = []
        """What was damaged on the way; the records in it are lost to this reader."""
        self.missing: list[int] = []
        """Segments that were not there any more, neither as such nor as Parquet."""
        self._journal = journal
        self._types = frozenset(types)
        self._reader: SegmentReader | None = None
        self._compacted: Iterator[Step] | None = None

    def read(self, max_rows: int) -> Step | None:
        """Take the next records, about `max_rows` at most; None when there is nothing new.

        Raises: DataValidation when a version wrote the journal that this one cannot read; OSError.
        """
        while True:
            if self._compacted is not None:
                step = next(self._compacted, None)
                if step is not None:
                    self.position = step.position
                    return step
                self._go_on(self.position.segment + 1)
            segments = segments_in(self._journal)
            path = next((path for path in segments if int(path.stem) >= self.position.segment), None)
            if path is None:
                return None
            number = int(path.stem)
            if self.position.segment < number and self._has_compacted(number):
                self._compacted = self._read_compacted(self.position, max_rows)
                continue
            if self.position.segment != number:
                self._go_on(number)
            has_ended = path != segments[-1]
            try:
                step = self._read_segment(path, max_rows, has_ended=has_ended)
            except FileNotFoundError:
                # It has become Parquet since we looked.
                continue
            if step is not None or not has_ended:
                return step
            self._go_on(number + 1)

    def _go_on(self, segment: int) -> None:
        self.position = Position(segment, rows=self.position.rows)
        self._reader = self._compacted = None

    # --- segments ---------------------------------------------------------------------------------------

    def _read_segment(self, path: Path, max_rows: int, *, has_ended: bool) -> Step | None:
        if self._reader is None:
            self._reader = SegmentReader(path)
            if self.position.offset:
                self._reader.learn_from_all()
        found: dict[str, list[pa.Table]] = defaultdict(list)
        rows, position = 0, self.position
        for frame in frames_of(path, position.offset, position.frame):
            if isinstance(frame, Damage) and frame.is_tail and not has_ended:
                # It is being written just now.
                break
            taken = self._reader.take(frame, tuple(Kind))
            if isinstance(taken, Damage):
                self.damage.append(taken)
                log.error("a reader of the journal skips what is damaged", damage=str(taken))
            elif taken is not None:
                for name, table in _by_type(taken):
                    if not self._types or name in self._types:
                        found[name].append(table)
                        rows += len(table)
            if isinstance(frame, Frame):
                position = replace(position, frame=frame.number + 1, offset=frame.end, rows=self.position.rows + rows)
            if rows >= max_rows:
                break
        if position == self.position:
            return None
        self.position = position
        return Step([SinkBatch(name, pa.concat_tables(tables)) for name, tables in found.items()], position)

    # --- segments that have become Parquet --------------------------------------------------------------

    def _has_compacted(self, before: int) -> bool:
        """Find the next segment that has become Parquet, and go there; say which are nowhere."""
        stems = {
            int(path.stem) for path in parquet_folder(self._journal).glob("*/*/*/*/*.parquet") if path.stem.isdigit()
        }
        wanted = [number for number in sorted(stems) if self.position.segment <= number < before]
        first = wanted[0] if wanted else before
        if 0 < self.position.segment < first:
            gone = list(range(self.position.segment, first))
            self.missing += gone
            log.error("segments are gone that a reader of the journal had not read", first=gone[0], last=gone[-1])
        self._go_on(first)
        return bool(wanted)

    def _read_compacted(self, position: Position, max_rows: int) -> Iterator[Step]:
        """Yield what has become of a segment. Until its end the place stays at its beginning: a crash reads it anew."""
        rows = position.rows
        pattern = f"*/*/*/*/{position.segment:010d}.parquet"
        for path in sorted(parquet_folder(self._journal).glob(pattern)):
            symbol, name, venue = (path.parents[up].name.partition("=")[2] for up in range(3))
            if self._types and name not in self._types:
                continue
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(max_rows):
                    rows += batch.num_rows
                    table = _named(pa.table(batch), [venue], [symbol], pa.array([0] * batch.num_rows, pa.int32()))
                    yield Step([SinkBatch(name, table)], replace(position, frame=0, offset=0, rows=rows))


_TYPES = {
    Kind.BOOK: "orderbook",
    Kind.TRADE: "trades",
    Kind.QUOTE: "quotes",
    Kind.FUNDING: "funding_rates",
    Kind.LIQUIDATION: "liquidations",
    Kind.GAP: "gaps",
}


def _by_type(batch: Batch) -> Iterator[tuple[str, pa.Table]]:
    """Yield the records of each type, named."""
    records = pa.table(batch.records)
    if batch.kind in _TYPES:
        yield _TYPES[batch.kind], _of_topics(batch, records)
        return
    # One kind of record for candles of every length: the topic tells.
    types = {number: topic.data_type.name.lower() for number, topic in batch.topics.items()}
    for name in sorted(set(types.values())):
        numbers = pa.array([number for number, other in types.items() if other == name], pa.uint32())
        rows = records.filter(pc.is_in(records["topic"], numbers))
        if len(rows):
            yield name, _of_topics(batch, rows)


def _of_topics(batch: Batch, records: pa.Table) -> pa.Table:
    numbers = pc.unique(records["topic"])
    topics = [batch.topics.get(number) or f"topic-{number}" for number in numbers.to_pylist()]
    places = pc.index_in(records["topic"].combine_chunks(), numbers)
    table = table_of(batch.kind, records, batch.run)
    venues = ["unknown" if isinstance(topic, str) else topic.venue for topic in topics]
    symbols = [topic if isinstance(topic, str) else topic.symbol for topic in topics]
    return _named(table, venues, symbols, places)


def _named(table: pa.Table, venues: list[str], symbols: list[str], places: pa.Array) -> pa.Table:
    """Put the columns `venue` and `symbol` in front; texts, so that tables of different runs can be put together."""
    run = table["run"].cast(pa.string())
    table = table.set_column(table.column_names.index("run"), "run", run)
    for name, values in (("symbol", symbols), ("venue", venues)):
        table = table.add_column(0, name, pa.array(values, pa.string()).take(places))
    return table

"""A reader that follows a journal while it is written: batches for a sink, and the place after each.

It reads files and nothing else, so it may live in another process, be days behind, or start before the journal does.
A segment that has become Parquet meanwhile is read from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from raven.journal.cursors import Position
from raven.journal.partitions import Part, opened, parts_in, tell_damage
from raven.journal.reading import Batch, SegmentReader
from raven.journal.schema import type_name
from raven.journal.segment import Damage, Frame, SegmentFile, segments_in
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
        self.damaged_files: list[Path] = []
        """Parquet files that could not be read to their ends."""
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
            if self._reader is None and not self._begin(segments, max_rows):
                return None
            if self._reader is None:
                continue
            # It is open, so it can be read to its end even if it has become Parquet since we looked.
            has_ended = segments[-1:] != [self._reader.file.path]
            step = self._read_segment(self._reader, max_rows, has_ended=has_ended)
            if step is not None or not has_ended:
                return step
            self._go_on(self.position.segment + 1)

    def _begin(self, segments: list[Path], max_rows: int) -> bool:
        """Open the next segment, or what it has become if it is not there any more; False when there is none yet."""
        path = next((path for path in segments if int(path.stem) >= self.position.segment), None)
        if path is None:
            return False
        number = int(path.stem)
        if self.position.segment < number and self._has_compacted(number):
            self._compacted = self._read_compacted(self.position, max_rows)
            return True
        if self.position.segment != number:
            self._go_on(number)
        # Found gone: it has become Parquet since we looked, and the next look tells.
        with suppress(FileNotFoundError):
            self._reader = SegmentReader(SegmentFile(path))
            if self.position.offset:
                self._reader.learn_from_all()
        return True

    def _go_on(self, segment: int) -> None:
        self.position = Position(segment, rows=self.position.rows)
        self._reader = self._compacted = None

    # --- segments ---------------------------------------------------------------------------------------

    def _read_segment(self, reader: SegmentReader, max_rows: int, *, has_ended: bool) -> Step | None:
        found: dict[str, list[pa.Table]] = defaultdict(list)
        rows, position = 0, self.position
        for frame in reader.file.frames(position.offset, position.frame):
            if isinstance(frame, Damage) and frame.is_tail and not has_ended:
                # It is being written just now.
                break
            taken = reader.take(frame, tuple(Kind))
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
        place = self.position.segment
        wanted = [max(part.first, place) for part in parts_in(self._journal) if part.last >= place]
        first = min([before, *wanted])
        if place:
            self._miss(range(place, first))
        if first != place:
            self._go_on(first)
        return first < before

    def _miss(self, gone: range) -> None:
        if gone:
            self.missing += gone
            log.error("segments are gone that a reader of the journal had not read", first=gone[0], last=gone[-1])

    def _read_compacted(self, position: Position, max_rows: int) -> Iterator[Step]:
        """Yield what has become of a segment. Until its end the place stays at its beginning: a crash reads it anew."""
        number, rows, is_there = position.segment, position.rows, False
        damaged = len(self.damaged_files)

        def find() -> list[Part]:
            return [part for part in parts_in(self._journal) if part.first <= number <= part.last]

        for one in opened(find, number.__eq__, self._skip):
            is_there = True
            part = one.part
            if self._types and part.type not in self._types:
                continue
            for table in one.tables(max_rows):
                rows += len(table)
                named = _named(table, [part.venue], [part.symbol], pa.array([0] * len(table), pa.int32()))
                yield Step([SinkBatch(part.type, named)], replace(position, frame=0, offset=0, rows=rows))
        if not is_there and len(self.damaged_files) == damaged:
            self._miss(range(number, number + 1))

    def _skip(self, path: Path, error: Exception) -> None:
        tell_damage(path, error)
        self.damaged_files.append(path)


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
    # One kind of record for candles and bars of every length: the topic tells.
    types = {number: type_name(batch.kind, topic.data_type) for number, topic in batch.topics.items()}
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

"""The past of one topic, record by record as it was published, for whoever goes on with the present from there.

Parquet first, then segments, up to what the journal had committed at the moment of looking. The next `read` goes on
from there. Gap marks stand at their places: between the records that they part.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from raven._core import Encoded
from raven.errors import DataValidation
from raven.journal.cursors import Position
from raven.journal.history import KINDS
from raven.journal.partitions import Opened, Part, opened, parts_in
from raven.journal.pruning import newest_of, row_groups_within
from raven.journal.reading import Batch, JournalTopic, SegmentReader
from raven.journal.schema import SCHEMAS
from raven.journal.segment import Damage, SegmentFile, segments_in
from raven.journal.tables import records_of
from raven.records import Flags, Kind
from raven.topics import DataType

__all__ = ["Past", "Records"]

_BATCH_ROWS = 16_384
# Books have hundreds of levels.
_BOOKS = 512


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one kind and topic, in the order of their sequences."""

    kind: Kind
    topic: JournalTopic
    words: pa.Table
    """Columns of `raven.journal.schema.SCHEMAS`."""

    def encode(self, *, depth: int = 0) -> Encoded:
        """Return them as messages for clients, flagged as backfilled; `depth` cuts books."""
        columns = [self.words[field.name].combine_chunks() for field in SCHEMAS[self.kind]]
        return Encoded(
            int(self.kind),
            len(self.words),
            [memoryview(buffer).cast("B") for buffer in _buffers(self.kind, columns)],
            venue=self.topic.venue,
            symbol=self.topic.symbol,
            data_type=int(self.topic.data_type),
            depth=depth,
            flags=int(Flags.BACKFILLED),
        )


class Past:
    """Reads what a journal has of a symbol. Not thread-safe; blocks on the disk."""

    def __init__(
        self,
        journal: Path,
        symbol: str,
        data_type: DataType,
        *,
        venue: str = "",
        start_ns: int | None = None,
        end_ns: int | None = None,
        number: int | None = None,
    ) -> None:
        """Records that happened from `start_ns` on and before `end_ns`; of every venue if none is named.

        `number` is that of a topic in its run, in the column `topic`: `last` is of that one then.

        Raises: DataValidation for a type that is not kept.
        """
        kind = KINDS.get(data_type)
        if kind is None:
            known = ", ".join(one.name for one in KINDS)
            raise DataValidation(f"{data_type.name} is not kept in journals; kept are {known}")
        self.last: tuple[str, int] = ("", 0)
        """Run and sequence of the newest record seen in segments, whatever its time."""
        self.last_in_parquet: tuple[str, int] = ("", 0)
        """The same of Parquet files, where topics have no number: it may be of an earlier one of the same name."""
        self._number = number
        self._kind = kind
        self._journal = journal
        self._symbol, self._venue, self._data_type = symbol, venue, data_type
        self._start_ns, self._end_ns = start_ns, end_ns
        self._position = Position()
        self._reader: SegmentReader | None = None

    def read(self, until: Position | None = None) -> Iterator[Records]:
        """Yield what is there and was not read yet; nothing from `until` on, if that is given."""
        segments = {int(path.stem): path for path in segments_in(self._journal)}
        begun, newest = self._position.segment, max(segments, default=sys.maxsize)
        last = newest if until is None else min(newest, until.segment)
        if self._reader is not None:
            yield from self._from_segment(self._reader, until)
        yield from self._from_parquet(lambda number: begun < number <= last and number not in segments)
        for number, path in segments.items():
            if not begun < number <= last:
                continue
            try:
                file = SegmentFile(path)
            except FileNotFoundError:
                # It has become Parquet since we looked.
                self._position, self._reader = Position(number), None
                yield from self._from_parquet(number.__eq__)
                continue
            self._position, self._reader = Position(number), SegmentReader(file)
            yield from self._from_segment(self._reader, until)
        if self._position.segment < last:
            self._position, self._reader = Position(last), None

    # --- segments ---------------------------------------------------------------------------------------

    def _from_segment(self, reader: SegmentReader, until: Position | None) -> Iterator[Records]:
        """Yield what comes next in the segment that is open: it may have grown."""
        number = self._position.segment
        end = until.offset if until is not None and number == until.segment else None
        # Gap marks follow the records of their commit in a frame of their own.
        held: Records | None = None
        for frame in reader.file.frames(self._position.offset, self._position.frame):
            if isinstance(frame, Damage):
                reader.take(frame, ())
                continue
            if end is not None and frame.end > end:
                break
            taken = reader.take(frame, (self._kind, Kind.GAP))
            self._position = Position(number, frame.number + 1, frame.end)
            if not isinstance(taken, Batch):
                continue
            for records in self._of_topic(taken):
                if records.kind is Kind.GAP:
                    yield from self._cut(_interleaved(held, records))
                    held = None
                else:
                    yield from self._cut([held] if held else [])
                    held = records
        yield from self._cut([held] if held else [])

    def _of_topic(self, batch: Batch) -> Iterator[Records]:
        wanted: dict[JournalTopic, list[int]] = {}
        for number, topic in batch.topics.items():
            if (topic.symbol, topic.data_type) == (self._symbol, self._data_type) and self._venue in ("", topic.venue):
                wanted.setdefault(topic, []).append(number)
        words = pa.table(batch.records)
        for topic, numbers in wanted.items():
            rows = words.filter(pc.is_in(words["topic"], pa.array(numbers, pa.uint32())))
            if len(rows):
                self.last = _newer(self.last, batch.run, self._of_number(rows))
                yield Records(batch.kind, topic, rows)

    # --- Parquet ----------------------------------------------------------------------------------------

    def _from_parquet(self, wants: Callable[[int], bool]) -> Iterator[Records]:
        name, at_once = self._data_type.name.lower(), _BOOKS if self._kind is Kind.BOOK else _BATCH_ROWS

        def find() -> list[Part]:
            return parts_in(self._journal, type=name, venue=self._venue, symbols=[self._symbol])

        for one in opened(find, wants):
            topic = JournalTopic(one.part.venue, self._symbol, self._data_type)
            gaps = self._gaps_beside(one, wants)
            groups = row_groups_within(one.file, self._start_ns, self._end_ns)
            if len(groups) < one.file.metadata.num_row_groups:
                self.last_in_parquet = _newer(self.last_in_parquet, *newest_of(one.file))
            for table in one.tables(at_once, groups):
                rows = records_of(self._kind, table)
                newest = pc.max(rows["sequence"]).as_py()
                self.last_in_parquet = _newer(self.last_in_parquet, table["run"][-1].as_py(), newest)
                records = Records(self._kind, topic, rows)
                if not len(gaps):
                    yield from self._cut([records])
                    continue
                is_here = pc.less_equal(gaps["recv_ns"], rows["recv_ns"][-1])
                here, gaps = gaps.filter(is_here), gaps.filter(pc.invert(is_here))
                yield from self._cut(_interleaved(records, Records(Kind.GAP, topic, here)))
            if len(gaps):
                yield from self._cut([Records(Kind.GAP, topic, gaps)])

    def _gaps_beside(self, one: Opened, wants: Callable[[int], bool]) -> pa.Table:
        """Return the gap marks of the segments that a file is read for."""
        part = one.part

        def find() -> list[Part]:
            return parts_in(self._journal, type="gaps", venue=part.venue, symbols=[self._symbol], date=part.date)

        tables = [
            records_of(Kind.GAP, table.filter(pc.equal(table["data_type"], self._data_type.name.lower())))
            for marks in opened(find, lambda number: one.first <= number <= part.last and wants(number))
            for table in marks.tables(_BATCH_ROWS)
        ]
        return pa.concat_tables([SCHEMAS[Kind.GAP].empty_table(), *tables])

    # --- both -------------------------------------------------------------------------------------------

    def _of_number(self, rows: pa.Table) -> int:
        if self._number is not None:
            rows = rows.filter(pc.equal(rows["topic"], self._number))
        return pc.max(rows["sequence"]).as_py() or 0

    def _cut(self, all_records: list[Records]) -> Iterator[Records]:
        """Keep what happened in the time that is wanted."""
        for records in all_records:
            words = records.words
            if self._start_ns is not None:
                words = words.filter(pc.greater_equal(_times(words), self._start_ns))
            if self._end_ns is not None:
                words = words.filter(pc.less(_times(words), self._end_ns))
            if len(words):
                yield Records(records.kind, records.topic, words)


def _newer(last: tuple[str, int], run: str, sequence: int) -> tuple[str, int]:
    return (run, max(sequence, last[1]) if run == last[0] else sequence)


def _times(words: pa.Table) -> pa.ChunkedArray:
    """Return when records happened; when they arrived where the venue does not say."""
    return pc.if_else(pc.equal(words["exchange_ns"], 0), words["recv_ns"], words["exchange_ns"])


def _interleaved(records: Records | None, gaps: Records) -> list[Records]:
    """Put gap marks between the records that they part. There are few of them."""
    if records is None:
        return [gaps]
    parts, done = [], 0
    sequences, arrivals = records.words["sequence"], records.words["recv_ns"]
    for row in range(len(gaps.words)):
        gap = gaps.words.slice(row, 1)
        sequence = gap["sequence"][0].as_py()
        # A mark of the journal's own has no sequence: it stands where it was made.
        is_before = pc.less(sequences, sequence) if sequence else pc.less_equal(arrivals, gap["recv_ns"][0].as_py())
        until = max(done, pc.sum(is_before).as_py() or 0)
        parts += [Records(records.kind, records.topic, records.words.slice(done, until - done))]
        parts += [Records(Kind.GAP, gaps.topic, gap)]
        done = until
    parts.append(Records(records.kind, records.topic, records.words.slice(done)))
    return [part for part in parts if len(part.words)]


def _buffers(kind: Kind, columns: list[pa.Array]) -> list[pa.Buffer]:
    """Return the bytes of columns as `Collector.take` hands them out."""
    if kind is not Kind.BOOK:
        return [_bytes(column) for column in columns]
    head, sides = columns[:8], (columns[8:11], columns[11:14])
    buffers = [_bytes(column) for column in head]
    for prices, quantities, proven in sides:
        lengths = pc.list_value_length(prices).cast(pa.int32())
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
        buffers += [_bytes(offsets), _bytes(prices.flatten()), _bytes(quantities.flatten()), _bytes(proven)]
    return buffers


def _bytes(column: pa.Array) -> pa.Buffer:
    width = column.type.bit_width // 8
    return column.buffers()[1].slice(column.offset * width, len(column) * width)

"""The past of a symbol, oldest first, from Parquet and from segments that are not compacted yet.

Memory stays bounded: one batch at a time. Reading while the server writes and while a compaction runs is safe; a record
is seen once.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from raven.errors import DataValidation
from raven.journal.partitions import Part, opened, parquet_folder, parts_in
from raven.journal.pruning import row_groups_within
from raven.journal.reading import Batch, read_segment
from raven.journal.segment import no_journal, segments_in
from raven.journal.tables import table_of
from raven.records import Kind
from raven.topics import DataType

__all__ = ["Wanted", "history"]

KINDS = {
    DataType.ORDERBOOK: Kind.BOOK,
    DataType.TRADES: Kind.TRADE,
    DataType.QUOTES: Kind.QUOTE,
    DataType.CANDLES_1M: Kind.CANDLE,
    DataType.CANDLES_5M: Kind.CANDLE,
    DataType.CANDLES_1H: Kind.CANDLE,
    DataType.FUNDING_RATES: Kind.FUNDING,
    DataType.LIQUIDATIONS: Kind.LIQUIDATION,
    **{kind: Kind.BAR for kind in DataType if kind.name.endswith("_BARS")},
}
_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the past is asked for."""

    symbols: Collection[str]
    data_type: DataType
    venue: str = ""
    """Empty for every venue."""
    start_ns: int | None = None
    """Records that happened from then on (`exchange_time`), ns since 1970."""
    end_ns: int | None = None
    """Records that happened before then."""

    def takes(self, venue: str, symbol: str) -> bool:
        """Is a symbol of a venue wanted?"""
        return symbol in self.symbols and self.venue in ("", venue)

    def within(self, table: pa.Table) -> pa.Table:
        """Cut a table to the time that is wanted."""
        times = table["exchange_time"].cast(pa.int64())
        keep: pa.ChunkedArray | None = None
        for limit, compare in ((self.start_ns, pc.greater_equal), (self.end_ns, pc.less)):
            if limit is not None:
                part = compare(times, pa.scalar(limit, pa.int64()))
                keep = part if keep is None else pc.and_(keep, part)
        return table if keep is None else table.filter(keep)


def history(journal: Path, wanted: Wanted) -> Iterator[pa.Table]:
    """Yield what the journal has, with the columns `venue` and `symbol` in front; each table is of one symbol.

    Raises: DataValidation when there is no journal, or the type is one that is not kept.
    """
    kind = KINDS.get(wanted.data_type)
    if kind is None:
        raise DataValidation(f"{wanted.data_type.name.lower()} is not kept in journals; kept are {', '.join(_names())}")
    # Segments first: what is compacted after this look is skipped below and read as a segment, or found gone.
    segments = segments_in(journal)
    if not segments and not parquet_folder(journal).exists():
        raise no_journal(journal)
    fresh = {int(path.stem) for path in segments}
    newest = max(fresh, default=sys.maxsize)
    yield from _from_parquet(journal, wanted, lambda number: number < newest and number not in fresh)
    for path in segments:
        try:
            yield from _from_segment(path, kind, wanted)
        except FileNotFoundError:
            yield from _from_parquet(journal, wanted, int(path.stem).__eq__)


def _names() -> Sequence[str]:
    return [one.name.lower() for one in KINDS]


def _from_parquet(journal: Path, wanted: Wanted, wants: Callable[[int], bool]) -> Iterator[pa.Table]:
    def find() -> list[Part]:
        name = wanted.data_type.name.lower()
        return parts_in(journal, type=name, venue=wanted.venue, symbols=wanted.symbols)

    for one in opened(find, wants):
        groups = row_groups_within(one.file, wanted.start_ns, wanted.end_ns)
        for table in one.tables(_BATCH_ROWS, groups):
            yield from _named(wanted.within(table), one.part.venue, one.part.symbol)


def _from_segment(path: Path, kind: Kind, wanted: Wanted) -> Iterator[pa.Table]:
    for item in read_segment(path, [kind]):
        if not isinstance(item, Batch):
            continue
        for (venue, symbol), records in _of_symbols(item, wanted).items():
            yield from _named(wanted.within(table_of(kind, records, item.run)), venue, symbol)


def _of_symbols(batch: Batch, wanted: Wanted) -> dict[tuple[str, str], pa.Table]:
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, topic in batch.topics.items():
        if topic.data_type is wanted.data_type and wanted.takes(topic.venue, topic.symbol):
            numbers[topic.venue, topic.symbol].append(number)
    records = pa.table(batch.records)
    found = {
        name: records.filter(pc.is_in(records["topic"], pa.array(topics, pa.uint32())))
        for name, topics in numbers.items()
    }
    return {name: rows for name, rows in found.items() if len(rows)}


def _named(table: pa.Table, venue: str, symbol: str) -> Iterator[pa.Table]:
    if len(table):
        for name, value in (("symbol", symbol), ("venue", venue)):
            column = pa.DictionaryArray.from_arrays(pa.array([0] * len(table), pa.int32()), [value])
            table = table.add_column(0, name, column)
        yield table

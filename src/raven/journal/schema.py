"""The columns of each kind of record, as they stand in segments: what was published, word for word.

Prices and quantities are integers with a scale (`value = mantissa / 10**scale`), so the exchange's decimal strings
come back exactly. Column order is that of `raven._core.Collector.take`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from raven.records import BAR_PARAMETERS, BarWord, CandleWord, FundingWord, GapWord, Kind
from raven.topics import DataType

__all__ = ["SCHEMAS", "record_batch", "type_name"]

_HEAD = [
    ("topic", pa.uint32()),  # number in this run; the segment's topic table says what it is
    ("flags", pa.uint32()),  # quality, see raven.records.Flags
    ("sequence", pa.uint64()),  # by one per topic and run
    ("recv_ns", pa.int64()),
    ("exchange_ns", pa.int64()),
    ("id", pa.uint64()),  # the venue's: trade id, update id
    ("price_scale", pa.uint8()),
    ("quantity_scale", pa.uint8()),
]
_LEVELS = pa.list_(pa.field("item", pa.int64(), nullable=False))
_BOOK = [
    (f"{side}_{column}", kind)
    for side in ("bid", "ask")
    for column, kind in (("prices", _LEVELS), ("quantities", _LEVELS), ("proven", pa.uint32()))
]
_WORDS: dict[Kind, Sequence[str]] = {
    Kind.TRADE: ("price", "quantity", "taker_sells", "first_fill_id", "last_fill_id"),
    Kind.QUOTE: ("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
    Kind.CANDLE: [word.name.lower() for word in CandleWord],
    Kind.FUNDING: [word.name.lower() for word in FundingWord],
    Kind.LIQUIDATION: ("price", "average_price", "quantity", "is_sell"),
    Kind.GAP: [word.name.lower() for word in GapWord],
    Kind.BAR: [
        *(word.name.lower() for word in BarWord if word < BarWord.BUY_TICKS),
        "quote_volume_high",
        *(word.name.lower() for word in BarWord if BarWord.BUY_TICKS <= word < BarWord.PARAMETERS),
        *(f"parameter_{number}" for number in range(BAR_PARAMETERS)),
    ],
}


def _schema(columns: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


SCHEMAS: dict[Kind, pa.Schema] = {
    Kind.BOOK: _schema([*_HEAD, *_BOOK]),
    **{kind: _schema([*_HEAD, *((name, pa.int64()) for name in names)]) for kind, names in _WORDS.items()},
}
"""By kind. Books hold levels best first; all other columns are one value per record."""


_CANDLES = (DataType.CANDLES_1M, DataType.CANDLES_5M, DataType.CANDLES_1H)


def type_name(kind: Kind, data_type: DataType | None) -> str:
    """Return the type under which records of a topic are kept: all in one file have the same columns."""
    if kind is Kind.GAP:
        return "gaps"
    if data_type is None:
        return kind.name.lower()
    # Candles of the venue and bars of ours may have the same topic, but not the same columns.
    is_bar_of_the_clock = kind is Kind.BAR and data_type in _CANDLES
    return (DataType.TIME_BARS if is_bar_of_the_clock else data_type).name.lower()


def record_batch(kind: Kind, rows: int, buffers: Sequence[bytes]) -> pa.RecordBatch:
    """Make an Arrow batch of what `Collector.take` handed out; nothing is copied."""
    wrapped = [pa.py_buffer(buffer) for buffer in buffers]
    schema = SCHEMAS[kind]
    arrays = [
        pa.Array.from_buffers(field.type, rows, [None, buffer])
        for field, buffer in zip(schema, wrapped[: len(_HEAD)] if kind is Kind.BOOK else wrapped, strict=False)
    ]
    if kind is Kind.BOOK:
        for offsets, prices, quantities, proven in (wrapped[len(_HEAD) :][:4], wrapped[len(_HEAD) :][4:]):
            for values in (prices, quantities):
                levels = pa.Array.from_buffers(pa.int64(), values.size // 8, [None, values])
                arrays.append(pa.Array.from_buffers(_LEVELS, rows, [None, offsets], children=[levels]))
            arrays.append(pa.Array.from_buffers(pa.uint32(), rows, [None, proven]))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)

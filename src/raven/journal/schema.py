"""The columns of each kind of record, as they stand in segments: what was published, word for word.

Prices and quantities are integers with a scale (`value = mantissa / 10**scale`), so the exchange's decimal strings
come back exactly. Column order is that of `raven._core.Collector.take`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from raven.records import CandleWord, FundingWord, GapWord, Kind

__all__ = ["SCHEMAS", "record_batch"]

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
}


def _schema(columns: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


SCHEMAS: dict[Kind, pa.Schema] = {
    Kind.BOOK: _schema([*_HEAD, *_BOOK]),
    **{kind: _schema([*_HEAD, *((name, pa.int64()) for name in names)]) for kind, names in _WORDS.items()},
}
"""By kind. Books hold levels best first; all other columns are one value per record."""


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

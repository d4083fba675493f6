"""Whole frames as Arrow: what `subscribe(...).batches()` yields.

Columns have the names and meanings of docs/reference/parquet.md, with `venue` and `symbol` in front. Prices and
quantities are doubles, as the wire carries them: the nearest to the venue's decimal, which `str()` and `repr()` of the
number give back up to 15 digits. For exact decimals read the journal (`raven.history(..., journal=...)`).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pyarrow as pa

from raven.errors import MissingDependency
from raven.records import GapReason, Kind
from raven.topics import DataType

if TYPE_CHECKING:
    import pandas
    import polars

BatchKind: TypeAlias = Literal["orderbook", "trades", "quotes", "candles", "funding_rates", "bars", "gaps"]

_NS = pa.timestamp("ns", tz="UTC")
_MS = pa.timestamp("ms", tz="UTC")
_F64, _I64 = pa.float64(), pa.int64()
_LEVELS = pa.list_(pa.field("item", _F64, nullable=False))
_NAME = pa.dictionary(pa.int32(), pa.string())
"""A number of `Receiver.names`."""
_SIDE = pa.dictionary(pa.int8(), pa.string())
_FLAG = pa.bool_()
_TEXT = pa.string()
"""A number that stands for a text of `_TEXTS`."""

# In the order in which the native receiver hands columns out.
_HEAD = (
    ("venue", _NAME),
    ("symbol", _NAME),
    ("exchange_time", _NS),
    ("recv_time", _NS),
    ("id", _I64),
    ("sequence", _I64),
    ("flags", pa.uint32()),
)
# These are the last columns of a table, as in files.
_TAIL = ("sequence", "flags")
_PRICES = (("open", _F64), ("high", _F64), ("low", _F64), ("close", _F64))
_BODIES: dict[Kind, tuple[tuple[str, pa.DataType], ...]] = {
    Kind.TRADE: (
        ("price", _F64),
        ("quantity", _F64),
        ("side", _SIDE),
        ("first_fill_id", _I64),
        ("last_fill_id", _I64),
    ),
    Kind.QUOTE: (("bid_price", _F64), ("bid_quantity", _F64), ("ask_price", _F64), ("ask_quantity", _F64)),
    Kind.CANDLE: (
        ("open_time", _MS),
        *_PRICES,
        ("volume", _F64),
        ("buy_volume", _F64),
        ("interval_s", _I64),
        ("ticks", _I64),
    ),
    Kind.FUNDING: (
        ("mark_price", _F64),
        ("index_price", _F64),
        ("rate", _F64),
        ("settle_price", _F64),
        ("next_funding_time", _MS),
    ),
    Kind.GAP: (
        ("data_type", _TEXT),
        ("count", _I64),
        ("first_id", _I64),
        ("last_id", _I64),
        ("reason", _TEXT),
        ("repaired", _FLAG),
    ),
    Kind.BAR: (
        ("open_time", _MS),
        ("close_time", _MS),
        *_PRICES,
        ("volume", _F64),
        ("buy_volume", _F64),
        ("sell_volume", _F64),
        ("quote_volume", _F64),
        ("buy_ticks", _I64),
        ("sell_ticks", _I64),
        ("theta", _F64),
        ("threshold", _F64),
        ("first_trade_id", _I64),
        ("last_trade_id", _I64),
        ("interval", _NAME),
        ("part", _I64),
        ("complete", _FLAG),
        ("warming_up", _FLAG),
        ("gap_count", _I64),
        ("revision", _I64),
    ),
}
_NAMES: dict[Kind, BatchKind] = {
    Kind.BOOK: "orderbook",
    Kind.TRADE: "trades",
    Kind.QUOTE: "quotes",
    Kind.CANDLE: "candles",
    Kind.FUNDING: "funding_rates",
    Kind.GAP: "gaps",
    Kind.BAR: "bars",
}
_TEXTS: dict[str, dict[int, str]] = {
    "data_type": {int(one): one.name.lower() for one in DataType},
    "reason": {int(one): one.name.lower() for one in GapReason},
}


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Records of one kind that arrived together, of all symbols that were subscribed, as columns.

    Arrow's own interface works, too: `polars.DataFrame(batch)`, `pyarrow.record_batch(batch)`.
    """

    kind: BatchKind
    """What the rows are: `trades`, `orderbook`, `quotes`, `candles` (the venue's), `bars` (Raven's), `funding_rates`;
    `gaps` are what is missing, with the count."""
    records: pa.RecordBatch
    """The rows, each topic's in order."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.records.num_rows)

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        """Hand the rows to any library that speaks Arrow, without a copy."""
        return self.records.__arrow_c_array__(requested_schema)

    def to_polars(self) -> polars.DataFrame:
        """Return a polars frame. Raises: MissingDependency."""
        try:
            import polars as pl  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingDependency("to_polars needs polars: pip install 'raven[polars]'") from None
        frame = pl.from_arrow(self.records)
        assert isinstance(frame, pl.DataFrame), "a batch becomes a frame"
        return frame

    def to_pandas(self) -> pandas.DataFrame:
        """Return a pandas frame. Raises: MissingDependency."""
        try:
            import pandas as pd  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingDependency("to_pandas needs pandas: pip install 'raven[pandas]'") from None
        frame = self.records.to_pandas()
        assert isinstance(frame, pd.DataFrame), "a batch becomes a frame"
        return frame


def make_batch(kind: Kind, rows: int, buffers: Sequence[bytes], names: Sequence[str]) -> Batch:
    """Make a batch of what `Receiver.take` handed out; wide columns are not copied."""
    known = _strings(names)
    columns = [*_HEAD, *_BODIES.get(kind, ())]
    arrays = {
        name: _array(name, type_, rows, buffer, known)
        for (name, type_), buffer in zip(columns, buffers[: len(columns)], strict=True)
    }
    if kind is Kind.BOOK:
        for side, at in (("bid", len(_HEAD)), ("ask", len(_HEAD) + 4)):
            offsets, prices, quantities, proven = buffers[at : at + 4]
            arrays[f"{side}_prices"] = _levels(rows, offsets, prices)
            arrays[f"{side}_quantities"] = _levels(rows, offsets, quantities)
            arrays[f"{side}_proven"] = pa.Array.from_buffers(pa.uint32(), rows, [None, pa.py_buffer(proven)])
    if kind is Kind.CANDLE:
        # Only closed ones are sent.
        arrays["closed"] = pa.repeat(pa.scalar(True), rows)
    ordered = [name for name in arrays if name not in _TAIL] + list(_TAIL)
    records = pa.RecordBatch.from_arrays([arrays[name] for name in ordered], names=ordered)
    return Batch(_NAMES[kind], records)


def _array(name: str, type_: pa.DataType, rows: int, buffer: bytes, known: pa.Array) -> pa.Array:
    wrapped = pa.py_buffer(buffer)
    if type_ is _NAME:
        # Columns of the body have 64 bits per row.
        width = _I64 if name == "interval" else pa.int32()
        numbers = pa.Array.from_buffers(width, rows, [None, wrapped]).cast(pa.int32())
        return pa.DictionaryArray.from_arrays(numbers, known)
    if type_ is _SIDE:
        indices = pa.Array.from_buffers(_I64, rows, [None, wrapped]).cast(pa.int8())
        return pa.DictionaryArray.from_arrays(indices, _strings(("buy", "sell")))
    if type_ is _TEXT:
        values = pa.Array.from_buffers(_I64, rows, [None, wrapped]).to_pylist()
        return _strings([_TEXTS[name].get(value, str(value)) for value in values])
    if type_ is _FLAG:
        return pa.Array.from_buffers(_I64, rows, [None, wrapped]).cast(_FLAG)
    return pa.Array.from_buffers(type_, rows, [None, wrapped])


def _levels(rows: int, offsets: bytes, values: bytes) -> pa.Array:
    flat = pa.Array.from_buffers(_F64, len(values) // 8, [None, pa.py_buffer(values)])
    return pa.Array.from_buffers(_LEVELS, rows, [None, pa.py_buffer(offsets)], children=[flat])


def _strings(texts: Sequence[str]) -> pa.Array:
    """Return an array of texts. (`pyarrow.array` would load pandas, for half a second, if that is installed.)"""
    encoded = [text.encode() for text in texts]
    offsets = array("i", [0, *accumulate(map(len, encoded))])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)

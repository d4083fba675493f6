"""From the trades that users have (Arrow, polars, pandas) to columns of numbers and scales; nothing is rounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from raven._core import decimals_of_wide, scale_of_doubles, scale_that_fits, sides_of_texts
from raven.errors import DataValidation

__all__ = ["Columns", "by_symbol", "trade_table"]

# What each column may be called: in trades of anybody, and in those of `raven.history`.
_NAMES = {
    "timestamp": ("timestamp", "exchange_time", "exchange_ns"),
    "price": ("price",),
    "quantity": ("quantity",),
    "side": ("side",),
}
_IDS = ("trade_id", "id")
_NS_PER_MS = 1_000_000
# The year 5138: what is above counts something smaller than milliseconds.
_LATEST_MS = 100_000_000_000_000
# Of 2008 to 2128; as milliseconds they would be of the spring of 1970.
_SECONDS_OF_THIS_AGE = range(1_200_000_000, 5_000_000_000)
_WIDE = pa.decimal128(38, 18)
_MAX_SCALE = 15
# A piece of this size stays in the cache of a core on its way through.
_PIECE_ROWS = 16_384

Numbers: TypeAlias = "memoryview[int] | memoryview[float]"


@dataclass(frozen=True, slots=True)
class Columns:
    """Trades of one symbol, oldest first: buffers of signed 64-bit integers, and of bytes for `sells`.

    Prices and quantities may be doubles; the scales say to how many decimals they are to be rounded.
    """

    rows: int
    time_ms: memoryview
    price: Numbers
    quantity: Numbers
    sells: memoryview
    id: memoryview | None
    price_scale: int
    quantity_scale: int

    def pieces(self, rows: int = _PIECE_ROWS) -> Iterator[Columns]:
        """Yield them in pieces of up to so many rows."""
        for at in range(0, self.rows, rows):
            end = min(at + rows, self.rows)
            ids = None if self.id is None else self.id[at:end]
            yield Columns(
                end - at,
                self.time_ms[at:end],
                self.price[at:end],
                self.quantity[at:end],
                self.sells[at:end],
                ids,
                self.price_scale,
                self.quantity_scale,
            )


def trade_table(trades: Any) -> pa.Table:
    """Return trades as an Arrow table. Raises: DataValidation when they are no table, or lack a column."""
    if isinstance(trades, pa.RecordBatch):
        table = pa.table(trades)
    elif isinstance(trades, pa.Table):
        table = trades
    elif hasattr(trades, "__arrow_c_stream__"):
        table = pa.table(trades)
    elif hasattr(trades, "to_arrow"):
        # What `raven.history` returns.
        table = trades.to_arrow()
    elif hasattr(trades, "iloc"):
        table = pa.Table.from_pandas(trades, preserve_index=False)
    else:
        hint = "; collect() a lazy frame first" if hasattr(trades, "collect") else ""
        raise DataValidation(
            f"trades are a {type(trades).__name__}; expected an Arrow table, a polars or a pandas frame, or what"
            f" raven.history returns{hint}"
        )
    return table


def by_symbol(table: pa.Table) -> Iterator[tuple[str | None, Columns]]:
    """Yield the trades of each symbol, in the order of their first trades; of a table without symbols, all with None.

    Raises: DataValidation naming the column that is missing or cannot be read, or trades that are not oldest first.
    """
    if not table.num_columns:
        return
    names = {name: _find(table, name, also) for name, also in _NAMES.items()}
    ids = next((name for name in _IDS if name in table.column_names), None)
    if "symbol" not in table.column_names:
        yield None, _columns(table, names, ids)
        return
    symbols = pc.unique(table["symbol"]).to_pylist()
    for symbol in symbols:
        if symbol is None:
            raise DataValidation("column symbol has empty places")
        part = table if len(symbols) == 1 else table.filter(pc.equal(table["symbol"], symbol))
        yield str(symbol), _columns(part, names, ids)


def _find(table: pa.Table, name: str, also: tuple[str, ...]) -> str:
    for one in also:
        if one in table.column_names:
            return one
    raise DataValidation(
        f"trades have no column {name}; they need timestamp, price, quantity, side and, to know gaps, trade_id."
        f" They have {', '.join(table.column_names) or 'none'}"
    )


def _columns(table: pa.Table, names: dict[str, str], ids: str | None) -> Columns:
    def column(name: str) -> pa.Array:
        chunked = table[name]
        whole = chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
        if whole.null_count:
            raise DataValidation(f"column {name} has {whole.null_count} empty places; every trade needs a value")
        return whole

    time_ms = _words(_milliseconds(names["timestamp"], column(names["timestamp"])))
    if len(time_ms) and time_ms[0] > time_ms[-1]:
        raise DataValidation(
            f"the first trade is of a later {names['timestamp']} than the last; sort trades oldest first"
        )
    price, price_scale = _decimals("price", column(names["price"]))
    quantity, quantity_scale = _decimals("quantity", column(names["quantity"]))
    return Columns(
        rows=len(table),
        time_ms=time_ms,
        price=price,
        quantity=quantity,
        sells=_sells(column(names["side"])),
        id=None if ids is None else _ids(ids, column(ids)),
        price_scale=price_scale,
        quantity_scale=quantity_scale,
    )


def _words(values: pa.Array) -> memoryview:
    values = values if values.type == pa.int64() else values.cast(pa.int64())
    return _bytes(values, 8).cast("q")


def _bytes(values: pa.Array, width: int) -> memoryview:
    view = memoryview(values.buffers()[1] or b"").cast("B")
    return view[values.offset * width : (values.offset + len(values)) * width]


def _milliseconds(name: str, values: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.timestamp("ms", values.type.tz), safe=False).cast(pa.int64())
    if not pa.types.is_integer(values.type):
        raise DataValidation(f"column {name} is {values.type}; expected int64 (ms since 1970) or an Arrow timestamp")
    if name == "exchange_ns":
        return pc.divide(values, _NS_PER_MS)
    newest = pc.max(values).as_py() or 0
    if newest > _LATEST_MS or newest in _SECONDS_OF_THIS_AGE:
        unit = "seconds" if newest in _SECONDS_OF_THIS_AGE else "µs or ns"
        raise DataValidation(f"column {name} has {newest}, which looks like {unit}; expected ms since 1970")
    return values


def _decimals(name: str, values: pa.Array) -> tuple[Numbers, int]:
    arrow_type = values.type
    if pa.types.is_integer(arrow_type):
        return _words(values), 0
    if pa.types.is_floating(arrow_type):
        doubles = _bytes(values if arrow_type == pa.float64() else values.cast(pa.float64()), 8).cast("d")
        return doubles, _scale(doubles)
    if pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type) or pa.types.is_decimal(arrow_type):
        scale = arrow_type.scale if pa.types.is_decimal(arrow_type) else _WIDE.scale
        try:
            wide = values.cast(pa.decimal128(38, scale))
        except pa.ArrowInvalid as error:
            raise DataValidation(f"column {name} cannot be read as decimals: {error}") from None
        narrow = decimals_of_wide(_bytes(wide, 16), scale)
        if narrow is None:
            raise DataValidation(f"column {name} has values with more digits than 64 bits hold")
        return memoryview(narrow[0]).cast("q"), narrow[1]
    raise DataValidation(f"column {name} is {arrow_type}; expected numbers, decimals or decimal texts")


def _scale(doubles: memoryview[float]) -> int:
    """Return the smallest scale in which all of them are whole; where there is none, the largest that they fit."""
    scale, largest = 0, 0.0
    for at in range(0, len(doubles), _PIECE_ROWS):
        found, here = scale_of_doubles(doubles[at : at + _PIECE_ROWS], scale)
        scale, largest = (_MAX_SCALE if found is None else found), max(largest, here)
    return scale_that_fits(largest, scale)


def _sells(values: pa.Array) -> memoryview:
    if pa.types.is_dictionary(values.type):
        codes = pa.array([_sell_of(name) for name in values.dictionary.to_pylist()], pa.uint8())
        return _bytes(pc.take(codes, values.indices), 1)
    kinds_of_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not any(is_text(values.type) for is_text in kinds_of_text):
        raise DataValidation(f"column side is {values.type}; expected texts, buy or sell, what the taker did")
    texts = values.cast(pa.string())
    _, ends, letters = texts.buffers()
    offsets = memoryview(ends or bytes(4)).cast("B").cast("i")[texts.offset : texts.offset + len(texts) + 1]
    sells, wrong = sides_of_texts(offsets, memoryview(letters or b"").cast("B"))
    if wrong >= 0:
        _sell_of(texts[wrong].as_py())
    return memoryview(sells)


def _sell_of(name: Any) -> int:
    lower = str(name).lower()
    if lower not in ("buy", "sell"):
        raise DataValidation(f"column side has {name!r}; expected buy or sell, what the taker did")
    return int(lower == "sell")


def _ids(name: str, values: pa.Array) -> memoryview | None:
    if pa.types.is_integer(values.type):
        return _words(values)
    try:
        return _words(values.cast(pa.int64()))
    except pa.ArrowInvalid:
        # Ids that are no numbers say nothing about what is missing.
        return None

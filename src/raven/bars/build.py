"""`raven.bars.build`: trades in, bars out, with the native code that also makes them live."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raven._core import BarBuilder, BarSpec
from raven.bars.spec import bar_spec
from raven.bars.trades import Columns, by_symbol, trade_table
from raven.errors import DataValidation

__all__ = ["build"]

_VALUES = ("open", "high", "low", "close", "volume", "quote_volume", "vwap", "buy_volume", "sell_volume")
DECIMAL = pa.decimal128(38, 18)
"""Of exact prices and volumes: as in the files of a journal."""


def build(
    trades: Any,
    kind: str,
    *,
    open_bar: bool | None = None,
    exact: bool = False,
    details: bool = False,
    **parameters: Any,
) -> pa.Table:
    """Return the bars of trades as an Arrow table, by symbol and open time.

    `trades` (Arrow, polars or pandas, oldest first) have the columns `timestamp` (int64 ms, or an Arrow timestamp),
    `price`, `quantity`, `side` (`buy` or `sell`, the taker's), `trade_id` and, for several symbols, `symbol`; what
    `raven.history` returns fits as it is. `kind` and `parameters` are those of `bar_spec`.

    Columns: `symbol`, `timestamp` (open time, ms), `close_time` (the last ms that belongs to the bar), `open`, `high`,
    `low`, `close`, `volume`, `quote_volume`, `vwap`, `buy_volume`, `sell_volume`, `buy_ticks`, `sell_ticks`,
    `total_ticks`, `theta` (what the rule summed up), `first_trade_id`, `last_trade_id`, `interval`, `complete` (it
    began and ended by its rule, and no trade is missing), `gap_count` (trades that may be missing, by their ids),
    `revision` (how often a late trade corrected it). The schema's metadata has `config_hash`, and what became of the
    trades (`trades`, `trades_taken`, `trades_late`, `trades_known`, `trades_dropped`).

    Sums are exact: floats are read as the decimals they were written as. `exact` returns prices and volumes as decimals
    instead of doubles. `open_bar` says whether a bar that has not ended is the last row, with `complete` false; if not
    said, time bars do so and others do not. `details` appends `threshold` and `warming_up`.

    Raises: DataValidation for parameters or trades that cannot be used, with what was expected.
    """
    spec = bar_spec(kind, **parameters)
    with_open_bar = kind == "time" if open_bar is None else open_bar
    tables, counts = [], [0, 0, 0, 0, 0]
    for symbol, columns in by_symbol(trade_table(trades)):
        builder = BarBuilder(spec)
        for piece in columns.pieces():
            _take(builder, piece)
        tables.append(_table(builder, spec, symbol, with_open_bar, exact=exact, details=details))
        counts = [before + now for before, now in zip(counts, builder.counts, strict=True)]
    names = ("trades", "trades_taken", "trades_late", "trades_known", "trades_dropped")
    metadata = {name: str(count) for name, count in zip(names, counts, strict=True)}
    if not tables:
        tables = [_table(BarBuilder(spec), spec, None, False, exact=exact, details=details)]
    return pa.concat_tables(tables).replace_schema_metadata(metadata | {"config_hash": str(spec.config_hash)})


def _take(builder: BarBuilder, piece: Columns) -> None:
    builder.take(
        piece.time_ms, piece.price, piece.quantity, piece.sells, piece.id, piece.price_scale, piece.quantity_scale
    )


def _wide(name: str, values: pa.Array) -> pa.Array:
    """Bring decimals to one scale, so that the tables of symbols fit together."""
    try:
        return values.cast(DECIMAL)
    except pa.ArrowInvalid:
        raise DataValidation(
            f"{name} has {values.type.scale} decimals, and exact bars have {DECIMAL.scale}; round prices or quantities"
            " of the trades to what the venue trades in, or build without exact=True"
        ) from None


def _table(
    builder: BarBuilder, spec: BarSpec, symbol: str | None, with_open_bar: bool, *, exact: bool, details: bool
) -> pa.Table:
    rows, scales, buffers = builder.columns(with_open_bar=with_open_bar, exact=exact)
    column = map(pa.py_buffer, buffers)

    def values(kind: pa.DataType) -> pa.Array:
        return pa.Array.from_buffers(kind, rows, [None, next(column)])

    def text(value: str | None) -> pa.Array:
        return pa.repeat(pa.scalar(value, pa.string()), rows)

    table = {"symbol": text(symbol), "timestamp": values(pa.int64()), "close_time": values(pa.int64())}
    for name, scale in zip(_VALUES, scales, strict=True):
        table[name] = _wide(name, values(pa.decimal128(38, scale))) if exact else values(pa.float64())
    table |= {"buy_ticks": values(pa.int64()), "sell_ticks": values(pa.int64())}
    table["total_ticks"] = pc.add(table["buy_ticks"], table["sell_ticks"])
    table["theta"], threshold = values(pa.float64()), values(pa.float64())
    table |= {"first_trade_id": values(pa.int64()), "last_trade_id": values(pa.int64())}
    table["interval"] = text(spec.label)
    gap_count, revision = values(pa.int64()), values(pa.int64())
    complete, warming_up = (values(pa.uint8()).cast(pa.bool_()) for _ in range(2))
    table |= {"complete": complete, "gap_count": gap_count, "revision": revision}
    return pa.table(table | ({"threshold": threshold, "warming_up": warming_up} if details else {}))

"""From the words of a journal to tables for people: exact decimals, times in UTC, names instead of numbers.

These are the columns of the Parquet files. Nothing is rounded. Times are UTC with nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from raven.records import FUNDING_SCALE, GapReason, Kind
from raven.topics import DataType

__all__ = ["DECIMAL", "table_of"]

_NS = pa.timestamp("ns", tz="UTC")
_MS = pa.timestamp("ms", tz="UTC")
DECIMAL = pa.decimal128(38, 18)
"""Of every price and quantity: wide enough for all that Raven can publish, and the same in every file, because some
programs take the scale of the first file for all and would round the others."""

Columns = dict[str, pa.Array]


def table_of(kind: Kind, records: pa.Table, run: str) -> pa.Table:
    """Return the table of records of one kind and one symbol. Raises: ValueError for an unknown kind."""
    records = records.combine_chunks()
    arrays = {name: records[name].combine_chunks() for name in records.column_names}
    head: Columns = {
        "exchange_time": arrays["exchange_ns"].cast(_NS),
        "recv_time": arrays["recv_ns"].cast(_NS),
        "id": arrays["id"].cast(pa.int64()),
    }
    tail: Columns = {
        "sequence": arrays["sequence"].cast(pa.int64()),
        "flags": arrays["flags"],
        "run": pa.DictionaryArray.from_arrays(pa.array([0] * len(records), pa.int32()), [run]),
    }
    return pa.table(head | _BODIES[kind](arrays) | tail)


def _decimals(mantissas: pa.Array, scales: pa.Array) -> pa.Array:
    """Return `mantissa / 10**scale` of each row, exactly."""
    whole = mantissas.cast(pa.decimal128(19, 0))
    result: pa.Array | None = None
    for scale in pc.unique(scales).to_pylist():
        # The same 128-bit integers, read with their scale.
        here = pa.Array.from_buffers(pa.decimal128(38, scale), len(whole), whole.buffers()).cast(DECIMAL)
        result = here if result is None else pc.if_else(pc.equal(scales, scale), here, result)
    return whole.cast(DECIMAL) if result is None else result


def _column(arrays: Columns, name: str, scale_column: str) -> pa.Array:
    return _decimals(arrays[name], arrays[scale_column])


def _levels(arrays: Columns, name: str, scale_column: str) -> pa.Array:
    lists = arrays[name]
    values = _decimals(lists.flatten(), pc.take(arrays[scale_column], pc.list_parent_indices(lists)))
    return pa.ListArray.from_arrays(_offsets(lists), values)


def _offsets(lists: pa.Array) -> pa.Array:
    lengths = pc.list_value_length(lists).cast(pa.int32())
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])


def _names(numbers: pa.Array, names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(numbers.cast(pa.int32()), pa.array(names))


def _trades(arrays: Columns) -> Columns:
    return {
        "price": _column(arrays, "price", "price_scale"),
        "quantity": _column(arrays, "quantity", "quantity_scale"),
        "side": _names(arrays["taker_sells"], ["buy", "sell"]),
        "first_fill_id": arrays["first_fill_id"],
        "last_fill_id": arrays["last_fill_id"],
    }


def _quotes(arrays: Columns) -> Columns:
    return {
        f"{side}_{what}": _column(arrays, f"{side}_{what}", f"{what}_scale")
        for side in ("bid", "ask")
        for what in ("price", "quantity")
    }


def _books(arrays: Columns) -> Columns:
    return {
        "bid_prices": _levels(arrays, "bid_prices", "price_scale"),
        "bid_quantities": _levels(arrays, "bid_quantities", "quantity_scale"),
        "bid_proven": arrays["bid_proven"],
        "ask_prices": _levels(arrays, "ask_prices", "price_scale"),
        "ask_quantities": _levels(arrays, "ask_quantities", "quantity_scale"),
        "ask_proven": arrays["ask_proven"],
    }


def _candles(arrays: Columns) -> Columns:
    prices = {name: _column(arrays, name, "price_scale") for name in ("open", "high", "low", "close")}
    volumes = {name: _column(arrays, name, "quantity_scale") for name in ("volume", "buy_volume")}
    return {
        "open_time": arrays["open_time_ms"].cast(_MS),
        **prices,
        **volumes,
        "interval_s": arrays["interval_s"],
        "ticks": arrays["ticks"],
        "closed": arrays["closed"].cast(pa.bool_()),
    }


def _funding(arrays: Columns) -> Columns:
    scales = pa.array([FUNDING_SCALE] * len(arrays["rate"]), pa.uint8())
    values = {name: _decimals(arrays[name], scales) for name in ("mark_price", "index_price", "rate", "settle_price")}
    return values | {"next_funding_time": arrays["next_funding_ms"].cast(_MS)}


def _liquidations(arrays: Columns) -> Columns:
    return {
        "price": _column(arrays, "price", "price_scale"),
        "average_price": _column(arrays, "average_price", "price_scale"),
        "quantity": _column(arrays, "quantity", "quantity_scale"),
        "side": _names(arrays["is_sell"], ["buy", "sell"]),
    }


def _gaps(arrays: Columns) -> Columns:
    types = {int(one): one.name.lower() for one in DataType}
    reasons = {int(one): one.name.lower() for one in GapReason}
    return {
        "data_type": pa.array([types.get(number, str(number)) for number in arrays["data_type"].to_pylist()]),
        "count": arrays["count"],
        "first_id": arrays["first_id"],
        "last_id": arrays["last_id"],
        "reason": pa.array([reasons.get(number, str(number)) for number in arrays["reason"].to_pylist()]),
        "repaired": arrays["repaired"].cast(pa.bool_()),
    }


_BODIES: dict[Kind, Callable[[Columns], Columns]] = {
    Kind.BOOK: _books,
    Kind.TRADE: _trades,
    Kind.QUOTE: _quotes,
    Kind.CANDLE: _candles,
    Kind.FUNDING: _funding,
    Kind.LIQUIDATION: _liquidations,
    Kind.GAP: _gaps,
}

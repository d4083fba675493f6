"""From the words of a journal to tables for people: exact decimals, times in UTC, names instead of numbers.

These are the columns of the Parquet files. Nothing is rounded. Times are UTC with nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from raven.journal.schema import SCHEMAS
from raven.records import FUNDING_SCALE, GapReason, Kind
from raven.topics import DataType

__all__ = ["DECIMAL", "SHORT", "decimals_of", "decoded", "narrow", "records_of", "table_of", "wide"]

_NS = pa.timestamp("ns", tz="UTC")
_MS = pa.timestamp("ms", tz="UTC")
DECIMAL = pa.decimal128(38, 18)
"""Of every price and quantity here: wide enough for all that Raven can publish."""
SHORT = pa.decimal128(32, 12)
"""Of every price and quantity in files, unless that would lose a digit: a trade takes a byte less. It is the same in
nearly every file, because some programs take the scale of the first file for all and would round the others."""

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
        "data_type": _texts(types, arrays["data_type"]),
        "count": arrays["count"],
        "first_id": arrays["first_id"],
        "last_id": arrays["last_id"],
        "reason": _texts(reasons, arrays["reason"]),
        "repaired": arrays["repaired"].cast(pa.bool_()),
    }


def _texts(names: Mapping[int, str], numbers: pa.Array) -> pa.Array:
    """Return names; a number without one stands there as its digits."""
    return pa.array([names.get(number, str(number)) for number in numbers.to_pylist()], pa.string())


_BODIES: dict[Kind, Callable[[Columns], Columns]] = {
    Kind.BOOK: _books,
    Kind.TRADE: _trades,
    Kind.QUOTE: _quotes,
    Kind.CANDLE: _candles,
    Kind.FUNDING: _funding,
    Kind.LIQUIDATION: _liquidations,
    Kind.GAP: _gaps,
}


def decoded(table: pa.Table) -> pa.Table:
    """Return a table with names as texts instead of numbers that stand for them, so that tables can be put together."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table[field.name].cast(field.type.value_type))
    return table


def narrow(table: pa.Table) -> pa.Table:
    """Return a table as files have it: with `SHORT` decimals, unless one of them has more digits."""
    try:
        return _with_decimals(table, SHORT)
    except pa.ArrowInvalid:
        return table


def wide(table: pa.Table) -> pa.Table:
    """Return a table of a file as the others are here, with `DECIMAL` decimals."""
    return _with_decimals(table, DECIMAL)


def decimals_of(schema: pa.Schema) -> set[pa.DataType]:
    """Return the types of the decimals in a table."""
    types = [field.type.value_type if pa.types.is_list(field.type) else field.type for field in schema]
    return {one for one in types if pa.types.is_decimal(one)}


def _with_decimals(table: pa.Table, kind: pa.DataType) -> pa.Table:
    fields = [
        field.with_type(kind)
        if pa.types.is_decimal(field.type)
        else field.with_type(pa.list_(field.type.value_field.with_type(kind)))
        if pa.types.is_list(field.type) and pa.types.is_decimal(field.type.value_type)
        else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def records_of(kind: Kind, table: pa.Table) -> pa.Table:
    """Return the words that `table_of` made a table of, with the columns of `raven.journal.schema.SCHEMAS`.

    The topic is 0, and each column has the smallest scale at which all its values are exact.
    """
    arrays = {name: _plain(table[name]) for name in table.column_names}
    prices, quantities = _SCALED.get(kind, ((), ()))
    scales = {"price_scale": _scale(arrays, prices), "quantity_scale": _scale(arrays, quantities)}
    columns: Columns = {
        "topic": pa.repeat(pa.scalar(0, pa.uint32()), len(table)),
        "recv_ns": arrays["recv_time"].cast(pa.int64()),
        "exchange_ns": arrays["exchange_time"].cast(pa.int64()),
        **{name: pa.repeat(pa.scalar(scale, pa.uint8()), len(table)) for name, scale in scales.items()},
        **{name: _words(arrays[name], scales["price_scale"]) for name in prices},
        **{name: _words(arrays[name], scales["quantity_scale"]) for name in quantities},
    }
    for name, (source, convert) in _WORDS.get(kind, {}).items():
        columns[name] = convert(arrays[source])
    schema = SCHEMAS[kind]
    everything = arrays | columns
    return pa.table([everything[field.name].cast(field.type) for field in schema], schema=schema)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.cast(whole.type.value_type) if pa.types.is_dictionary(whole.type) else whole


_SAMPLE = 256


def _scale(arrays: Columns, names: Sequence[str]) -> int:
    """Return the smallest scale that loses no digit of these columns."""
    scale = 0
    for name in names:
        values = arrays[name].flatten() if pa.types.is_list(arrays[name].type) else arrays[name]
        # The first rows tell it nearly always, at a price that does not matter; all of them decide.
        for part in (values.slice(0, _SAMPLE), values):
            while not _is_exact(part, scale):
                scale += 1
    return scale


def _is_exact(values: pa.Array, scale: int) -> bool:
    try:
        values.cast(pa.decimal128(38, scale))
    except pa.ArrowInvalid:
        return False
    return True


def _words(values: pa.Array, scale: int) -> pa.Array:
    if pa.types.is_list(values.type):
        return pa.ListArray.from_arrays(_offsets(values), _words(values.flatten(), scale))
    here = values.cast(pa.decimal128(38, scale))
    # The same 128-bit integers, read without a scale.
    return pa.Array.from_buffers(pa.decimal128(38, 0), len(here), here.buffers(), offset=here.offset).cast(pa.int64())


def _is(word: str) -> Callable[[pa.Array], pa.Array]:
    return lambda values: pc.equal(values, word).cast(pa.int64())


def _numbers_of(enum: type[DataType] | type[GapReason]) -> Callable[[pa.Array], pa.Array]:
    numbers = {one.name.lower(): int(one) for one in enum}
    # A number without a name stands there as its digits.
    return lambda values: pa.array(
        [numbers[name] if name in numbers else int(name) for name in values.to_pylist()], pa.int64()
    )


_SCALED: dict[Kind, tuple[Sequence[str], Sequence[str]]] = {
    Kind.BOOK: (("bid_prices", "ask_prices"), ("bid_quantities", "ask_quantities")),
    Kind.TRADE: (("price",), ("quantity",)),
    Kind.QUOTE: (("bid_price", "ask_price"), ("bid_quantity", "ask_quantity")),
    Kind.CANDLE: (("open", "high", "low", "close"), ("volume", "buy_volume")),
    Kind.LIQUIDATION: (("price", "average_price"), ("quantity",)),
}


def _of_funding(values: pa.Array) -> pa.Array:
    return _words(values, FUNDING_SCALE)


_WORDS: dict[Kind, dict[str, tuple[str, Callable[[pa.Array], pa.Array]]]] = {
    Kind.TRADE: {"taker_sells": ("side", _is("sell"))},
    Kind.CANDLE: {"open_time_ms": ("open_time", lambda times: times.cast(pa.int64()))},
    Kind.FUNDING: {name: (name, _of_funding) for name in ("mark_price", "index_price", "rate", "settle_price")}
    | {"next_funding_ms": ("next_funding_time", lambda times: times.cast(pa.int64()))},
    Kind.LIQUIDATION: {"is_sell": ("side", _is("sell"))},
    Kind.GAP: {"data_type": ("data_type", _numbers_of(DataType)), "reason": ("reason", _numbers_of(GapReason))},
}
"""By kind and word: the column that says it, and how to read it."""

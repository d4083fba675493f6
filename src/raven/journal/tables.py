"""From the words of a journal to tables for people: exact decimals, times in UTC, names instead of numbers.

These are the columns of the Parquet files. Nothing is rounded. Times are UTC with nanoseconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from raven._core import BarSpec
from raven.journal.schema import SCHEMAS
from raven.records import BAR_PARAMETERS, FUNDING_SCALE, BarQuality, GapReason, Kind
from raven.topics import DataType

__all__ = ["DECIMAL", "SHORT", "decimals_of", "decoded", "narrow", "records_of", "table_of", "wide"]

_NS = pa.timestamp("ns", tz="UTC")
_MS = pa.timestamp("ms", tz="UTC")
_WORD = 0xFFFF_FFFF_FFFF_FFFF
# Of a bar's word of quality, see `BarWord.QUALITY`.
_PART_BIT, _PART_MASK = 8, 0xFF_FFFF
_REVISION_BIT = 32
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
    return _scaled(mantissas.cast(pa.decimal128(19, 0)), scales)


def _scaled(whole: pa.Array, scales: pa.Array) -> pa.Array:
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


def _bars(arrays: Columns) -> Columns:
    prices = {name: _column(arrays, name, "price_scale") for name in ("open", "high", "low", "close")}
    volumes = {name: _column(arrays, name, "quantity_scale") for name in ("volume", "buy_volume")}
    volumes["sell_volume"] = _decimals(pc.subtract(arrays["volume"], arrays["buy_volume"]), arrays["quantity_scale"])
    quality = arrays["quality"]
    return {
        "open_time": arrays["open_time_ms"].cast(_MS),
        "close_time": arrays["close_time_ms"].cast(_MS),
        **prices,
        **volumes,
        "quote_volume": _quote_volumes(arrays),
        **{name: arrays[name] for name in ("buy_ticks", "sell_ticks")},
        "theta": _doubles(arrays["theta"]),
        "threshold": _doubles(arrays["threshold"]),
        **{name: arrays[name] for name in ("first_trade_id", "last_trade_id")},
        "interval": _intervals(arrays),
        "part": pc.bit_wise_and(pc.shift_right(quality, _PART_BIT), _PART_MASK),
        "complete": _has(quality, BarQuality.COMPLETE),
        "warming_up": _has(quality, BarQuality.WARMING_UP),
        "gap_count": arrays["gap_count"],
        "revision": pc.shift_right(quality, _REVISION_BIT),
    }


def _quote_volumes(arrays: Columns) -> pa.Array:
    """Put low and high words together: signed 128-bit integers with the scales of price and quantity together."""
    words = array("q", bytes(16 * len(arrays["quote_volume"])))
    words[0::2] = array("q", arrays["quote_volume"].to_pylist())
    words[1::2] = array("q", arrays["quote_volume_high"].to_pylist())
    scales = pc.add(arrays["price_scale"], arrays["quantity_scale"])
    whole = pa.Array.from_buffers(pa.decimal128(38, 0), len(scales), [None, pa.py_buffer(words)])
    return _scaled(whole, scales)


def _doubles(words: pa.Array) -> pa.Array:
    return pa.Array.from_buffers(pa.float64(), len(words), words.buffers(), offset=words.offset)


def _has(quality: pa.Array, bit: BarQuality) -> pa.Array:
    return pc.not_equal(pc.bit_wise_and(quality, int(bit)), 0)


def _intervals(arrays: Columns) -> pa.Array:
    """Return what `interval` says of each bar. A file has bars of few rules, so each is looked up once."""
    names = ["rule", *(f"parameter_{number}" for number in range(BAR_PARAMETERS))]
    rules = list(zip(*(arrays[name].to_pylist() for name in names), strict=True))
    labels = {rule: BarSpec.of_words([word & _WORD for word in rule]).label for rule in set(rules)}
    return pa.array([labels[rule] for rule in rules], pa.string())


_BODIES: dict[Kind, Callable[[Columns], Columns]] = {
    Kind.BOOK: _books,
    Kind.TRADE: _trades,
    Kind.QUOTE: _quotes,
    Kind.CANDLE: _candles,
    Kind.FUNDING: _funding,
    Kind.LIQUIDATION: _liquidations,
    Kind.GAP: _gaps,
    Kind.BAR: _bars,
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
    if kind is Kind.BAR:
        # A sum of prices times quantities may need decimals that the prices of the bar itself do not show.
        while not _is_exact(arrays["quote_volume"], sum(scales.values())):
            scales["price_scale"] += 1
        arrays |= _bar_words(arrays, sum(scales.values()))
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


def _bar_words(arrays: Columns, quote_scale: int) -> Columns:
    """Return the words of bars that are not columns of their table."""
    whole = arrays["quote_volume"].cast(pa.decimal128(38, quote_scale))
    halves = memoryview(whole.buffers()[1]).cast("B").cast("q")[2 * whole.offset : 2 * (whole.offset + len(whole))]
    bits = {"complete": BarQuality.COMPLETE, "warming_up": BarQuality.WARMING_UP}
    quality = pc.bit_wise_or(
        pc.shift_left(arrays["revision"].cast(pa.int64()), _REVISION_BIT),
        pc.shift_left(arrays["part"].cast(pa.int64()), _PART_BIT),
    )
    for name, bit in bits.items():
        quality = pc.bit_wise_or(quality, pc.multiply(arrays[name].cast(pa.int64()), int(bit)))
    labels = arrays["interval"].to_pylist()
    rules = {label: [_signed(word) for word in BarSpec.of_label(label).words] for label in set(labels)}
    names = ["rule", *(f"parameter_{number}" for number in range(BAR_PARAMETERS))]
    return {
        "open_time_ms": arrays["open_time"].cast(_MS).cast(pa.int64()),
        "close_time_ms": arrays["close_time"].cast(_MS).cast(pa.int64()),
        "quote_volume": pa.array(halves[0::2].tolist(), pa.int64()),
        "quote_volume_high": pa.array(halves[1::2].tolist(), pa.int64()),
        "quality": quality,
        **{name: _bits(arrays[name]) for name in ("theta", "threshold")},
        **{name: pa.array([rules[label][at] for label in labels], pa.int64()) for at, name in enumerate(names)},
    }


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _bits(doubles: pa.Array) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(doubles), doubles.buffers(), offset=doubles.offset)


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
    Kind.BAR: (("open", "high", "low", "close"), ("volume", "buy_volume")),
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

"""Batches as a sink gets them, made from the words of the journal, so that their columns are the true ones."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from raven._core import BarSpec
from raven.journal.schema import SCHEMAS, type_name
from raven.journal.tables import table_of
from raven.ports import SinkBatch
from raven.records import BarQuality, Kind
from raven.topics import DataType

MS = 1_000_000
START_NS = 1_700_000_000_000 * MS
VENUE = "binance_futures"


def trades(count: int, *, first_id: int = 1, per_ms: int = 3, symbol: str = "BTCUSDT", **words: Any) -> SinkBatch:
    """Trades of consecutive ids, several in each millisecond, at 61800.0 and upwards."""
    ids = range(first_id, first_id + count)
    columns = {
        "exchange_ns": [START_NS + (number // per_ms) * MS for number in ids],
        "recv_ns": [START_NS + (number // per_ms) * MS + 2 * MS + number % 1_000 for number in ids],
        "id": list(ids),
        "price": [618_000 + number % 50 for number in ids],
        "quantity": [1 + number % 2_000 for number in ids],
        "taker_sells": [number % 2 for number in ids],
        "first_fill_id": [2 * number for number in ids],
        "last_fill_id": [2 * number + 1 for number in ids],
    }
    return batch("trades", Kind.TRADE, count, columns | words, symbol=symbol)


def quotes(count: int, **words: Any) -> SinkBatch:
    """Quotes, all of one millisecond."""
    columns = {"bid_price": 618_000, "bid_quantity": 5, "ask_price": 618_001, "ask_quantity": 7}
    return batch("quotes", Kind.QUOTE, count, columns | words)


def books(count: int, *, levels: int = 20, **words: Any) -> SinkBatch:
    """Books, one a second, of so many levels a side."""
    columns: dict[str, Any] = {"exchange_ns": [START_NS + number * 1_000 * MS for number in range(count)]}
    for side, step in (("bid", -1), ("ask", 1)):
        columns[f"{side}_prices"] = [[618_000 + step * (1 + level) for level in range(levels)]] * count
        columns[f"{side}_quantities"] = [[10 + level for level in range(levels)]] * count
        columns[f"{side}_proven"] = levels
    return batch("orderbook", Kind.BOOK, count, columns | words)


def candles(count: int, **words: Any) -> SinkBatch:
    """Candles of one minute, one after the other."""
    opens = [START_NS // MS + number * 60_000 for number in range(count)]
    columns = {
        "exchange_ns": [one * MS + 60_000 * MS for one in opens],
        "open_time_ms": opens,
        "open": 618_000,
        "high": 618_100,
        "low": 617_900,
        "close": 618_050,
        "volume": 12_345,
        "buy_volume": 6_000,
        "interval_s": 60,
        "ticks": 100,
        "closed": 1,
    }
    return batch("candles_1m", Kind.CANDLE, count, columns | words)


def fundings(count: int, **words: Any) -> SinkBatch:
    """Mark prices, one a second; the rate is 0.00000001 and negative in every second one."""
    columns = {
        "exchange_ns": [START_NS + number * 1_000 * MS for number in range(count)],
        "mark_price": 6_180_012_345_678,
        "index_price": 6_180_000_000_000,
        "rate": [1 if number % 2 == 0 else -1 for number in range(count)],
        "settle_price": 6_180_000_000_000,
        "next_funding_ms": START_NS // MS + 3_600_000,
    }
    return batch("funding_rates", Kind.FUNDING, count, columns | words)


def liquidations(count: int, **words: Any) -> SinkBatch:
    """Forced orders, all of one millisecond."""
    columns = {"price": 617_000, "average_price": 617_005, "quantity": 100, "is_sell": 1}
    return batch("liquidations", Kind.LIQUIDATION, count, columns | words)


def gaps(count: int, **words: Any) -> SinkBatch:
    """Holes in trades that the journal found itself: they have neither id nor sequence."""
    columns = {
        "exchange_ns": [START_NS + number * 1_000 * MS for number in range(count)],
        "sequence": 0,
        "id": 0,
        "data_type": 1,
        "count": [1 + number for number in range(count)],
        "first_id": [10 * number for number in range(count)],
        "last_id": [10 * number + 5 for number in range(count)],
        "reason": 1,
        "repaired": 0,
    }
    return batch("gaps", Kind.GAP, count, columns | words)


ONE_MINUTE = BarSpec("time", [60.0])


def bars(count: int, *, spec: BarSpec = ONE_MINUTE, symbol: str = "BTCUSDT", **words: Any) -> SinkBatch:
    """Bars, one a minute, each of a hundred trades."""
    opens = [START_NS // MS + number * 60_000 for number in range(count)]
    columns = {
        "exchange_ns": [(one + 59_999) * MS for one in opens],
        "id": [100 * (number + 1) for number in range(count)],
        "open_time_ms": opens,
        "close_time_ms": [one + 59_999 for one in opens],
        "open": 618_000,
        "high": 618_100,
        "low": 617_900,
        "close": 618_050,
        "volume": 12_345,
        "buy_volume": 6_000,
        "quote_volume": 7_629_210_001,
        "quote_volume_high": 0,
        "buy_ticks": 60,
        "sell_ticks": 40,
        "theta": bits(20.0),
        "threshold": 0,
        "first_trade_id": [100 * number + 1 for number in range(count)],
        "last_trade_id": [100 * (number + 1) for number in range(count)],
        "gap_count": 0,
        "quality": quality(),
        **dict(zip(("rule", *(f"parameter_{number}" for number in range(8))), spec.words, strict=True)),
    }
    name = type_name(Kind.BAR, DataType(spec.data_type))
    return batch(name, Kind.BAR, count, columns | words, symbol=symbol)


def tick_bars(count: int, **words: Any) -> SinkBatch:
    """Bars of ten trades each, which all happened in one millisecond."""
    ids = {
        "first_trade_id": [10 * number + 1 for number in range(count)],
        "last_trade_id": [10 * number + 10 for number in range(count)],
    }
    times = {"open_time_ms": START_NS // MS, "close_time_ms": START_NS // MS}
    return bars(count, **({"spec": BarSpec("tick", [10.0])} | ids | times | words))


def vpin_bars(count: int, **words: Any) -> SinkBatch:
    """Bars that one large print was split into."""
    parts = [quality(part=number) for number in range(count)]
    ids = {"first_trade_id": 7, "last_trade_id": 7, "quality": parts}
    return tick_bars(count, **({"spec": BarSpec("vpin", [0.5, 50.0])} | ids | words))


def bits(double: float) -> int:
    """Return a double as the word of a record."""
    word: int = struct.unpack("<q", struct.pack("<d", double))[0]
    return word


def quality(revision: int = 0, *, complete: bool = True, part: int = 0) -> int:
    """Return the word of a bar that says so."""
    return revision << 32 | part << 8 | (BarQuality.COMPLETE if complete else 0)


_MAKERS = (trades, quotes, books, candles, fundings, liquidations, gaps, bars, tick_bars, vpin_bars)
EVERY_TYPE = {one.__name__: one for one in _MAKERS}
"""One function per type; each takes the number of records first."""


def batch(
    type_name: str, kind: Kind, count: int, words: Mapping[str, Any], *, symbol: str = "BTCUSDT", run: str = "run-1"
) -> SinkBatch:
    """Return a batch of `count` records; a word is a value for all of them or one for each."""
    defaults = {
        "topic": 1,
        "sequence": list(range(1, count + 1)),
        "recv_ns": START_NS + 3 * MS,
        "exchange_ns": START_NS,
        "id": list(range(1, count + 1)),
        "price_scale": 1,
        "quantity_scale": 3,
    }
    values = defaults | dict(words)
    arrays = []
    for field in SCHEMAS[kind]:
        value = values.get(field.name, 0)
        arrays.append(pa.array(value if isinstance(value, Sequence) else [value] * count, field.type))
    table = table_of(kind, pa.table(arrays, schema=SCHEMAS[kind]), run)
    for name, value in (("symbol", symbol), ("venue", VENUE)):
        table = table.add_column(0, name, pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), [value]))
    return SinkBatch(type_name, table)

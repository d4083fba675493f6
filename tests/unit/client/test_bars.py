"""Bars as a client gets them: over the wire and back, against what `raven.bars.build` says of the same trades."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from raven._core import Hub, LiveBars, Receiver
from raven.bars import BAR_KINDS, bar_spec, build
from raven.client import Bar, Candle
from raven.client.decode import decode
from raven.client.tables import make_batch
from raven.proto.market_data_pb2 import Candle as CandleBody
from raven.proto.market_data_pb2 import MarketDataMessage
from raven.records import BarWord, Flags, Kind
from raven.topics import DataType

START_MS = 1_700_000_000_000
PARAMETERS: dict[str, dict[str, Any]] = {
    "time": {"seconds": 1},
    "tick": {"ticks": 7},
    "volume": {"volume": 0.1, "split": True},
    "quote_volume": {"quote_volume": 1e4},
    "tick_imbalance": {"initial_size": 8},
    "volume_imbalance": {"initial_size": 0.08},
    "tick_run": {"initial_size": 8},
    "volume_run": {"initial_size": 0.08},
    "vpin": {"bucket_volume": 0.1, "buckets": 3},
}

Row = tuple[int, int, int, bool, int]
"""Time in ms, price in tenths, quantity in thousandths, whether the taker sold, id."""


def rows(count: int = 100) -> list[Row]:
    return [(START_MS + 70 * n, 610_000 + n % 7, 1 + n % 23, n % 3 == 0, n + 1) for n in range(count)]


def sent(kind: str, parameters: dict[str, Any], trades: list[Row]) -> list[MarketDataMessage]:
    """Make bars of published trades, and parse what a server would send of them."""
    hub, spec = Hub(), bar_spec(kind, **parameters)
    writer = hub.create_topic("binance_futures", "BTCUSDT", int(DataType.TRADES), 1 << 16)
    for time_ms, price, quantity, sells, number in trades:
        scales = {"price_scale": 1, "quantity_scale": 3}
        writer.trade(time_ms * 10**6 + 5, time_ms * 10**6, number, price, quantity, **scales, taker_sells=sells)
    live = LiveBars(spec, hub, hub)
    topic, _ = live.add(writer.topic_id)
    reader = hub.reader(topic)
    live.step(START_MS, 10_000)
    messages = []
    for record in reader.drain():
        message = MarketDataMessage()
        message.ParseFromString(record.encode("binance_futures", "BTCUSDT", spec.data_type))
        messages.append(message)
    return messages


def built(kind: str, parameters: dict[str, Any], trades: list[Row]) -> list[dict[str, Any]]:
    names = ("timestamp", "price", "quantity", "side", "trade_id")
    columns = zip(*((t, p / 10, q / 1000, "sell" if s else "buy", n) for t, p, q, s, n in trades), strict=True)
    table = pa.table({name: list(column) for name, column in zip(names, columns, strict=True)})
    return build(table, kind, open_bar=False, details=True, **parameters).to_pylist()


@pytest.mark.parametrize("kind", BAR_KINDS)
def test_a_client_gets_what_is_built_of_the_same_trades(kind: str) -> None:
    messages = sent(kind, PARAMETERS[kind], rows())

    bars = [event for message in messages for event in decode(message)]

    expected = built(kind, PARAMETERS[kind], rows())
    assert len(bars) == len(expected) > 2
    spec = bar_spec(kind, **PARAMETERS[kind])
    for bar, row in zip(bars, expected, strict=True):
        assert isinstance(bar, Bar)
        assert (bar.open_time_ms, bar.close_time_ms) == (row.pop("timestamp"), row.pop("close_time"))
        assert row.pop("symbol") is None
        assert {name: getattr(bar, name) for name in row} == row
        assert (bar.config_hash, bar.interval) == (spec.config_hash, spec.label)
        assert (bar.venue, bar.symbol) == ("binance_futures", "BTCUSDT")
        assert bar.exchange_ns == bar.close_time_ms * 1_000_000
        assert bar.recv_ns % 1_000_000 == 5, "of the trade that ended it"


def test_the_generated_stub_names_every_field_of_a_bar() -> None:
    (first, *_) = sent("tick_imbalance", PARAMETERS["tick_imbalance"], rows())

    named = {field.name: field.number for field, _ in first.candle.ListFields()}

    own = {name: number for name, number in named.items() if number > 100}
    assert own == {
        "close_time": 101,
        "quote_volume": 102,
        "vwap": 103,
        "buy_volume": 104,
        "sell_volume": 105,
        "first_trade_id": 106,
        "last_trade_id": 107,
        "complete": 108,
        "config_hash": 111,
        "warming_up": 112,
        "threshold": 113,
        "words": 119,
    }
    known = {field.name: field.number for field in CandleBody.DESCRIPTOR.fields}
    assert known["gap_count"] == 109
    assert known["revision"] == 110
    assert len(first.candle.words) == 8 * (BarWord.PARAMETERS + 8)


def test_parts_of_a_print_are_told_apart() -> None:
    large = [(START_MS, 610_000, 250, False, 1)]

    bars = [decode(message)[0] for message in sent("volume", {"volume": 0.1, "split": True}, large)]

    assert [(bar.first_trade_id, bar.part, bar.total_ticks) for bar in bars if isinstance(bar, Bar)] == [
        (1, 0, 1),
        (1, 1, 0),
    ]


def test_a_late_trade_sends_the_bar_again_with_a_higher_revision() -> None:
    trades = [row for row in rows(20) if row[4] != 3]
    late = rows(20)[2]

    first, *_, again = (
        bar
        for message in sent("tick", {"ticks": 5}, [*trades, late])
        for bar in decode(message)
        if isinstance(bar, Bar)
    )

    assert (first.complete, first.gap_count, first.revision, first.total_ticks) == (False, 1, 0, 5)
    assert (again.complete, again.gap_count, again.revision, again.total_ticks) == (True, 0, 2, 6)
    assert (again.open_time_ms, again.first_trade_id) == (first.open_time_ms, first.first_trade_id)
    assert again.quality & Flags.BACKFILLED


def test_a_candle_of_the_venue_is_no_bar() -> None:
    body = CandleBody(symbol="BTCUSDT", timestamp=START_MS, open=1, high=2, low=1, close=2, volume=3, interval="1m")

    (candle,) = decode(MarketDataMessage(candle=body, venue="binance_futures"))

    assert isinstance(candle, Candle)
    assert not isinstance(candle, Bar)
    assert (candle.open_time_ms, candle.close, candle.interval) == (START_MS, 2.0, "1m")


def test_a_printed_bar_is_short_and_says_what_it_lacks() -> None:
    trades = [row for row in rows(20) if row[4] != 3]

    first, second, *_ = (decode(message)[0] for message in sent("tick", {"ticks": 5}, trades))

    assert (
        str(first) == "Bar(BTCUSDT tick_5 61000.0 61000.5 61000.0 61000.5, volume 0.018, incomplete, 1 trades missing)"
    )
    assert str(second) == "Bar(BTCUSDT tick_5 61000.6 61000.6 61000.0 61000.3, volume 0.045)"


@pytest.mark.parametrize("kind", BAR_KINDS)
def test_a_batch_of_bars_has_the_same_numbers_as_the_records(kind: str) -> None:
    messages = sent(kind, PARAMETERS[kind], rows())
    receiver = Receiver()
    for message in messages:
        receiver.collect(1, message.SerializeToString())

    ((taken, count, buffers),) = receiver.take()
    batch = make_batch(Kind(taken), count, buffers, receiver.names())

    bars = [event for message in messages for event in decode(message)]
    assert (batch.kind, len(batch)) == ("bars", len(bars))
    same = (
        *("open", "high", "low", "close", "volume", "buy_volume", "sell_volume", "quote_volume", "theta", "threshold"),
        *("first_trade_id", "last_trade_id", "interval", "part", "complete", "warming_up", "gap_count", "revision"),
        *("sequence", "flags", "symbol", "venue"),
    )
    for bar, row in zip(bars, batch.records.to_pylist(), strict=True):
        assert isinstance(bar, Bar)
        assert {name: row[name] for name in same} == {name: getattr(bar, name) for name in same}
        assert (row["buy_ticks"], row["sell_ticks"]) == (bar.buy_ticks, bar.sell_ticks)
    times = batch.records.column("open_time").cast(pa.int64()).to_pylist()
    assert times == [bar.open_time_ms for bar in bars if isinstance(bar, Bar)]
    assert [topic[2] for topic in receiver.heard()] == [bar_spec(kind, **PARAMETERS[kind]).data_type]

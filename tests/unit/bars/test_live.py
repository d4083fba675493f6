"""Live, in pieces, after a restart, offline: the same trades make the same bars."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raven._core import BarBuilder, Hub, LiveBars, Record, Writer
from raven.bars import BAR_KINDS, bar_spec, build
from raven.records import BarQuality, BarWord, Kind, decimal
from raven.topics import DataType

# Of `BarWord.QUALITY`.
PART_BIT, PART_MASK = 8, 0xFF_FFFF

Trade = tuple[int, int, int, bool, int]
"""Time in ms, price in tenths, quantity in thousandths, whether the taker sold, id."""

PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "time": [{"seconds": 1}, {"seconds": 0.25, "empty": True}],
    "tick": [{"ticks": 3}],
    "volume": [{"volume": 0.01}, {"volume": 0.01, "split": True}],
    "quote_volume": [{"quote_volume": 0.5}, {"quote_volume": 0.5, "split": True}],
    "tick_imbalance": [{"initial_size": 8}, {"initial_size": 8, "rule": "literal", "direction": "tick_rule"}],
    "volume_imbalance": [{"initial_size": 0.05}, {"initial_size": 0.05, "rule": "literal"}],
    "tick_run": [{"initial_size": 8}],
    "volume_run": [{"initial_size": 0.05}],
    "vpin": [{"bucket_volume": 0.01, "buckets": 3}],
}
FIRST: Trade = (1_700_000_000_000, 991, 1, False, 100)
"""Before all others, with as many decimals as there are."""
CASES = [(kind, parameters) for kind in BAR_KINDS for parameters in PARAMETERS[kind]]


@st.composite
def flows(draw: st.DrawFn) -> list[Trade]:
    """Trades with holes in their ids, some of which are filled late, and some that come twice."""
    waits, prices, quantities = st.integers(0, 700), st.integers(990, 1010), st.integers(1, 30)
    id_steps = st.sampled_from([1] * 8 + [2, 4])
    steps = draw(st.lists(st.tuples(waits, prices, quantities, st.booleans(), id_steps), max_size=120))
    trades: list[Trade] = []
    now, number = 1_700_000_000_000, 100
    for wait, price, quantity, sells, step in steps:
        now += wait
        number += step
        trades.append((now, price, quantity, sells, number))
    for row in draw(st.lists(st.integers(0, max(0, len(trades) - 1)), max_size=4)):
        if trades:
            # A neighbour that was skipped, or one that is there.
            time_ms, price, quantity, sells, number = trades[row]
            trades.insert(min(len(trades), row + 3), (time_ms, price, quantity, sells, number - 1))
    return trades


def table_of(trades: list[Trade]) -> pa.Table:
    columns = list(zip(*trades, strict=True)) or [[]] * 5
    return pa.table(
        {
            "timestamp": pa.array(columns[0], pa.int64()),
            "price": pa.array([str(decimal(price, 1)) for price in columns[1]], pa.string()),
            "quantity": pa.array([str(decimal(quantity, 3)) for quantity in columns[2]], pa.string()),
            "side": pa.array(["sell" if sells else "buy" for sells in columns[3]], pa.string()),
            "trade_id": pa.array(columns[4], pa.int64()),
        }
    )


def publish(writer: Writer, trade: Trade, recv_ns: int, *, finer: int = 0) -> None:
    time_ms, price, quantity, sells, number = trade
    writer.trade(
        recv_ns,
        time_ms * 1_000_000,
        number,
        price * 10**finer,
        quantity * 10**finer,
        price_scale=1 + finer,
        quantity_scale=3 + finer,
        taker_sells=sells,
    )


def bar_of(record: Record) -> dict[str, Any]:
    """A record as a row of `build(exact=True)`."""
    words = record.body
    price = {
        name: decimal(words[BarWord[name.upper()]], record.price_scale) for name in ("open", "high", "low", "close")
    }
    quote = words[BarWord.QUOTE_VOLUME + 1] << 64 | words[BarWord.QUOTE_VOLUME] & (1 << 64) - 1
    (theta,) = struct.unpack("<d", struct.pack("<q", words[BarWord.THETA]))
    volume, bought = words[BarWord.VOLUME], words[BarWord.BUY_VOLUME]
    quality = words[BarWord.QUALITY]
    return {
        "timestamp": words[BarWord.OPEN_TIME_MS],
        "close_time": words[BarWord.CLOSE_TIME_MS],
        **price,
        "volume": decimal(volume, record.quantity_scale),
        "quote_volume": decimal(quote, record.price_scale + record.quantity_scale),
        "buy_volume": decimal(bought, record.quantity_scale),
        "sell_volume": decimal(volume - bought, record.quantity_scale),
        "buy_ticks": words[BarWord.BUY_TICKS],
        "sell_ticks": words[BarWord.SELL_TICKS],
        "theta": theta,
        "first_trade_id": words[BarWord.FIRST_TRADE_ID],
        "last_trade_id": words[BarWord.LAST_TRADE_ID],
        "complete": bool(quality & BarQuality.COMPLETE),
        "gap_count": words[BarWord.GAP_COUNT],
        "revision": quality >> 32,
    }


def key_of(record: Record, kind: str) -> tuple[int, ...]:
    """What tells a bar from others, and stays when it is corrected."""
    words = record.body
    if kind == "time":
        return (words[BarWord.OPEN_TIME_MS],)
    part = words[BarWord.QUALITY] >> PART_BIT & PART_MASK
    return (words[BarWord.OPEN_TIME_MS], words[BarWord.FIRST_TRADE_ID], part)


class Stage:
    """A topic of trades and the bars made of it."""

    def __init__(self, kind: str, parameters: dict[str, Any]) -> None:
        self.kind, self.spec = kind, bar_spec(kind, **parameters)
        self.hub, self.target = Hub(), Hub()
        self.writer = self.hub.create_topic("binance", "BTCUSDT", DataType.TRADES, 1 << 20)
        self.live = LiveBars(self.spec, self.hub, self.target)
        self.topic, _ = self.live.add(self.writer.topic_id)
        self.reader = self.target.reader(self.topic)
        self.bars: list[tuple[tuple[int, ...], dict[str, Any]]] = []
        """Keys and bars, as they came."""

    def step(self) -> None:
        # The clock stands: bars of the clock end with the next trade, as they do offline.
        self.live.step(0, 10_000)
        for record in self.reader.drain(100_000):
            assert record.kind == Kind.BAR
            self.bars.append((key_of(record, self.kind), bar_of(record)))

    def restart(self) -> None:
        state = self.live.state(self.topic)
        self.live.remove(self.topic)
        self.live = LiveBars(self.spec, self.hub, self.target)
        self.topic, is_continued = self.live.add(self.writer.topic_id, state=state, from_start=False)
        assert is_continued
        self.reader = self.target.reader(self.topic)


def offline(trades: list[Trade], kind: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    table = build(table_of(trades), kind, open_bar=False, exact=True, **parameters)
    return table.drop_columns(["symbol", "vwap", "total_ticks", "interval"]).to_pylist()


def rounds(kind: str, parameters: dict[str, Any]) -> bool:
    """Whether what fits of a print is rounded to the decimals that quantities have had: then those must be the same."""
    return kind == "quote_volume" and "split" in parameters


@pytest.mark.parametrize(("kind", "parameters"), CASES)
@settings(max_examples=40, deadline=None)
@given(trades=flows(), chunks=st.lists(st.integers(1, 20), max_size=12), finer=st.integers(0, 110))
def test_live_bars_are_the_offline_bars_whatever_the_chunks(
    kind: str, parameters: dict[str, Any], trades: list[Trade], chunks: list[int], finer: int
) -> None:
    if rounds(kind, parameters):
        trades, finer = [FIRST, *trades], len(trades) + 1
    stage = Stage(kind, parameters)
    ends = {sum(chunks[: number + 1]) for number in range(len(chunks))}
    for number, trade in enumerate(trades):
        # Some venues send longer decimals after a while.
        publish(stage.writer, trade, number, finer=int(number > finer))
        if number in ends:
            stage.step()
    stage.step()

    newest = dict(stage.bars)
    assert sorted(newest.values(), key=lambda bar: bar["timestamp"]) == offline(trades, kind, parameters)


@pytest.mark.parametrize(("kind", "parameters"), CASES)
@settings(max_examples=25, deadline=None)
@given(trades=flows(), cut=st.integers(0, 120))
def test_a_restart_changes_nothing(kind: str, parameters: dict[str, Any], trades: list[Trade], cut: int) -> None:
    # What comes late can correct only bars that this run has closed.
    trades = [trade for number, trade in enumerate(trades) if all(trade[4] > other[4] for other in trades[:number])]
    if rounds(kind, parameters):
        trades = [FIRST, *trades]
    stage = Stage(kind, parameters)
    for number, trade in enumerate(trades):
        if number == cut:
            stage.step()
            stage.restart()
        publish(stage.writer, trade, number)
    stage.step()

    assert [bar for _, bar in stage.bars] == offline(trades, kind, parameters)


@pytest.mark.parametrize(("kind", "parameters"), CASES)
@settings(max_examples=25, deadline=None)
@given(trades=flows(), pieces=st.lists(st.integers(1, 30), min_size=1, max_size=10))
def test_offline_bars_are_the_same_in_any_pieces(
    kind: str, parameters: dict[str, Any], trades: list[Trade], pieces: list[int]
) -> None:
    whole, cut = BarBuilder(bar_spec(kind, **parameters)), BarBuilder(bar_spec(kind, **parameters))
    at = 0
    for size in [*pieces, len(trades)]:
        take(cut, trades[at : at + size])
        at += size
    take(whole, trades)

    assert cut.columns(with_open_bar=True, exact=True) == whole.columns(with_open_bar=True, exact=True)
    assert cut.counts == whole.counts
    offered, taken, _, known, dropped = whole.counts
    assert offered == len(trades) == taken + known + dropped


def take(builder: BarBuilder, trades: list[Trade]) -> None:
    columns = list(zip(*trades, strict=True)) or [[]] * 5
    time_ms, price, quantity, sells, ids = (struct.pack(f"<{len(trades)}q", *column) for column in columns)
    words = (memoryview(column).cast("q") for column in (time_ms, price, quantity, ids))
    time_words, price_words, quantity_words, id_words = words
    builder.take(time_words, price_words, quantity_words, memoryview(sells)[::8].tobytes(), id_words, 1, 3)


def test_the_clock_ends_bars_when_nothing_is_traded() -> None:
    stage = Stage("time", {"seconds": 1})
    start = 1_700_000_000_000
    publish(stage.writer, (start, 1000, 5, False, 1), 7)

    stage.live.step(start + 1_999, 100)
    assert stage.reader.drain(10) == []
    stage.live.step(start + 2_000, 100)

    (record,) = stage.reader.drain(10)
    assert bar_of(record)["close"] == Decimal(100)
    assert record.recv_ns == 7


def test_what_was_lost_on_the_way_is_seen_by_the_ids() -> None:
    stage = Stage("tick", {"ticks": 2})
    for trade in [(0, 1000, 5, False, 1), (1, 1000, 5, False, 4)]:
        publish(stage.writer, trade, 0)

    stage.step()

    assert [(bar["gap_count"], bar["complete"]) for _, bar in stage.bars] == [(2, False)]


@pytest.mark.parametrize("empty", [False, True])
def test_a_bar_that_the_clock_has_ended_is_corrected_when_its_end_turns_out_to_be_missing(empty: bool) -> None:
    stage = Stage("time", {"seconds": 1, "empty": empty})
    start = 1_700_000_000_000
    publish(stage.writer, (start - 10, 1000, 5, False, 1), 0)
    publish(stage.writer, (start, 1000, 5, False, 2), 0)
    stage.live.step(start + 3_000, 100)
    stage.step()
    before = dict(stage.bars)

    publish(stage.writer, (start + 3_500, 1000, 5, False, 5), 0)
    stage.live.step(start + 5_000, 100)
    stage.step()

    quality = [(bar["complete"], bar["gap_count"], bar["revision"]) for bar in dict(stage.bars).values()]
    assert list(before.values())[1] == stage.bars[1][1]
    assert (before[start,]["complete"], before[start,]["gap_count"]) == (True, 0)
    # Between the two trades that are known, nobody knows which bars the missing ones belong to.
    assert quality[1:] == [(False, 2, 1)] * (2 if empty else 1) + [(False, 2, 0)] * (2 if empty else 1)


def test_a_state_that_does_not_fit_is_not_used() -> None:
    stage = Stage("tick", {"ticks": 2})
    state = stage.live.state(stage.topic)
    assert state is not None

    other = LiveBars(bar_spec("tick", ticks=2), stage.hub, Hub())

    assert other.add(stage.writer.topic_id, state=state[:-1])[1] is False


def test_bars_that_are_there_already_are_refused() -> None:
    stage = Stage("tick", {"ticks": 2})

    with pytest.raises(ValueError, match="exists and has its writer"):
        stage.live.add(stage.writer.topic_id)
    with pytest.raises(KeyError, match="there is no topic 99"):
        stage.live.add(99)

"""`raven.bars.build`: what goes in, what comes out, and what is said when that does not go."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pandas
import polars
import pyarrow as pa
import pytest

from raven.app.history import History
from raven.bars import BAR_KINDS, build
from raven.errors import DataValidation

START = 1_700_000_000_000 - 1_700_000_000_000 % 60_000
COLUMNS = [
    *("symbol", "timestamp", "close_time", "open", "high", "low", "close", "volume", "quote_volume", "vwap"),
    *("buy_volume", "sell_volume", "buy_ticks", "sell_ticks", "total_ticks", "theta", "first_trade_id"),
    *("last_trade_id", "interval", "complete", "gap_count", "revision"),
]
EXAMPLES: dict[str, dict[str, Any]] = {
    "time": {"seconds": 60},
    "tick": {"ticks": 10},
    "volume": {"volume": 5.0},
    "quote_volume": {"quote_volume": 500.0},
    "tick_imbalance": {"initial_size": 20},
    "volume_imbalance": {"initial_size": 20.0},
    "tick_run": {"initial_size": 20},
    "volume_run": {"initial_size": 20.0},
    "vpin": {"bucket_volume": 5.0, "buckets": 3},
}


def trades(*rows: tuple[float, ...], start: int = START) -> pa.Table:
    """Rows of seconds, price, signed quantity (negative: the taker sold) and id."""
    return pa.table(
        {
            "timestamp": pa.array([start + int(row[0] * 1000) for row in rows], pa.int64()),
            "price": pa.array([row[1] for row in rows], pa.float64()),
            "quantity": pa.array([abs(row[2]) for row in rows], pa.float64()),
            "side": pa.array(["sell" if row[2] < 0 else "buy" for row in rows], pa.string()),
            "trade_id": pa.array([int(row[3]) for row in rows], pa.int64()),
        }
    )


def regular(count: int, *, every_s: float = 1.0) -> pa.Table:
    """Trades at 100.0 and 100.1, every third of them a sale, of 0.1 to 0.7."""
    rows = (
        (n * every_s, 100 + (n % 2) / 10, (1 + n % 7) / 10 * (-1 if n % 3 == 0 else 1), n + 1) for n in range(count)
    )
    return trades(*rows)


@pytest.mark.parametrize("kind", BAR_KINDS)
def test_every_kind_has_the_columns_of_the_contract_and_loses_no_trade(kind: str) -> None:
    table = regular(1_000)

    bars = build(table, kind, open_bar=True, **EXAMPLES[kind])

    assert bars.column_names == COLUMNS
    assert sum(bars["total_ticks"].to_pylist()) == len(table)
    assert sum(bars["volume"].to_pylist()) == pytest.approx(sum(table["quantity"].to_pylist()))
    for bar in bars.to_pylist():
        assert bar["buy_ticks"] + bar["sell_ticks"] == bar["total_ticks"]
        assert bar["low"] <= bar["vwap"] <= bar["high"]


@pytest.mark.parametrize("kind", BAR_KINDS)
def test_no_trades_make_no_bars(kind: str) -> None:
    bars = build(regular(0), kind, **EXAMPLES[kind])

    assert (len(bars), bars.column_names) == (0, COLUMNS)


def test_frames_of_every_kind_give_the_same_bars() -> None:
    table = regular(500)
    texts = table.set_column(1, "price", table["price"].cast(pa.string()))
    stamped = table.set_column(0, "timestamp", table["timestamp"].cast(pa.timestamp("ms", "UTC")))
    named = table.set_column(3, "side", table["side"].combine_chunks().dictionary_encode())
    decimals = [Decimal(str(quantity)) for quantity in table["quantity"].to_pylist()]
    as_decimals = table.set_column(2, "quantity", pa.array(decimals, pa.decimal128(38, 18)))
    others = [
        polars.DataFrame(table),
        table.to_pandas(),
        texts,
        stamped,
        named,
        as_decimals,
        table.set_column(4, "trade_id", table["trade_id"].cast(pa.string())),
        pa.concat_tables([table.slice(0, 100), table.slice(100, 1), table.slice(101)]),
    ]
    wanted = build(table, "tick_imbalance", initial_size=20, exact=True)

    for other in others:
        assert build(other, "tick_imbalance", initial_size=20, exact=True).equals(wanted), type(other)


def test_more_decimals_than_exact_bars_have_are_told() -> None:
    fine = regular(2).set_column(2, "quantity", pa.array([Decimal("0.100000000000000006")] * 2))

    with pytest.raises(DataValidation, match=r"quote_volume has 19 decimals.*round prices or quantities"):
        build(fine, "time", seconds=60, exact=True)
    assert build(fine, "time", seconds=60)["quote_volume"][0].as_py() > 0


def test_symbols_are_built_apart() -> None:
    one, two = regular(100), regular(130)
    both = pa.concat_tables(
        part.append_column("symbol", pa.array([name] * len(part)))
        for part, name in ((one, "AAAUSDT"), (two, "BBBUSDT"))
    )

    bars = build(both, "tick", ticks=10)

    assert bars["symbol"].to_pylist() == ["AAAUSDT"] * 10 + ["BBBUSDT"] * 13
    assert bars.slice(10).drop_columns("symbol").equals(build(two, "tick", ticks=10).drop_columns("symbol"))


def test_sums_of_floats_are_exact() -> None:
    (bar,) = build(trades(*((n, 0.1, 0.1, n + 1) for n in range(10))), "tick", ticks=10).to_pylist()

    assert (bar["volume"], bar["quote_volume"]) == (1.0, 0.1)


def test_bars_of_the_clock_lie_on_whole_multiples() -> None:
    bars = build(trades((59.999, 1, 1, 1), (60, 2, 1, 2), (119.999, 3, 1, 3), (240, 4, 1, 4)), "time", seconds=60)

    assert [(bar["timestamp"] - START) // 1000 for bar in bars.to_pylist()] == [0, 60, 240]
    assert [bar["close_time"] - bar["timestamp"] for bar in bars.to_pylist()] == [59_999] * 3
    assert bars["complete"].to_pylist() == [False, True, False], "the first and the last are cut by the data"


def test_empty_bars_have_the_last_price_and_no_volume() -> None:
    table = trades((0, 1, 1, 1), (60, 2, 1, 2), (240, 4, 1, 3))

    bars = build(table, "time", seconds=60, empty=True).to_pylist()

    assert [(bar["close"], bar["volume"], bar["total_ticks"]) for bar in bars] == [
        (1, 1, 1),
        (2, 1, 1),
        (2, 0, 0),
        (2, 0, 0),
        (4, 1, 1),
    ]
    assert [bar["complete"] for bar in bars] == [False, True, True, True, False]


def test_a_hole_in_the_ids_marks_every_bar_that_it_may_be_missing_from() -> None:
    table = trades((0, 1, 1, 1), (60, 1, 1, 2), (61, 1, 1, 5), (130, 1, 1, 9), (190, 1, 1, 10), (250, 1, 1, 11))

    bars = build(table, "time", seconds=60).to_pylist()

    assert [bar["gap_count"] for bar in bars] == [0, 5, 3, 0, 0]
    assert [bar["complete"] for bar in bars] == [False, False, False, True, False]


def test_a_late_trade_corrects_its_bar_and_the_hole_is_gone() -> None:
    in_order = trades((0, 1, 1, 1), (60, 1, 1, 2), (70, 9, -1, 3), (130, 1, 1, 4), (190, 1, 1, 5))
    late = in_order.take([0, 1, 3, 2, 4])

    bars = build(late, "time", seconds=60)
    expected = build(in_order, "time", seconds=60)

    assert bars["revision"].to_pylist() == [0, 2, 0, 0], "once for the hole, once for the trade"
    assert bars.drop_columns(["revision", "gap_count", "complete"]).equals(
        expected.drop_columns(["revision", "gap_count", "complete"])
    )
    assert bars["gap_count"].to_pylist() == [0, 0, 0, 0]
    assert bars.schema.metadata[b"trades_late"] == b"1"


def test_a_trade_that_is_there_already_is_not_counted_twice() -> None:
    table = regular(30)
    doubled = pa.concat_tables([table.slice(0, 20), table.slice(10, 10), table.slice(20)])

    bars = build(doubled, "tick", ticks=10)

    assert bars.equals(build(table, "tick", ticks=10))
    assert bars.schema.metadata[b"trades_known"] == b"10"


def test_a_print_larger_than_a_bar_is_split_or_not() -> None:
    table = trades((0, 10, 1, 1), (1, 10, -7, 2), (2, 10, 1, 3))

    whole = build(table, "volume", volume=3.0, open_bar=True).to_pylist()
    split = build(table, "volume", volume=3.0, split=True, open_bar=True).to_pylist()

    assert [bar["volume"] for bar in whole] == [8, 1]
    assert [bar["volume"] for bar in split] == [3, 3, 3]
    assert [bar["total_ticks"] for bar in split] == [2, 0, 1], "a trade counts where it began"
    assert [(bar["first_trade_id"], bar["last_trade_id"]) for bar in split] == [(1, 2), (2, 2), (2, 3)]


def test_flow_that_alternates_makes_tiny_bars_or_none_by_the_literal_rule_and_bounded_ones_otherwise() -> None:
    table = trades(*((n, 100, 1 if n % 2 else -1, n + 1) for n in range(20_000)))
    rule = {"initial_size": 100, "initial_p_buy": 0.5}

    literal = build(table, "tick_imbalance", rule="literal", **rule)
    bounded = build(table, "tick_imbalance", **rule)

    # The first threshold is 0, and the third trade exceeds it; from then on θ goes nowhere, and the literal rule waits
    # for ever. With pairs of equal signs it makes bars of two or three trades.
    assert literal["total_ticks"].to_pylist() == [3]
    assert len(bounded) > 0
    assert max(bounded["total_ticks"].to_pylist()) <= 10 * 1000, "at the latest at the cap"
    paired = trades(*((n, 100, 1 if n % 4 < 2 else -1, n + 1) for n in range(20_000)))
    assert max(build(paired, "tick_imbalance", rule="literal", **rule)["total_ticks"].to_pylist()) <= 3
    assert min(build(paired, "tick_imbalance", **rule)["total_ticks"].to_pylist()) > 50


def test_vpin_is_the_share_of_volume_that_was_one_sided() -> None:
    table = trades((0, 1, 4, 1), (1, 1, 3, 2), (2, 1, -1, 3), (3, 1, -2, 4), (4, 1, 2, 5))

    bars = build(table, "vpin", bucket_volume=4.0, buckets=2, details=True).to_pylist()

    assert [bar["theta"] for bar in bars] == [4 / 4, (4 + 2) / 8, (2 + 0) / 8]
    assert [bar["warming_up"] for bar in bars] == [True, False, False]


def test_runs_count_the_heavier_side() -> None:
    sides = [1, 1, -1, 1, 1, 1]
    table = trades(*((n, 1, side, n + 1) for n, side in enumerate(sides)))

    (bar,) = build(table, "tick_run", initial_size=6, initial_p_buy=0.7, rule="literal").to_pylist()

    assert (bar["theta"], bar["total_ticks"]) == (5, 6), "more than 0.7 * 6 = 4.2 bought"


def test_pandas_without_ids_says_nothing_of_gaps() -> None:
    frame = pandas.DataFrame(regular(50).drop_columns("trade_id").to_pandas())

    bars = build(frame, "tick", ticks=10)

    assert bars["gap_count"].to_pylist() == [0] * 5
    assert bars["first_trade_id"].to_pylist() == [0] * 5


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("dollar", {}, "no kind of bar 'dollar'; expected one of time, tick"),
        ("time", {}, "time bars need seconds, as in seconds=60"),
        ("time", {"second": 60}, "did you mean seconds?"),
        ("tick_imbalances", {}, "did you mean tick_imbalance?"),
        ("time", {"seconds": 0}, "seconds=0 makes no time bars"),
        ("time", {"seconds": 0.0001}, "not a whole number of milliseconds"),
        ("tick", {"ticks": 1.5}, "ticks=1.5 is not a whole number"),
        ("volume", {"volume": "much"}, "volume='much' is not a number"),
        ("volume", {"volume": float("nan")}, "is not finite"),
        ("tick_imbalance", {"initial_p_buy": 2}, "initial_p_buy=2 must lie between 0 and 1"),
        ("tick_imbalance", {"rule": "wild"}, "expected bounded or literal"),
        ("tick_imbalance", {"size_min": "90%", "size_max": "80%"}, "size_min 900 is above size_max 800"),
        ("vpin", {"bucket_volume": 1, "buckets": 0}, "buckets=0 makes no vpin bars"),
    ],
)
def test_wrong_parameters_are_named(kind: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(DataValidation, match=message.replace("(", r"\(").replace("?", r"\?")):
        build(regular(3), kind, **parameters)


def test_what_history_returns_is_taken_as_it_is() -> None:
    table = regular(10)

    assert build(History(lambda: iter([table.slice(0, 6), table.slice(6)])), "tick", ticks=5) == build(
        table, "tick", ticks=5
    )
    assert len(build(History(lambda: iter([])), "tick", ticks=5)) == 0


def _in_unit(table: pa.Table, of_ms: Callable[[int], int]) -> pa.Table:
    times = [of_ms(ms) for ms in table["timestamp"].to_pylist()]
    return table.set_column(0, "timestamp", pa.array(times, pa.int64()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns("side"), "trades have no column side"),
        (lambda table: table.set_column(3, "side", pa.array(["bid"] * 3)), "column side has 'bid'"),
        (lambda table: table.set_column(1, "price", pa.array([1.0, None, 2.0])), "column price has 1 empty places"),
        (lambda table: table.set_column(1, "price", pa.array(["1", "x", "2"])), "column price cannot be read"),
        (lambda table: table.set_column(0, "timestamp", pa.array(["a", "b", "c"])), "column timestamp is string"),
        (lambda _: [1, 2, 3], "trades are a list"),
        (lambda table: polars.from_arrow(table).lazy(), r"collect\(\) a lazy frame first"),
        (lambda table: table.take([2, 1, 0]), "sort trades oldest first"),
        (lambda table: _in_unit(table, lambda ms: ms // 1000), "looks like seconds; expected ms"),
        (lambda table: _in_unit(table, lambda ms: ms * 1000), "looks like µs or ns; expected ms"),
        (lambda table: _in_unit(table, lambda ms: ms * 1_000_000), "looks like µs or ns; expected ms"),
    ],
)
def test_trades_that_cannot_be_used_are_refused_with_the_column(change: Any, message: str) -> None:
    with pytest.raises(DataValidation, match=message):
        build(change(regular(3)), "tick", ticks=2)

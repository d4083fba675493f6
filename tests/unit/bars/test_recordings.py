"""Bars of the real recordings, against what an independent program got out of them."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raven.bars import build
from raven.recording import read_recording

NAMES = ["usdm/btcusdt_20240808", "spot/btcusdt_20240808", "spot/ethusdt_20240808", "cm/btcusd_perp_20240808"]
COLUMNS = {
    "start_ms": "timestamp",
    "open_ms": "timestamp",
    "close_ms": "close_time",
    "trades": "total_ticks",
    "buy_trades": "buy_ticks",
    "sell_trades": "sell_ticks",
    "first_id": "first_trade_id",
    "last_id": "last_trade_id",
}
VALUES = {"open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "sell_volume", "vwap"}


@cache
def trades_of(folder: Path, name: str, number: type = str) -> pa.Table:
    rows: dict[str, list[Any]] = {key: [] for key in ("timestamp", "price", "quantity", "side", "trade_id")}
    for line in read_recording([folder / f"{name}.gz"]):
        frame = json.loads(line.raw)
        event = frame.get("data", frame)
        if event.get("e") == "trade":
            row = (event["T"], number(event["p"]), number(event["q"]), "sell" if event["m"] else "buy", event["t"])
            for column, value in zip(rows.values(), row, strict=True):
                column.append(value)
    return pa.table(rows)


def expected_of(folder: Path, name: str) -> Any:
    (symbol,) = json.loads((folder / "expected" / f"{name.replace('/', '_')}.json").read_text())["symbols"].values()
    return symbol["trades"]


def assert_equal(bars: pa.Table, columns: list[str], rows: list[list[Any]], number: type) -> None:
    got = bars.to_pylist()
    assert len(got) == len(rows)
    for bar, row in zip(got, rows, strict=True):
        for name, value in zip(columns, row, strict=True):
            wanted = number(value) if name in VALUES else value
            if name == "threshold":
                # The other program's bounds are a tenth more and less, which doubles do not hit exactly.
                assert bar["threshold"] == pytest.approx(float(value), rel=4e-16)
            else:
                assert bar[COLUMNS.get(name, name)] == wanted, (name, row)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("seconds", "key"), [(60, "bars_1m"), (1, "bars_1s")])
@pytest.mark.parametrize("number", [float, Decimal])
def test_bars_of_the_clock_equal_the_expected_ones(
    recordings: Path, name: str, seconds: int, key: str, number: type
) -> None:
    expected = expected_of(recordings, name)

    bars = build(trades_of(recordings, name, str if number is Decimal else float), "time", seconds=seconds,
                 exact=number is Decimal)  # fmt: skip

    assert_equal(bars, expected["bar_columns"], expected[key], number)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parameters", ["small", "large", "wide", "small_tick_rule"])
def test_literal_imbalance_bars_equal_the_expected_ones(recordings: Path, name: str, parameters: str) -> None:
    expected = expected_of(recordings, name)
    of_set = expected["tib"][parameters]
    rule = {
        "initial_size": of_set["S0"],
        "initial_p_buy": of_set["P0"],
        "alpha_size": of_set["alpha_size"],
        "alpha_imbl": of_set["alpha_imbl"],
        "size_min": of_set["size_lo"],
        "size_max": of_set["size_hi"],
        "direction": of_set["direction"],
        "rule": "literal",
    }
    trades = trades_of(recordings, name, float)

    bars = build(trades, "tick_imbalance", details=True, **rule)
    with_open_bar = build(trades, "tick_imbalance", open_bar=True, **rule)

    assert_equal(bars, expected["tib_columns"], of_set["rows"], float)
    last = with_open_bar.to_pylist()[-1]
    assert not last["complete"]
    assert last["total_ticks"] == of_set["open_bar"]["trades"]
    assert last["theta"] == of_set["open_bar"]["theta"]
    assert last["first_trade_id"] == of_set["open_bar"]["first_id"]

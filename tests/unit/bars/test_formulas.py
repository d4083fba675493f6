"""The formulas of docs/reference/bars.md, written down once more in plain Python, against the native code."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from tests.unit.bars.flows import random_flow

from raven.bars import build

Signed = tuple[int, float]
"""+1 or -1, and the quantity."""
UNEVEN = {"alpha_size": 0.2, "alpha_imbl": 0.3, "initial_p_buy": 0.55}


@cache
def flow() -> pa.Table:
    return random_flow(20_000, repeats=0.3)


def trades() -> list[Signed]:
    sides, quantities = flow()["side"].to_pylist(), flow()["quantity"].to_pylist()
    return [(1 if side == "buy" else -1, quantity) for side, quantity in zip(sides, quantities, strict=True)]


def by_the_formulas(
    kind: str, initial_size: float, initial_p_buy: float, alpha_size: float, alpha_imbl: float, is_bounded: bool
) -> Iterator[tuple[int, float, float]]:
    """Yield trades, θ and threshold of every bar."""
    by_volume, runs = kind.startswith("volume"), kind.endswith("run")
    low, high = (initial_size / 2, initial_size * 2) if is_bounded else (0, float("inf"))
    size, imbalance, of_trade = initial_size, 2 * initial_p_buy - 1, 0.0 if by_volume else 1.0
    ticks, n, total = 0, 0.0, 0.0
    for sign, quantity in trades():
        amount = quantity if by_volume else 1
        # Sums of thousandths: rounded, so that doubles do not drift from the exact sums.
        ticks, n, total = ticks + 1, round(n + amount, 3), round(total + sign * amount, 3)
        threshold = size * (1 + abs(imbalance)) / 2 if runs else size * imbalance
        if is_bounded and not runs:
            floor = (size * of_trade) ** 0.5
            threshold = threshold if abs(threshold) >= floor else floor if threshold >= 0 else -floor
        theta = (n + abs(total)) / 2 if runs else total
        if ticks > 1 and (abs(theta) > abs(threshold) or (is_bounded and n >= 10 * min(size, initial_size))):
            yield ticks, theta, threshold
            p = ((n + total) / 2) / n
            imbalance = alpha_imbl * (2 * p - 1) + (1 - alpha_imbl) * imbalance
            size = min(max(alpha_size * n + (1 - alpha_size) * size, low), high)
            before = of_trade or n / ticks
            of_trade = alpha_size * (n / ticks) + (1 - alpha_size) * before
            ticks, n, total = 0, 0.0, 0.0


@pytest.mark.parametrize("rule", ["bounded", "literal"])
@pytest.mark.parametrize(
    ("kind", "size"), [("tick_imbalance", 200), ("volume_imbalance", 15.0), ("tick_run", 200), ("volume_run", 15.0)]
)
def test_imbalance_and_run_bars_are_those_of_the_formulas(kind: str, size: float, rule: str) -> None:
    expected = list(by_the_formulas(kind, size, is_bounded=rule == "bounded", **UNEVEN))

    bars = build(flow(), kind, initial_size=size, rule=rule, details=True, **UNEVEN)

    assert len(expected) > 5
    assert bars["total_ticks"].to_pylist() == [ticks for ticks, _, _ in expected]
    assert bars["theta"].to_pylist() == pytest.approx([theta for _, theta, _ in expected])
    assert bars["threshold"].to_pylist() == pytest.approx([threshold for _, _, threshold in expected])


def test_vpin_is_that_of_the_formula() -> None:
    bucket, buckets, last = 2_000, 5, deque[int](maxlen=5)
    expected, filled, one_sided = [], 0, 0
    for sign, quantity in trades():
        rest = round(quantity * 1000)
        while rest > 0:
            part = min(rest, bucket - filled)
            filled, one_sided, rest = filled + part, one_sided + sign * part, rest - part
            if filled == bucket:
                last.append(abs(one_sided))
                expected.append(sum(last) / (len(last) * bucket))
                filled = one_sided = 0

    bars = build(flow(), "vpin", bucket_volume=bucket / 1000, buckets=buckets)

    assert bars["theta"].to_pylist() == pytest.approx(expected)
    assert set(bars["volume"].to_pylist()) == {2.0}


@pytest.mark.parametrize(
    ("kind", "parameters"), [("volume", {"volume": 2.0}), ("quote_volume", {"quote_volume": 150_000.0})]
)
def test_a_volume_bar_ends_with_the_trade_that_fills_it(kind: str, parameters: dict[str, Any]) -> None:
    prices = [round(price * 10) if kind == "quote_volume" else 1 for price in flow()["price"].to_pylist()]
    quantities = [round(quantity * 1000) for quantity in flow()["quantity"].to_pylist()]
    target = parameters[kind] * 1000 * (10 if kind == "quote_volume" else 1)
    expected, filled, ticks = [], 0, 0
    for price, quantity in zip(prices, quantities, strict=True):
        filled, ticks = filled + price * quantity, ticks + 1
        if filled >= target:
            expected.append(ticks)
            filled = ticks = 0

    assert build(flow(), kind, **parameters)["total_ticks"].to_pylist() == expected

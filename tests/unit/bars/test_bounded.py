"""What long random flows do to bars of the bounded rule, and to those of the literal one."""

from __future__ import annotations

from functools import cache
from statistics import median

import pyarrow as pa
import pytest
from tests.unit.bars.flows import random_flow

from raven.bars import build

FLOWS = {
    "even": (0.5, 0.0),
    "even, in pieces": (0.5, 0.5),
    "even, in long streaks": (0.5, 0.8),
    "uneven, in pieces": (0.55, 0.3),
    "uneven": (0.6, 0.0),
}
"""Chance of a buy, and of a repetition."""
SIZE = 200


@cache
def flow(name: str) -> pa.Table:
    p_buy, repeats = FLOWS[name]
    return random_flow(100_000, p_buy=p_buy, repeats=repeats)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("initial_p_buy", [0.5, 0.7])
@pytest.mark.parametrize("kind", ["tick_imbalance", "tick_run"])
def test_bounded_bars_stay_near_the_size_they_began_with(kind: str, initial_p_buy: float, name: str) -> None:
    """Also when the share of buys that was configured is far from that of the flow."""
    bars = build(flow(name), kind, initial_size=SIZE, initial_p_buy=initial_p_buy)["total_ticks"].to_pylist()

    assert SIZE / 10 < median(bars) < SIZE * 3
    assert max(bars) <= SIZE * 10
    # The threshold is never below √(SIZE / 2) trades ahead, or a quarter of SIZE on one side.
    assert min(bars) > (SIZE / 2) ** 0.5


@pytest.mark.parametrize("name", FLOWS)
def test_bounded_bars_of_volume_stay_near_the_size_they_began_with(name: str) -> None:
    volume = 0.08 * SIZE

    bars = build(flow(name), "volume_imbalance", initial_size=volume)["volume"].to_pylist()

    assert volume / 20 < median(bars) < volume * 3
    # The last trade may be large.
    assert max(bars) <= volume * 10 + max(flow(name)["quantity"].to_pylist())


@pytest.mark.parametrize("name", ["even", "even, in pieces", "even, in long streaks"])
def test_literal_bars_collapse_or_never_end_on_even_flow(name: str) -> None:
    rule = {"rule": "literal", "initial_size": 500, "initial_p_buy": 0.5}

    bars = build(flow(name), "tick_imbalance", open_bar=True, **rule)["total_ticks"].to_pylist()

    has_collapsed = sum(ticks == 2 for ticks in bars) > len(bars) / 2
    has_exploded = max(bars) > 40 * 500
    assert has_collapsed or has_exploded

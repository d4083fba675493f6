"""`raven.bars.calibrate`: so many bars a day as were wished, or the nearest there is."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.unit.bars.flows import random_flow

from raven.bars import BAR_KINDS, build, calibrate
from raven.errors import DataValidation


@cache
def a_day() -> pa.Table:
    return random_flow(20_000, repeats=0.5)


def volume(trades: pa.Table) -> float:
    return float(pc.sum(trades["quantity"]).as_py())


@pytest.mark.parametrize("kind", BAR_KINDS)
@pytest.mark.parametrize("wish", [100, 400])
def test_every_kind_makes_about_as_many_bars_as_were_wished(kind: str, wish: int) -> None:
    proposal = calibrate(a_day(), kind, wish)

    bars = build(a_day(), kind, open_bar=False, **proposal.parameters)
    assert proposal.bars_per_day == pytest.approx(wish, rel=0.04)
    assert (proposal.kind, proposal.bars) == (kind, len(bars)), "what is proposed is what was tried"
    assert proposal.bars_per_day == pytest.approx(len(bars) / proposal.days)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("time", {"empty": True}),
        ("volume", {"split": True}),
        ("tick_imbalance", {"alpha_size": 0.05, "initial_p_buy": 0.6, "size_min": "90%", "size_max": "110%"}),
        ("vpin", {"buckets": 10}),
    ],
)
def test_what_is_given_stays(kind: str, given: dict[str, Any]) -> None:
    proposal = calibrate(a_day(), kind, 200, **given)

    assert given.items() <= proposal.parameters.items()
    assert proposal.bars_per_day == pytest.approx(200, rel=0.1)


def test_imbalance_bars_expect_the_share_of_buys_that_was_recorded() -> None:
    flow = random_flow(5_000, p_buy=0.7)
    bought = flow.filter(pc.equal(flow["side"], "buy"))

    by_trades = calibrate(flow, "tick_imbalance", 20).parameters
    by_volume = calibrate(flow, "volume_imbalance", 20).parameters

    assert by_trades["initial_p_buy"] == pytest.approx(len(bought) / len(flow), abs=1e-4)
    assert by_volume["initial_p_buy"] == pytest.approx(volume(bought) / volume(flow), abs=1e-4)


@pytest.mark.parametrize("kind", BAR_KINDS)
def test_more_bars_than_trades_are_not_to_be_had(kind: str) -> None:
    trades = random_flow(500)

    proposal = calibrate(trades, kind, 1e9)

    # A bucket of VPIN is filled by parts of prints, so there it is about one.
    assert 100 < proposal.bars <= 510
    assert proposal.bars_per_day < 1e9


@pytest.mark.parametrize("kind", BAR_KINDS)
def test_a_bar_in_a_thousand_days_is_none_today(kind: str) -> None:
    assert calibrate(random_flow(500), kind, 0.001).bars == 0


def test_a_proposal_reads_as_one_line() -> None:
    assert str(calibrate(a_day(), "tick", 100)) == "tick(ticks=198): 100 bars a day (101 in 1.01 days)"


@pytest.mark.parametrize(
    ("kind", "wish", "message"),
    [
        ("dollar", 100, "no kind of bar 'dollar'; expected one of time, tick"),
        ("tick", 0, "bars_per_day=0 must be above 0"),
        ("tick", -1, "bars_per_day=-1 must be above 0"),
        ("tick", float("nan"), "bars_per_day=nan must be above 0"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(kind: str, wish: float, message: str) -> None:
    with pytest.raises(DataValidation, match=message):
        calibrate(a_day(), kind, wish)


def test_a_parameter_of_another_kind_is_refused() -> None:
    with pytest.raises(DataValidation, match="tick bars take no 'split'"):
        calibrate(a_day(), "tick", 100, split=True)


@pytest.mark.parametrize("count", [0, 1, 99])
def test_too_few_trades_are_refused(count: int) -> None:
    with pytest.raises(DataValidation, match=f"{count} trades in .* are too few to calibrate on; use a day or more"):
        calibrate(a_day().slice(0, count), "tick", 100)


def test_trades_of_one_moment_are_refused() -> None:
    trades = a_day().slice(0, 200)
    at_once = trades.set_column(0, "timestamp", pa.array([1_700_000_000_000] * 200, pa.int64()))

    with pytest.raises(DataValidation, match="200 trades in 0 s are too few"):
        calibrate(at_once, "tick", 100)


def test_trades_of_nothing_are_refused() -> None:
    trades = a_day().slice(0, 200)

    with pytest.raises(DataValidation, match="sum up to 0 of volume"):
        calibrate(trades.set_column(2, "quantity", pa.array([0.0] * 200)), "volume", 100)


def test_several_symbols_are_refused() -> None:
    trades = a_day().slice(0, 200)
    named = trades.append_column("symbol", pa.array(["AAAUSDT", "BBBUSDT"] * 100))

    with pytest.raises(DataValidation, match="trades are of 2 symbols; calibrate each by itself"):
        calibrate(named, "tick", 100)

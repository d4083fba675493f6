"""One account at the exchange, one budget here."""

from __future__ import annotations

from pathlib import Path

from raven.ingest.budgets import Budgets
from raven.resilience.bans import Bans
from raven.testing import ManualClock
from raven.venues.binance import coinm, spot, usdm


async def test_venues_that_are_counted_together_spend_together(clock: ManualClock) -> None:
    budgets = Budgets(0.8, clock, Bans(clock))
    futures, coins, other = budgets.of(usdm(), 2400), budgets.of(coinm(), 2400), budgets.of(spot(), 6000)

    await futures.weight.take(1900)

    assert coins.weight.wait_s(20) == 0.0
    assert coins.weight.wait_s(21) == 60.0
    assert other.weight.wait_s(4800) == 0.0
    assert other.weight.wait_s(4801) == 0.0
    assert other.weight.used == 0


def test_a_ban_of_one_holds_for_both_and_over_a_restart(clock: ManualClock, tmp_path: Path) -> None:
    file = tmp_path / "bans.json"
    Budgets(0.8, clock, Bans(clock, file)).of(usdm(), 2400).ban(60)

    budgets = Budgets(0.8, clock, Bans(clock, file))

    assert budgets.of(coinm(), 2400).banned_s == 60
    assert budgets.of(spot(), 6000).banned_s == 0


def test_the_exchanges_own_figure_is_taken_with_our_share(clock: ManualClock) -> None:
    budget = Budgets(0.8, clock, Bans(clock)).of(usdm(), 2400)

    budget.set_weight_per_minute(1000)

    assert budget.weight.queue_s(800) == 0.0
    assert budget.weight.queue_s(801) == 60.0

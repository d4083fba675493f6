"""F12: the venue says when to come back. Until then not one request, not even after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from raven.exchange import Fault

pytestmark = pytest.mark.fault("F12")


def requests(bench) -> int:
    """Count every REST request the venue has seen."""
    return sum(count for name, count in bench.rest_stats.items() if not name.startswith("status_"))


@pytest.mark.parametrize("status", [429, 418])
async def test_nothing_is_asked_before_the_end(collecting, status: int) -> None:
    ban = Fault(f"http_{status}", seconds=2.0, target="BTCUSDT")
    # One worker: what others had under way when the answer came could not be taken back.
    async with collecting(faults=(ban,), wait=False, symbol_count=20, snapshot_workers=1) as bench:
        await bench.until(lambda: bench.rest_stats.get(f"status_{status}", 0), "refused", 5)
        asked = requests(bench)

        quiet_s = await bench.until(lambda: requests(bench) > asked, "asked again", 10)
        await bench.until(lambda: bench.all_synced(20), "in sync", 15)

        assert quiet_s >= 1.5
        assert bench.rest_stats[f"status_{status}"] == 1


async def test_a_restart_does_not_forget_it(collecting, tmp_path: Path) -> None:
    ban = Fault("http_418", seconds=4.0, target="BTCUSDT")
    async with collecting(faults=(ban,), wait=False, state_dir=tmp_path, symbols=("BTCUSDT",)) as first:
        await first.until(lambda: first.rest_stats.get("status_418", 0), "banned", 5)
        await first.until((tmp_path / "bans.json").exists, "written down", 2)
        asked = requests(first)

        async with collecting(server=first.server, state_dir=tmp_path, wait=False, symbols=("BTCUSDT",)) as second:
            quiet_s = await second.until(lambda: requests(second) > asked, "asked again", 10)
            await second.until(second.all_synced, "in sync", 10)

    assert quiet_s >= 2.0


async def test_the_weight_stays_within_its_share_and_is_one_budget_for_all_symbols(collecting) -> None:
    limit, symbols = 200, 60
    async with collecting(
        symbol_count=symbols, rules={"weight_per_minute": limit}, wait=False, snapshot_levels=100
    ) as bench:
        # Five of weight for each of sixty symbols is more than four fifths of two hundred: the last ones have to wait.
        await bench.until(lambda: list(bench.states().values()).count("synced") >= 25, "the first are there", 15)
        await bench.until(lambda: len(bench.ingest.waiting_books()[bench.venue]) >= 25, "the others wait", 5)

        used = bench.server.call(bench.exchange.state)["usdm"]["weight"]
        waiting = bench.ingest.waiting_books()[bench.venue]
        assert used <= 0.8 * limit
        assert bench.rest_stats.get("status_429", 0) == 0
        assert max(waiting.values()) > 30

"""F4: the snapshot is slow, broken, or from long ago. Diffs wait meanwhile; requests do not pile up."""

from __future__ import annotations

import pytest

from raven.exchange import Fault

pytestmark = pytest.mark.fault("F4")

# What is waited for between two tries of one symbol, at least: a quarter of 0.25 s, doubling.
SHORTEST_PAUSES_S = (0.0625, 0.125, 0.25, 0.5)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("http_500", count=2, target="BTCUSDT"),
        Fault("truncated_snapshot", count=2, target="BTCUSDT"),
        Fault("slow_snapshot", count=1, seconds=2.0, target="BTCUSDT"),
    ],
    ids=lambda fault: fault.kind,
)
async def test_a_bad_snapshot_is_asked_for_again_and_nothing_that_waited_is_lost(collecting, fault: Fault) -> None:
    async with collecting(faults=(fault,), snapshot_timeout_s=1.0) as bench:
        await bench.assert_book_is_true()

        count = bench.counters()
        assert count["gap"] == 0
        assert count["sequence_errors"] == 0
        # One per symbol, and one more for each that failed.
        assert bench.rest_stats["depth"] == 2 + fault.count


async def test_a_snapshot_that_is_too_old_is_fetched_again_and_not_in_a_storm(collecting) -> None:
    async with collecting(symbols=("BTCUSDT",)) as bench:
        bench.inject("stale_snapshot", count=0)
        asked = bench.rest_stats["depth"]
        bench.inject("gap", target="btcusdt@depth*", count=3)
        await bench.until(lambda: bench.state() == "resyncing", "out of sync", 5)

        await bench.until(lambda: bench.rest_stats["depth"] >= asked + 3, "asked again", 10)
        tries = bench.rest_stats["depth"] - asked
        waited_s = await bench.until(lambda: bench.rest_stats["depth"] > asked + tries, "and again", 10)
        assert bench.state() == "resyncing"
        bench.clear_faults()
        await bench.until(bench.all_synced, "in sync", 10)

        assert waited_s >= SHORTEST_PAUSES_S[2] * 0.9
        await bench.assert_book_is_true()


async def test_the_buffer_is_bounded_and_what_falls_out_is_counted(collecting) -> None:
    async with collecting(symbols=("BTCUSDT",)) as bench:
        bench.inject("http_500", count=0, seconds=30)
        bench.inject("gap", target="btcusdt@depth*", count=1)
        await bench.until(lambda: bench.counters()["pending"] >= 5, "diffs wait", 10)
        bench.assert_balanced()

        bench.clear_faults()
        await bench.until(bench.all_synced, "in sync", 10)

        assert bench.counters()["pending"] == 0
        await bench.assert_book_is_true()

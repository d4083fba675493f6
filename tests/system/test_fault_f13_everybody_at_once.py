"""F13: the venue goes away and comes back, and hundreds of streams want to connect. In order, and all of them."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.fault("F13")

SYMBOLS = 500
STREAMS_PER_CONNECTION = 50
# Five hundred snapshots, twice, within this test; the venue's own allowance would make each time last a minute.
WEIGHT_PER_MINUTE = 24_000


async def test_all_are_back_after_the_venue_was_away_and_no_limit_was_touched(collecting) -> None:
    async with collecting(
        "usdm",
        symbol_count=SYMBOLS,
        rate=3000.0,
        rules={"weight_per_minute": WEIGHT_PER_MINUTE},
        plan={
            "streams_per_connection": STREAMS_PER_CONNECTION,
            "request_weight_per_minute": WEIGHT_PER_MINUTE,
        },
        # As in production: everybody's first pause is below a second, and they are spread over it.
        reconnect_delay_s=1.0,
    ) as bench:
        count = len(bench.connections)
        assert count == SYMBOLS * 2 // STREAMS_PER_CONNECTION + SYMBOLS // STREAMS_PER_CONNECTION
        attempts = bench.ws_stats["connections"]

        bench.inject("refuse", seconds=3.0)
        bench.inject("disconnect", code=1006)
        await bench.until(lambda: not any(one["connected"] for one in bench.connections), "all gone", 5)
        back_s = await bench.until(lambda: all(one["connected"] for one in bench.connections), "all connected", 20)
        await bench.until(lambda: bench.all_synced(SYMBOLS), "all in sync", 30)

        assert back_s < 10
        assert bench.ws_stats["connections"] - attempts == count
        await bench.assert_book_is_true(sorted(bench.states())[0])


async def test_when_attempts_run_out_the_rest_come_in_turn(collecting) -> None:
    # Of 30 connections 20 fit into the venue's allowance; nobody is refused, the others are still waiting.
    async with collecting(
        symbol_count=30, plan={"streams_per_connection": 3, "connections_per_five_minutes": 20}, wait=False
    ) as bench:
        await bench.until(lambda: sum(one["connected"] for one in bench.connections) == 20, "twenty connected", 15)

        assert len(bench.connections) == 30
        assert bench.ws_stats["connections"] == 20

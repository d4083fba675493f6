"""F8: the program is busy elsewhere. The reader has a thread of its own, so pongs go out and data comes in."""

from __future__ import annotations

import time

import pytest

from raven.exchange.timeline import MS

pytestmark = pytest.mark.fault("F8")


async def test_pongs_go_out_while_the_rest_of_the_program_stands_still(collecting) -> None:
    rules = {"ping_interval_ns": 200 * MS, "pong_timeout_ns": 1000 * MS, "messages_per_second": 100}
    async with collecting(rules=rules) as bench:
        before, connections = bench.counters()["received"], bench.ws_stats["connections"]

        time.sleep(3.0)  # noqa: ASYNC251 - blocking this loop is what is tested

        assert bench.counters()["received"] > before + 100
        assert bench.ws_stats.get("dropped_without_pong", 0) == 0
        assert bench.ws_stats["connections"] == connections
        assert bench.all_synced(2)

"""F7: connections end. Planned: the next one is there first, nothing is lost or doubled. Unplanned: soon back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from raven.exchange import Fault
from raven.topics import DataType

pytestmark = pytest.mark.fault("F7")

GAP = 7


def assert_seamless(records: list[Any]) -> None:
    """Every record follows the one before, in the hub's count and in the venue's."""
    assert [record for record in records if record.kind == GAP] == []
    assert all(after.sequence == before.sequence + 1 for before, after in pairwise(records))


async def test_a_rotation_loses_and_doubles_nothing(collecting) -> None:
    # The venue closes after 24 h; we are told to leave 1.5 s after connecting.
    async with collecting(rate=3000.0, rotate_early_s=24 * 3600 - 1.5) as bench:
        trades, quotes = bench.reader(DataType.TRADES), bench.reader(DataType.QUOTES)
        before = bench.counters()

        await bench.until(lambda: all(one["rotations"] >= 3 for one in bench.connections), "three rotations", 20)

        seen = trades.drain(1_000_000)
        assert_seamless(seen)
        assert all(int(after.id) == int(before.id) + 1 for before, after in pairwise(seen))
        best = quotes.drain(1_000_000)
        assert_seamless(best)
        assert all(after.id > before.id for before, after in pairwise(best))
        after = bench.counters()
        for name in ("resyncs", "sequence_errors", "missing_trades", "late_trades", "rejected", "gap"):
            assert after[name] == before[name], name
        assert all(one["reconnects"] == 0 for one in bench.connections)
        await bench.assert_book_is_true()


async def test_server_shutdown_is_answered_by_a_rotation(collecting) -> None:
    async with collecting("spot") as bench:
        before = bench.counters()

        bench.inject("server_shutdown", seconds=3.0)
        await bench.until(lambda: all(one["rotations"] == 1 for one in bench.connections), "rotation", 5)
        await bench.until(lambda: len(bench.market.ws.connections) == len(bench.connections), "old ones gone", 5)

        assert all(one["reconnects"] == 0 for one in bench.connections)
        assert bench.counters()["resyncs"] == before["resyncs"]
        await bench.assert_book_is_true()


async def test_a_rotation_that_cannot_connect_keeps_the_old_connection(collecting) -> None:
    async with collecting(rotate_early_s=24 * 3600 - 1.5) as bench:
        bench.inject("refuse", count=0)
        await bench.until(lambda: all("rotation failed" in one["last_error"] for one in bench.connections), "tried", 10)
        events = bench.counters()["received"]

        await bench.until(lambda: bench.counters()["received"] > events + 200, "data goes on", 10)

        assert all(one["reconnects"] == 0 for one in bench.connections)
        assert bench.state() == "synced"


@pytest.mark.parametrize(
    ("kind", "code"),
    [("disconnect", 1001), ("disconnect", 1006), ("disconnect", 1008), ("disconnect", 1012), ("reset", 0)],
)
async def test_a_lost_connection_is_back_within_its_first_pause(collecting, kind: str, code: int) -> None:
    async with collecting(reconnect_delay_s=1.0) as bench:
        trades = bench.reader(DataType.TRADES)
        resyncs = bench.counters()["resyncs"]

        bench.inject(kind, **({"code": code} if code else {}))
        await bench.until(lambda: any(not one["connected"] for one in bench.connections), "loss noticed", 5)
        back_s = await bench.until(lambda: all(one["connected"] for one in bench.connections), "reconnected", 5)
        await bench.until(lambda: bench.counters()["resyncs"] > resyncs and bench.all_synced(2), "in sync", 5)

        # The pause is at most a second; the rest is for a busy machine.
        assert back_s <= 1.5
        await bench.assert_book_is_true()
        expected = 0
        for record in trades.drain(1_000_000):
            if record.kind == GAP:
                _, count, first, last, reason, _ = record.body
                assert expected in (first, 0)
                assert (count, reason) == (last - first + 1, 3)
                expected = last + 1
            else:
                assert expected in (record.id, 0)
                expected = record.id + 1


async def test_a_half_open_connection_is_given_up(collecting) -> None:
    async with collecting(silence_s=1.0, first_frame_s=2.0) as bench:
        bench.inject("half_open")

        lost_s = await bench.until(lambda: any(not one["connected"] for one in bench.connections), "given up", 10)
        await bench.until(lambda: bench.all_synced(2), "in sync", 10)

        assert lost_s <= 4.0
        await bench.assert_book_is_true()


async def test_a_connection_that_was_never_made_is_not_called_lost(
    collecting, capsys: pytest.CaptureFixture[str]
) -> None:
    async with collecting(faults=(Fault("refuse", seconds=1.0),), wait=False) as bench:
        await bench.until(lambda: bench.all_synced(2), "in sync", 10)

        said = capsys.readouterr().out.splitlines()
        assert any("not connected" in line and "retry_in_s" in line for line in said), said
        assert not any("connection lost" in line or "disconnected" in line for line in said), said
        assert all(one["reconnects"] >= 1 for one in bench.connections)

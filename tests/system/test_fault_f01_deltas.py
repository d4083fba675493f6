"""F1: depth updates that are missing, doubled or swapped. Found with the next one; the book is true again in 2 s."""

from __future__ import annotations

import pytest

from raven.topics import DataType

pytestmark = pytest.mark.fault("F1")

STALE = 2
DEPTH = "btcusdt@depth@100ms"


@pytest.mark.parametrize(("kind", "count"), [("drop", 1), ("gap", 5), ("reorder", 1)])
async def test_a_hole_in_the_updates_is_found_and_healed(collecting, kind: str, count: int) -> None:
    async with collecting() as bench:
        before = bench.counters()
        books = bench.reader(DataType.ORDERBOOK)

        bench.inject(kind, target=DEPTH, count=count)
        await bench.until(lambda: bench.counters()["sequence_errors"] > before["sequence_errors"], "hole found", 5)
        healed_s = await bench.until(lambda: bench.state() == "synced", "book in sync", 5)

        assert healed_s <= 2.0
        records = books.drain(100_000)
        flagged = [record.sequence for record in records if record.flags & STALE]
        # Readers are told before they could see a state that lacks the missing update.
        assert flagged, "nobody was told"
        ids = [record.id for record in records if not record.flags & STALE]
        assert ids == sorted(ids)
        await bench.assert_book_is_true()
        assert bench.counters("ETHUSDT")["sequence_errors"] == 0


async def test_a_doubled_update_harms_nothing(collecting) -> None:
    async with collecting() as bench:
        before = bench.counters()

        bench.inject("duplicate", target=DEPTH, count=3)
        await bench.until(lambda: bench.counters()["duplicates"] >= before["duplicates"] + 3, "duplicates seen", 5)

        after = bench.counters()
        assert (after["resyncs"], after["sequence_errors"]) == (before["resyncs"], before["sequence_errors"])
        await bench.assert_book_is_true()

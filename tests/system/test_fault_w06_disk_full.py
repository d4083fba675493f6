"""W6: the disk of the journal is full, really; the feed goes on, the loss is counted, and writing resumes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers.disk import SMALL_DISK_BYTES, fill, small_disk

from raven._core import Collector, Hub
from raven.errors import DatabaseConnection
from raven.journal import Batch, Journal, read_journal, verify_journal
from raven.records import GapReason, Kind
from raven.resilience.dead_letters import DeadLetterQueue
from raven.topics import DataType

__all__ = ["small_disk"]

pytestmark = [pytest.mark.fault("W6"), pytest.mark.timeout(60)]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - another thread moves it
            await asyncio.sleep(0.005)


async def test_a_full_disk_costs_what_came_meanwhile_and_not_one_record_more(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(SMALL_DISK_BYTES - (1 << 20)))
    folder = small_disk / "journal"
    hub = Hub()
    journal = Journal(hub, folder, commit_interval_s=0.02)
    await journal.start()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 24)
    other = Collector(hub)
    other.add(next(row[0] for row in hub.topics()))
    published = read_elsewhere = 0

    def publish(count: int) -> None:
        nonlocal published, read_elsewhere
        trades.trades(count, published + 1, 5, 5, price_scale=0, quantity_scale=0)
        published += count
        other.collect(1 << 20, 0)
        read_elsewhere += sum(rows for _, rows, _ in other.take())

    publish(100)
    await until(lambda: journal.status.records >= 100)
    while not journal.status.trouble:
        publish(1_000)
        await until(lambda: journal.status.records + journal.status.lost >= published or journal.status.trouble)
    assert journal.status.trouble == "storage_full: no space left"
    publish(500)
    await until(lambda: journal.status.lost >= 500)
    ballast.unlink()
    # A full disk is asked again once a second; what comes until then is lost, and counted.
    while journal.status.trouble:
        publish(1)
        await asyncio.sleep(0.01)
    publish(50)
    await journal.stop()

    assert read_elsewhere == published, "other readers have every record"
    batches = [one for one in read_journal(folder) if isinstance(one, Batch)]
    kept = [number for one in batches if one.kind is Kind.TRADE for number in one.records["id"].to_pylist()]
    gaps = [row for one in batches if one.kind is Kind.GAP for row in one.records.to_pylist()]
    assert {row["reason"] for row in gaps} == {GapReason.JOURNAL}
    assert len(kept) + sum(row["count"] for row in gaps) == published
    assert sum(row["count"] for row in gaps) == journal.status.lost >= 500
    assert len(set(kept)) == len(kept)
    assert kept[-50:] == list(range(published - 49, published + 1))
    assert verify_journal(folder).is_sound


def test_dead_letters_on_a_full_disk_are_refused_and_kept_when_there_is_room(small_disk: Path) -> None:
    queue = DeadLetterQueue(small_disk / "letters.sqlite")
    queue.put("influx", "first", "no", b"x" * 1_000)
    ballast = small_disk / "ballast"
    fill(ballast)
    kept = ["first"]

    def put_many() -> None:
        for number in range(1_000):
            queue.put("influx", str(number), "no", b"x" * 100_000)
            kept.append(str(number))

    with pytest.raises(DatabaseConnection, match=r"letters.sqlite: dead letters cannot be written: .*full"):
        put_many()
    assert [letter.key for letter in queue.letters()] == kept

    ballast.unlink()
    queue.put("influx", "last", "no", b"x" * 100_000)

    assert [letter.key for letter in queue.letters()] == [*kept, "last"]
    queue.close()

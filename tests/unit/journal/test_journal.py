"""What is published is on the disk, exactly; what could not be kept is said; a second writer is refused."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from raven._core import Engine, Hub
from raven.errors import ConfigurationError, DataValidation
from raven.journal import Batch, Damage, Journal, read_journal, verify_journal
from raven.journal.segment import SegmentWriter
from raven.records import GapReason, Kind
from raven.topics import DataType

VENUE = "binance_futures"


def batches(folder: Path, *kinds: Kind) -> list[Batch]:
    found = list(read_journal(folder, kinds or tuple(Kind)))
    assert not [one for one in found if isinstance(one, Damage)]
    return [one for one in found if isinstance(one, Batch)]


def column(folder: Path, kind: Kind, name: str) -> list[Any]:
    return [value for batch in batches(folder, kind) for value in batch.records[name].to_pylist()]


def opened(folder: Path, hub: Hub, **options: Any) -> Journal:
    journal = Journal(hub, folder, **options)
    journal.open()
    return journal


def test_what_was_published_comes_back_record_by_record(tmp_path: Path) -> None:
    hub = Hub()
    journal = opened(tmp_path, hub)
    bitcoin = hub.create_topic(VENUE, "BTCUSDT", int(DataType.TRADES), 1 << 16)
    pepe = hub.create_topic(VENUE, "1000PEPEUSDT", int(DataType.TRADES), 1 << 16)
    bitcoin.trade(5, 4, 101, 618_002, 7, price_scale=1, quantity_scale=3, taker_sells=True)
    assert journal.turn() == 1
    pepe.trade(9, 8, 55, 1_171_234, 10**15, price_scale=8, quantity_scale=0, taker_sells=False)
    bitcoin.trade(10, 9, 102, 618_003, 1, price_scale=1, quantity_scale=3, taker_sells=False)
    assert journal.turn() == 2
    journal.close()

    rows = [
        (batch.topics[row["topic"]].symbol, *(row[name] for name in ("sequence", "recv_ns", "exchange_ns", "id")),
         row["price"], row["price_scale"], row["quantity"], row["quantity_scale"], row["taker_sells"])
        for batch in batches(tmp_path, Kind.TRADE) for row in batch.records.to_pylist()
    ]  # fmt: skip
    assert sorted(rows) == [
        ("1000PEPEUSDT", 1, 9, 8, 55, 1_171_234, 8, 10**15, 0, 0),
        ("BTCUSDT", 1, 5, 4, 101, 618_002, 1, 7, 3, 1),
        ("BTCUSDT", 2, 10, 9, 102, 618_003, 1, 1, 3, 0),
    ]
    assert {batch.run for batch in batches(tmp_path)} == {batches(tmp_path)[0].run}


def test_only_the_topics_that_it_is_asked_to_keep_are_kept(tmp_path: Path) -> None:
    hub = Hub()
    kept = {"BTCUSDT"}
    journal = opened(tmp_path, hub, keeps=lambda topic: topic.symbol in kept)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        hub.create_topic(VENUE, symbol, int(DataType.TRADES), 1 << 16).trades(
            3, 1, 618_000, 100, price_scale=1, quantity_scale=3
        )

    before = journal.turn()
    kept.add("ETHUSDT")
    after = journal.turn()
    journal.close()

    assert (before, after) == (3, 3)


def test_books_are_kept_with_every_level_and_what_is_proven(tmp_path: Path) -> None:
    hub = Hub()
    engine = Engine(hub)
    venue = engine.add_venue(VENUE, "futures")
    instrument = engine.add_instrument(venue, "BTCUSDT", ring_bytes=1 << 18)
    connection = engine.open_connection(venue)
    journal = opened(tmp_path, hub, books_every_s=0.0)

    def diff(first: int, last: int, previous: int, bids: str, asks: str) -> bytes:
        return (
            f'{{"e":"depthUpdate","E":1700000000000,"T":1700000000000,"s":"BTCUSDT","U":{first},"u":{last},'
            f'"pu":{previous},"b":[{bids}],"a":[{asks}]}}'
        ).encode()

    engine.on_frame(connection, 1_700_000_000_000_000_000, diff(1, 9, 0, "", ""))
    engine.on_snapshot(
        instrument, 1_700_000_000_000_000_000,
        b'{"lastUpdateId":10,"bids":[["100.1","1.5"],["99","2"]],"asks":[["100.2","3"]]}', limit=2,
    )  # fmt: skip
    engine.on_frame(connection, 1_700_000_000_000_000_000, diff(10, 19, 9, '["98.5","4"]', '["100.3","0.25"]'))
    journal.turn()
    journal.close()

    last = batches(tmp_path, Kind.BOOK)[-1].records.to_pylist()[-1]
    price, quantity = 10 ** last["price_scale"], 10 ** last["quantity_scale"]
    bids = [(p / price, q / quantity) for p, q in zip(last["bid_prices"], last["bid_quantities"], strict=True)]
    asks = [(p / price, q / quantity) for p, q in zip(last["ask_prices"], last["ask_quantities"], strict=True)]
    assert (last["id"], bids, asks) == (19, [(100.1, 1.5), (99.0, 2.0), (98.5, 4.0)], [(100.2, 3.0), (100.3, 0.25)])
    assert (last["bid_proven"], last["ask_proven"]) == (2, 2)


def test_a_restart_goes_on_in_a_new_segment_and_keeps_the_old_ones(tmp_path: Path) -> None:
    for run in range(3):
        hub = Hub()
        journal = opened(tmp_path, hub)
        hub.create_topic(VENUE, "BTCUSDT", int(DataType.TRADES), 1 << 16).trades(
            10, run * 10 + 1, 5, 5, price_scale=0, quantity_scale=0
        )
        journal.close()

    assert column(tmp_path, Kind.TRADE, "id") == list(range(1, 31))
    assert len({batch.run for batch in batches(tmp_path)}) == 3


def test_a_segment_that_is_full_is_followed_by_the_next(tmp_path: Path) -> None:
    hub = Hub()
    journal = opened(tmp_path, hub, segment_max_bytes=10_000)
    trades = hub.create_topic(VENUE, "BTCUSDT", int(DataType.TRADES), 1 << 20)
    for first in range(1, 2_001, 100):
        trades.trades(100, first, 5, 5, price_scale=0, quantity_scale=0)
        journal.turn()
    journal.close()

    assert len(list(tmp_path.glob("*.segment"))) > 5
    assert column(tmp_path, Kind.TRADE, "id") == list(range(1, 2_001))
    assert column(tmp_path, Kind.TRADE, "sequence") == list(range(1, 2_001))


def test_a_ring_that_was_faster_is_a_gap_with_its_count(tmp_path: Path) -> None:
    hub = Hub()
    journal = opened(tmp_path, hub)
    trades = hub.create_topic(VENUE, "BTCUSDT", int(DataType.TRADES), 1 << 12)
    journal.turn()
    trades.trades(5_000, 1, 5, 5, price_scale=0, quantity_scale=0)
    journal.close()

    gaps = [row for batch in batches(tmp_path, Kind.GAP) for row in batch.records.to_pylist()]
    assert [row["reason"] for row in gaps] == [GapReason.JOURNAL]
    assert gaps[0]["count"] + len(column(tmp_path, Kind.TRADE, "id")) == 5_000


@pytest.mark.fault("W6")
def test_a_full_disk_costs_only_what_came_meanwhile_and_says_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    journal = opened(tmp_path, hub)
    trades = hub.create_topic(VENUE, "BTCUSDT", int(DataType.TRADES), 1 << 20)
    trades.trades(10, 1, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()
    commit = SegmentWriter.commit

    def full(self: SegmentWriter, frames: Any) -> None:
        os.write(self._file, b"half a fra")
        raise OSError(errno.ENOSPC, "No space left on device")

    def is_full(self: SegmentWriter, frames: Any) -> None:
        try:
            full(self, frames)
        except OSError:
            os.ftruncate(self._file, self.size)
            raise

    monkeypatch.setattr(SegmentWriter, "commit", is_full)
    trades.trades(7, 11, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()
    assert journal.status.trouble == "storage_full: no space left"
    monkeypatch.setattr(SegmentWriter, "commit", commit)
    trades.trades(5, 18, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()
    assert journal.status.trouble, "it does not try at once"
    monkeypatch.setattr(journal, "_retry_at", 0.0)
    trades.trades(3, 23, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()
    journal.close()

    assert journal.status.trouble == ""
    assert journal.status.lost == 12
    assert column(tmp_path, Kind.TRADE, "id") == [*range(1, 11), 23, 24, 25]
    assert column(tmp_path, Kind.GAP, "count") == [12]
    assert column(tmp_path, Kind.GAP, "data_type") == [DataType.TRADES]


def test_what_a_topic_that_has_ended_lost_to_a_full_disk_is_said_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    engine = Engine(hub)
    instrument = engine.add_instrument(engine.add_venue(VENUE, "futures"), "BTCUSDT", ring_bytes=1 << 18)
    journal = opened(tmp_path, hub)
    journal.turn()

    def is_full(self: SegmentWriter, frames: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "commit", is_full)
        engine.report_gap(instrument, int(DataType.TRADES), 3, 7, 9, "venue_gap")
        journal.turn()
        engine.remove_instrument(instrument)
        journal.turn()
    monkeypatch.setattr(journal, "_retry_at", 0.0)
    hub.create_topic(VENUE, "ETHUSDT", int(DataType.TRADES), 1 << 16).trades(
        1, 1, 5, 5, price_scale=0, quantity_scale=0
    )
    journal.close()

    (gap,) = [row for batch in batches(tmp_path, Kind.GAP) for row in batch.records.to_pylist()]
    assert (gap["count"], gap["reason"], gap["data_type"]) == (1, GapReason.JOURNAL, DataType.TRADES)
    assert journal.status.lost == 1


@pytest.mark.fault("D9")
def test_a_second_writer_of_the_same_folder_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    journal = opened(tmp_path, Hub())
    with pytest.raises(ConfigurationError, match=rf"written by another process \(pid {os.getpid()}\)"):
        opened(tmp_path, Hub())
    journal.close()
    opened(tmp_path, Hub()).close()


@pytest.mark.parametrize("place", ["a file", "below a file", "read-only"])
def test_a_folder_that_can_never_be_written_is_refused_at_the_start(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "journal"
    if place == "read-only":
        opened(folder, Hub()).close()
        # Whoever runs the tests may write everywhere.
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    else:
        folder.write_text("")
    with pytest.raises(ConfigurationError, match=rf"journal.dir: {folder}.* cannot be written: .*user {os.geteuid()}"):
        opened(folder / "journal" if place == "below a file" else folder, Hub())


def test_a_folder_without_a_journal_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataValidation, match="no journal there"):
        list(read_journal(tmp_path))


async def test_the_thread_keeps_up_by_itself_and_the_end_keeps_the_rest(tmp_path: Path) -> None:
    hub = Hub()
    journal = Journal(hub, tmp_path, commit_interval_s=0.02)
    await journal.start()
    trades = hub.create_topic(VENUE, "BTCUSDT", int(DataType.TRADES), 1 << 20)
    trades.trades(100, 1, 5, 5, price_scale=0, quantity_scale=0)
    async with asyncio.timeout(60):
        while journal.status.records < 100:  # noqa: ASYNC110 - another thread moves it
            await asyncio.sleep(0.005)
    trades.trades(100, 101, 5, 5, price_scale=0, quantity_scale=0)
    await journal.stop()

    assert column(tmp_path, Kind.TRADE, "id") == list(range(1, 201))


def test_after_a_crash_a_gap_record_says_that_nobody_knows_what_is_missing(tmp_path: Path) -> None:
    def run(symbols: tuple[str, ...], *, crashes: bool) -> None:
        hub = Hub()
        journal = opened(tmp_path, hub)
        for symbol in symbols:
            trades = hub.create_topic(VENUE, symbol, int(DataType.TRADES), 1 << 16)
            trades.trades(5, 1, 5, 5, price_scale=0, quantity_scale=0)
        journal.turn()
        if crashes:
            assert journal._lock is not None
            journal._lock.close()
        else:
            journal.close()

    run(("BTCUSDT", "ETHUSDT"), crashes=True)
    run(("BTCUSDT",), crashes=False)
    run(("BTCUSDT", "ETHUSDT"), crashes=False)

    told = [
        (batch.topics[row["topic"]].symbol, row["count"], row["reason"], batch.path.name)
        for batch in batches(tmp_path, Kind.GAP)
        for row in batch.records.to_pylist()
    ]
    assert sorted(told) == [
        ("BTCUSDT", 0, GapReason.JOURNAL, "0000000002.segment"),
        ("ETHUSDT", 0, GapReason.JOURNAL, "0000000002.segment"),
    ]
    assert verify_journal(tmp_path).is_sound

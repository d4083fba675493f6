"""Whatever goes wrong on the way, a capture through the engine gives the journal of that run, word for word."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.journals import differences, journal_tables

from raven._core import Hub
from raven.app.rebuild import rebuild
from raven.errors import ConfigurationError, DataValidation
from raven.exchange import Exchange, ExchangeConfig
from raven.exchange.faults.fault import Fault
from raven.ingest.recorder import Recorder
from raven.ingest.settings import EngineSettings, IngestSettings, VenuePlan
from raven.ingest.thread import Ingest
from raven.journal import Journal
from raven.recording import read_recording, recording_files
from raven.registry import VENUES, load
from raven.topics import DataType

VENUE = "binance_futures"
BTC, ETH = "BTCUSDT", "ETHUSDT"
ENOUGH = 20
# So that the journal misses nothing, however long a busy machine lets it wait.
LARGE_RINGS = EngineSettings(ring_bytes=16 << 20)


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


async def test_after_gaps_garbage_resets_rotation_and_other_symbols_the_records_are_the_same(tmp_path: Path) -> None:
    async with Exchange(ExchangeConfig(markets=("usdm",), symbols=(BTC, ETH), rate=3000.0)) as exchange:
        market = exchange.market("usdm")
        plan = VenuePlan(VENUE, ws_url=market.ws_url, rest_url=market.rest_url, symbols=(BTC,))
        hub, recorder = Hub(), Recorder(tmp_path / "capture", flush_interval_s=0.02)
        settings = IngestSettings(linger_s=0.05, reconnect_delay_s=0.1, max_reconnect_delay_s=0.5)
        ingest = Ingest(
            hub, [(load(VENUES, VENUE, "venue"), plan)], settings=settings, engine=LARGE_RINGS, capture=recorder
        )
        journal = Journal(hub, tmp_path / "journal", books_every_s=0.0)
        await journal.start()
        await recorder.start()
        await ingest.start()

        def resyncs() -> int:
            return sum(counters["resyncs"] for *_, counters in ingest.counters())

        def are_synced() -> bool:
            return all(state == "synced" for *_, state in ingest.books()) and bool(ingest.books())

        try:
            await until(are_synced, "the first book")
            for fault in (
                Fault("gap", target="btcusdt@depth*", count=2),
                Fault("malformed", target="btcusdt@*", count=5),
                Fault("duplicate", target="btcusdt@*", count=5),
                Fault("reorder", target="btcusdt@aggTrade", count=3),
                Fault("disconnect"),
                Fault("reset"),
            ):
                before = resyncs()
                exchange.inject(fault)
                if fault.kind in ("gap", "disconnect", "reset"):
                    await until(lambda before=before: resyncs() > before, f"a resync after {fault.kind}")
                await until(are_synced, f"a book after {fault.kind}")
                if fault.kind == "duplicate":
                    await ingest.acquire("somebody", VENUE, ETH, DataType.ORDERBOOK)
                    await ingest.acquire("somebody", VENUE, ETH, DataType.FUNDING_RATES)
                    await until(lambda: len(ingest.books()) == 2 and are_synced(), "a second book")
            await ingest.release_all("somebody")
            await until(lambda: len(ingest.books()) == 1, "one book")
            for shard in ingest.feeds[VENUE].shards:
                ingest._loop.call_soon_threadsafe(shard.rotate)
            await until(lambda: all(shard.rotations for shard in ingest.feeds[VENUE].shards), "a rotation")
            count = hub.head(hub.find(VENUE, BTC, DataType.QUOTES) or 0)
            await until(lambda: hub.head(hub.find(VENUE, BTC, DataType.QUOTES) or 0) > count + 50, "more quotes")
        finally:
            await ingest.stop()
            await recorder.stop()
            await journal.stop()

    records, damage = await asyncio.to_thread(rebuild, [tmp_path / "capture"], tmp_path / "again")

    assert damage == []
    live, again = journal_tables(tmp_path / "journal"), journal_tables(tmp_path / "again")
    assert (VENUE, BTC, "ORDERBOOK", "BOOK") in live
    assert records == sum(len(table) for table in live.values())
    assert differences(live, again) == {}


async def test_after_a_loss_on_the_way_to_the_disk_a_playback_finds_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Exchange(ExchangeConfig(markets=("usdm",), symbols=(BTC,), rate=3000.0)) as exchange:
        market = exchange.market("usdm")
        plan = VenuePlan(VENUE, ws_url=market.ws_url, rest_url=market.rest_url, symbols=(BTC,))
        hub = Hub()
        # Room enough that a busy machine loses nothing more after the loss that is made here.
        recorder = Recorder(tmp_path / "capture", flush_interval_s=0.02, buffer_bytes=1_000_000)
        ingest = Ingest(hub, [(load(VENUES, VENUE, "venue"), plan)], engine=LARGE_RINGS, capture=recorder)
        journal = Journal(hub, tmp_path / "journal", books_every_s=0.0)
        await journal.start()
        await recorder.start()
        await ingest.start()
        try:
            await until(lambda: [state for *_, state in ingest.books()] == ["synced"], "the first book")
            with monkeypatch.context() as broken:
                broken.setattr("raven.ingest.recorder._File.append", full_disk)
                await until(lambda: recorder.lost > 1_000, "a loss")
            await until(
                lambda: changes_after_the_answer(tmp_path / "capture") >= ENOUGH,
                "an answer after the loss, and changes",
            )
        finally:
            await ingest.stop()
            await recorder.stop()
            await journal.stop()

    await asyncio.to_thread(rebuild, [tmp_path / "capture"], tmp_path / "again")

    live, again = (
        journal_tables(tmp_path / name)[VENUE, BTC, "ORDERBOOK", "BOOK"].to_pylist() for name in ("journal", "again")
    )
    states = {row["id"]: (row["bid_prices"], row["bid_quantities"], row["ask_prices"]) for row in live}
    assert again[-1]["id"] == live[-1]["id"], "the playback has no book at the end"
    good = [row for row in again if not row["flags"] and row["id"] in states]
    # Not all of them: an answer may be newer than the first changes after it.
    assert len(good) >= ENOUGH // 2
    assert all(states[row["id"]] == (row["bid_prices"], row["bid_quantities"], row["ask_prices"]) for row in good)


def full_disk(*_: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def changes_after_the_answer(folder: Path) -> int:
    """Count the changes of the book that a playback can apply: those after the first answer after the last loss."""
    lines = [line.raw for line in read_recording(recording_files([folder]), notes=True, on_damage=lambda _: None)]
    lost = [place for place, line in enumerate(lines) if b'"raven":"lost"' in line]
    after = lines[lost[-1] :] if lost else []
    answers = (place for place, line in enumerate(after) if line.startswith(b'{"rest"'))
    return sum(b'"depthUpdate"' in line for line in after[next(answers, len(after)) :])


def test_what_is_no_capture_and_a_folder_with_a_journal_are_refused(tmp_path: Path) -> None:
    recording = tmp_path / "a.txt"
    recording.write_text('5 {"e":1}\n')
    with pytest.raises(DataValidation, match="no capture"):
        rebuild([recording], tmp_path / "new")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "0000000001.segment").touch()
    with pytest.raises(ConfigurationError, match="a journal already"):
        rebuild([recording], tmp_path / "old")

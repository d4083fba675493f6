"""Segments become Parquet while the server runs, beside it, and what cannot be done is said."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.journals import START_NS, manifests, now, trade_ids, write_days

from raven._core import Engine, Hub
from raven.journal import Journal, compact
from raven.journal.cursors import Position, save_cursor
from raven.journal.following import Follower
from raven.journal.house import Task, keep_house
from raven.journal.keeping import Keeper, KeeperSettings
from raven.journal.partitions import parquet_folder
from raven.journal.retention import Days, Retention
from raven.journal.segment import segments_in
from raven.observe import REGISTRY


def taken_unread() -> float:
    return REGISTRY.get_sample_value("raven_journal_unread_removed_records_total", {"sink": "influx"}) or 0


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def hardly_nice(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a busy machine does not keep us waiting."""
    monkeypatch.setattr("raven.journal.keeping._NICE", 1)


async def test_finished_segments_become_parquet_while_the_server_runs(tmp_path: Path) -> None:
    for day in range(3):
        write_days(tmp_path, day)
    keeper = Keeper(tmp_path, KeeperSettings(interval_s=0.01))
    await keeper.start()
    await until(lambda: keeper.rounds)
    await keeper.stop()
    assert len(segments_in(tmp_path)) == 1
    assert len(trade_ids(tmp_path)) == 360
    assert keeper.trouble == ""


def is_at_work(journal: Path) -> bool:
    """Does somebody compact this journal?"""
    with (journal / "compaction.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def hang_at(journal: Path) -> None:
    """Make a journal whose compaction does not end: its oldest segment is a pipe into which nobody writes."""
    os.mkfifo(journal / "0000000001.segment")
    (journal / "0000000002.segment").touch()


async def test_a_round_is_a_process_of_a_lower_priority_that_ends_when_it_is_told(tmp_path: Path) -> None:
    hang_at(tmp_path)
    keeper = Keeper(tmp_path, KeeperSettings(interval_s=0.01))
    await keeper.start()
    await until(lambda: is_at_work(tmp_path))
    (nice,) = {one.nice() for one in psutil.Process().children() if "raven.journal.house" in " ".join(one.cmdline())}
    await keeper.stop()
    assert nice == os.getpriority(os.PRIO_PROCESS, 0) + 1
    assert not is_at_work(tmp_path)
    assert (keeper.rounds, keeper.trouble) == (0, "")


@pytest.mark.fault("P1")
async def test_a_round_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    hang_at(tmp_path)
    program = f"""
import asyncio
from pathlib import Path
from raven.journal.keeping import Keeper, KeeperSettings

async def main():
    await Keeper(Path({str(tmp_path)!r}), KeeperSettings(interval_s=0.01)).start()
    await asyncio.sleep(600)

asyncio.run(main())
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environment)
    await until(lambda: is_at_work(tmp_path))
    killed.kill()
    await killed.wait()
    await until(lambda: not is_at_work(tmp_path))


async def test_a_process_that_ends_before_it_is_done_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raven.journal.keeping._PROGRAM", "raise SystemExit(3)")
    keeper = Keeper(tmp_path, KeeperSettings(interval_s=0.01))
    await keeper.start()
    await until(lambda: keeper.rounds)
    await keeper.stop()
    assert "housekeeping: " in keeper.trouble


def test_what_a_database_has_not_read_stays_a_segment(tmp_path: Path) -> None:
    for day in range(4):
        write_days(tmp_path, day)
    save_cursor(tmp_path, "influx", Position(segment=2))
    assert keep_house(Task(tmp_path, now(4))).segments == 1
    assert [int(path.stem) for path in segments_in(tmp_path)] == [2, 3, 4]
    save_cursor(tmp_path, "influx", Position(segment=4))
    assert keep_house(Task(tmp_path, now(4))).segments == 2


def test_a_database_that_is_not_configured_any_more_holds_nothing_back(tmp_path: Path) -> None:
    for day in range(3):
        write_days(tmp_path, day)
    save_cursor(tmp_path, "questdb", Position(segment=1))
    assert keep_house(Task(tmp_path, now(3), readers={"influx": ()})).segments == 2


async def test_a_round_that_fails_is_said_and_tried_again(tmp_path: Path) -> None:
    for day in range(2):
        write_days(tmp_path, day)
    blocked = parquet_folder(tmp_path)
    blocked.write_text("in the way")
    keeper = Keeper(tmp_path, KeeperSettings(interval_s=0.01))
    await keeper.start()
    await until(lambda: keeper.trouble)
    blocked.unlink()
    await until(lambda: not keeper.trouble and len(segments_in(tmp_path)) == 1)
    await keeper.stop()
    assert len(trade_ids(tmp_path)) == 240


def test_a_manifest_says_what_is_continuous_and_why_the_rest_is_not(tmp_path: Path) -> None:
    hub = Hub()
    engine = Engine(hub)
    venue = engine.add_venue("binance_spot", "spot")
    engine.add_instrument(venue, "BTCUSDT")
    connection = engine.open_connection(venue)
    journal = Journal(hub, tmp_path)
    journal.open()
    for number in (1, 2, 5):
        event = {"e": "trade", "E": 1_700_000_000_000, "s": "BTCUSDT", "t": number, "p": "600", "q": "1"}
        event |= {"T": 1_700_000_000_000, "m": False, "M": True}
        engine.on_frame(connection, START_NS, json.dumps(event).encode())
    journal.close()
    write_days(tmp_path, 0, count=1)
    compact(tmp_path)
    (entry,) = manifests(parquet_folder(tmp_path))[0]["files"].values()
    assert entry["rows"] == 3
    assert [first for first, _ in entry["continuous"]] == [1, entry["last_sequence"]], (
        "a mark has a sequence of its own"
    )
    marks = {(gap["count"], gap["first_id"], gap["last_id"], gap["reason"]) for gap in entry["gaps"]}
    assert marks == {(2, 3, 4, "venue_gap")}


@pytest.mark.fault("D5")
def test_segments_that_are_too_much_become_parquet_and_a_database_reads_on_there(tmp_path: Path) -> None:
    for day in range(3):
        write_days(tmp_path, day)
    save_cursor(tmp_path, "influx", Position(segment=1))
    size = sum(path.stat().st_size for path in segments_in(tmp_path))
    assert keep_house(Task(tmp_path, now(3), retention=Retention(max_bytes=size))).segments == 0

    done = keep_house(Task(tmp_path, now(3), retention=Retention(max_bytes=size - 1)))

    assert (done.segments, done.retired.unread) == (2, {})
    follower, ids = Follower(tmp_path, Position(segment=1)), []
    while step := follower.read(1000):
        ids += [number for batch in step.batches for number in batch.records["id"].to_pylist()]
    assert ids == [*range(1, 121), *range(1001, 1121), *range(2001, 2121)]


def test_on_a_full_disk_what_is_old_leaves_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(tmp_path, 0)
    write_days(tmp_path, 1)
    compact(tmp_path)
    write_days(tmp_path, 2)

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("raven.journal.compaction.write_blocks", full)
    done = keep_house(Task(tmp_path, now(3), retention=Retention(Days(delete=3))))
    assert "No space left" in done.trouble
    assert done.retired.files == {"removed": 1}
    assert trade_ids(tmp_path) == [*range(1001, 1121), *range(2001, 2121)]


def test_what_a_round_is_to_do_survives_the_way_into_its_process(tmp_path: Path) -> None:
    retention = Retention(Days(1, 2, 3), {"quotes": Days(delete=7)}, tmp_path / "archive", 10**9, ["quotes"])
    task = Task(tmp_path, 17, compacts=False, retention=retention, readers={"influx": ["trades"]})
    assert Task.from_json(task.to_json()) == task
    simple = Task(tmp_path, 17, retention=Retention(first=[]))
    assert Task.from_json(simple.to_json()) == simple


@pytest.mark.fault("D5")
async def test_what_the_quota_took_from_a_database_is_told_until_the_next_start(tmp_path: Path) -> None:
    for day in range(3):
        write_days(tmp_path, day)
    save_cursor(tmp_path, "influx", Position(segment=1))
    retention = Retention(max_bytes=1)
    keeper = Keeper(tmp_path, KeeperSettings(interval_s=0.01, retention=retention))
    before = taken_unread()
    await keeper.start()
    await until(lambda: keeper.rounds >= 2)
    await keeper.stop()
    assert keeper.trouble == "housekeeping: 240 records left before influx had them"
    assert taken_unread() - before == 240

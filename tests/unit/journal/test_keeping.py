"""Segments become Parquet while the server runs, old days leave as they are told to, and it is written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from raven._core import Engine, Hub
from raven.errors import ConfigurationError
from raven.journal import Journal, compact, verify_journal
from raven.journal.cursors import Position, save_cursor
from raven.journal.history import Wanted, history
from raven.journal.keeping import Keeper, KeeperSettings
from raven.journal.partitions import parquet_folder
from raven.journal.retention import Days, Retention, apply_retention
from raven.journal.segment import segments_in
from raven.topics import DataType

DAY_NS = 86_400 * 10**9
START_NS = 20_000 * DAY_NS


def run(folder: Path, *days: int, count: int = 120) -> None:
    """One run of a server: on each day trades, one a second."""
    hub = Hub()
    journal = Journal(hub, folder)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 18)
    for day in days:
        for number in range(count):
            at = START_NS + day * DAY_NS + number * 10**9
            trades.trade(
                at + 5, at, day * 1000 + number + 1, 60_000 + number % 7, 25, price_scale=2, quantity_scale=3,
                taker_sells=False,
            )  # fmt: skip
    journal.close()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Three days, compacted, and a run whose segment is the newest."""
    run(tmp_path, 0, 1)
    run(tmp_path, 2)
    run(tmp_path, 3, count=1)
    compact(tmp_path)
    return tmp_path


def ids(folder: Path) -> list[int]:
    wanted = Wanted({"BTCUSDT"}, DataType.TRADES)
    return [number for table in history(folder, wanted) for number in table["id"].to_pylist()]


def manifests(folder: Path, name: str = "trades") -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"date=*/*/type={name}/*/_manifest.json"))]


def archived_days(archive: Path) -> list[int]:
    folders = sorted({path.parts[-5] for path in archive.glob("date=*/*/type=trades/*/*.parquet")})
    return [(date.fromisoformat(one.partition("=")[2]) - date(1970, 1, 1)).days - 20_000 for one in folders]


def now(day: int) -> int:
    return START_NS + day * DAY_NS + 1


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.005)


async def test_finished_segments_become_parquet_while_the_server_runs(tmp_path: Path) -> None:
    for day in range(3):
        run(tmp_path, day)
    keeper = Keeper(tmp_path, KeeperSettings(interval_s=0.01))
    await keeper.start()
    await until(lambda: len(segments_in(tmp_path)) == 1)
    await keeper.stop()
    assert len(ids(tmp_path)) == 360
    assert keeper.trouble == ""


def test_what_a_database_has_not_read_stays_a_segment(tmp_path: Path) -> None:
    for day in range(4):
        run(tmp_path, day)
    save_cursor(tmp_path, "influx", Position(segment=2))
    keeper = Keeper(tmp_path, KeeperSettings())
    assert keeper.round().segments == 1
    assert [int(path.stem) for path in segments_in(tmp_path)] == [2, 3, 4]
    save_cursor(tmp_path, "influx", Position(segment=4))
    assert keeper.round().segments == 2


def test_a_database_that_is_not_configured_any_more_holds_nothing_back(tmp_path: Path) -> None:
    for day in range(3):
        run(tmp_path, day)
    save_cursor(tmp_path, "questdb", Position(segment=1))
    assert Keeper(tmp_path, KeeperSettings(readers=["influx"])).round().segments == 2


async def test_a_round_that_fails_is_said_and_tried_again(tmp_path: Path) -> None:
    for day in range(2):
        run(tmp_path, day)
    blocked = parquet_folder(tmp_path)
    blocked.write_text("in the way")
    keeper = Keeper(tmp_path, KeeperSettings(interval_s=0.01))
    await keeper.start()
    await until(lambda: keeper.trouble)
    blocked.unlink()
    await until(lambda: not keeper.trouble and len(segments_in(tmp_path)) == 1)
    await keeper.stop()
    assert len(ids(tmp_path)) == 240


def test_days_that_are_old_enough_are_removed_and_it_is_written_down(journal: Path) -> None:
    apply_retention(journal, Retention(Days(delete=2)), now(3))
    assert ids(journal) == [*range(2001, 2121), 3001]
    removed = [one["removed"] for one in manifests(parquet_folder(journal))[:2]]
    (entry,) = removed[0].values()
    assert (entry["rows"], entry["first_id"], entry["why"]) == (120, 1, "older than delete_days")


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
    run(tmp_path, 0, count=1)
    compact(tmp_path)
    (entry,) = manifests(parquet_folder(tmp_path))[0]["files"].values()
    assert entry["rows"] == 3
    assert [first for first, _ in entry["continuous"]] == [1, entry["last_sequence"]], (
        "a mark has a sequence of its own"
    )
    marks = {(gap["count"], gap["first_id"], gap["last_id"], gap["reason"]) for gap in entry["gaps"]}
    assert marks == {(2, 3, 4, "venue_gap")}


def test_nothing_leaves_by_default(journal: Path) -> None:
    apply_retention(journal, Retention(), now(30_000))
    assert len(ids(journal)) == 361


def test_types_can_have_days_of_their_own(journal: Path) -> None:
    apply_retention(journal, Retention(Days(delete=1), {"trades": Days()}), now(3))
    assert len(ids(journal)) == 361


def test_old_days_become_bars_of_a_minute(journal: Path) -> None:
    retention = Retention(Days(downsample=3))
    apply_retention(journal, retention, now(3))
    assert 1 not in ids(journal)
    assert 1001 in ids(journal)
    (path,) = parquet_folder(journal).glob("date=*/*/type=trades_by_minute/*/*.parquet")
    rows = pq.read_table(path, partitioning=None).to_pylist()
    assert [(row["trades"], row["first_id"], row["last_id"]) for row in rows] == [(60, 1, 60), (60, 61, 120)]
    assert (rows[0]["open"], rows[0]["high"], rows[0]["low"]) == (Decimal(600), Decimal("600.06"), Decimal(600))
    assert rows[0]["volume"] == Decimal("1.5")
    assert verify_journal(journal).is_sound
    apply_retention(journal, retention, now(3))
    assert len(list(parquet_folder(journal).glob("date=*/*/type=trades_by_minute/*/*.parquet"))) == 1


@pytest.mark.fault("D6")
def test_a_crash_between_any_two_steps_is_mended_by_the_next_round(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal of a file never comes about: what was downsampled is not counted twice."""
    retention = Retention(Days(downsample=3))
    with monkeypatch.context() as crash:
        crash.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            apply_retention(journal, retention, now(3))
    apply_retention(journal, retention, now(3))
    (path,) = parquet_folder(journal).glob("date=*/*/type=trades_by_minute/*/*.parquet")
    assert sum(row["trades"] for row in pq.read_table(path, partitioning=None).to_pylist()) == 120
    assert 1 not in ids(journal)


@pytest.mark.fault("D6")
def test_a_crash_between_two_removals_counts_no_trade_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        run(tmp_path, 0, count=60)
    run(tmp_path, 3, count=1)
    compact(tmp_path)
    unlink, removed = Path.unlink, list[Path]()

    def killed_after_one(path: Path, missing_ok: bool = False) -> None:
        if removed:
            raise OSError("killed")
        removed.append(path)
        unlink(path, missing_ok)

    with monkeypatch.context() as crash:
        crash.setattr(Path, "unlink", killed_after_one)
        with pytest.raises(OSError, match="killed"):
            apply_retention(tmp_path, Retention(Days(downsample=3)), now(3))
    apply_retention(tmp_path, Retention(Days(downsample=3)), now(3))

    (path,) = parquet_folder(tmp_path).glob("date=*/*/type=trades_by_minute/*/*.parquet")
    assert sum(row["trades"] for row in pq.read_table(path, partitioning=None).to_pylist()) == 120
    assert ids(tmp_path) == [3001]


def test_old_days_go_to_the_archive_and_from_there(journal: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    retention = Retention(Days(archive=2, delete=4), archive=archive)
    apply_retention(journal, retention, now(3))
    assert archived_days(archive) == [0, 1]
    assert ids(journal) == [*range(2001, 2121), 3001]
    apply_retention(journal, retention, now(4))
    assert archived_days(archive) == [1, 2]


def test_an_archive_needs_a_folder() -> None:
    with pytest.raises(ConfigurationError, match=r"archive_dir; name a folder"):
        Retention(Days(archive=2))


@pytest.mark.fault("D5")
def test_the_oldest_days_leave_when_the_disk_is_to_hold_less(journal: Path) -> None:
    files = sorted(parquet_folder(journal).glob("date=*/*/type=trades/*/*.parquet"))
    size = sum(path.stat().st_size for path in [*files, *segments_in(journal)])
    apply_retention(journal, Retention(max_bytes=size - 1), now(3))
    left = sorted(parquet_folder(journal).glob("date=*/*/type=trades/*/*.parquet"))
    assert left == files[1:]
    assert "retention_bytes" in next(iter(manifests(parquet_folder(journal))[0]["removed"].values()))["why"]


def test_it_is_said_aloud_when_a_database_has_not_had_what_leaves(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_cursor(journal, "influx", Position())
    apply_retention(journal, Retention(Days(delete=3)), now(3))
    assert "a database has not had" in capsys.readouterr().out

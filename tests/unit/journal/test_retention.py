"""What is old enough leaves a journal, what is too much leaves in a stated order, and all of it is written down."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.journals import manifests, now, trade_ids, write_days

from raven._core import Engine, Hub
from raven.errors import ConfigurationError
from raven.journal import Journal, compact, verify_journal
from raven.journal.cursors import Position, save_cursor
from raven.journal.manifests import manifest_to_change, write_manifest
from raven.journal.merging import merge
from raven.journal.partitions import parquet_folder
from raven.journal.retention import Days, Retention, Retired, apply_retention
from raven.journal.segment import segments_in


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Three days, compacted, and a run whose segment is the newest."""
    write_days(tmp_path, 0, 1)
    write_days(tmp_path, 2)
    write_days(tmp_path, 3, count=1)
    compact(tmp_path)
    return tmp_path


def archived_days(archive: Path) -> list[int]:
    folders = sorted({path.parts[-5] for path in parquet_folder(archive).glob("date=*/*/type=trades/*/*.parquet")})
    return [(date.fromisoformat(one.partition("=")[2]) - date(1970, 1, 1)).days - 20_000 for one in folders]


def test_days_that_are_old_enough_are_removed_and_it_is_written_down(journal: Path) -> None:
    apply_retention(journal, Retention(Days(delete=2)), now(3))
    assert trade_ids(journal) == [*range(2001, 2121), 3001]
    removed = [one["removed"] for one in manifests(parquet_folder(journal))[:2]]
    (entry,) = removed[0].values()
    assert (entry["rows"], entry["first_id"], entry["why"]) == (120, 1, "older than 2 days")


def test_nothing_leaves_by_default(journal: Path) -> None:
    apply_retention(journal, Retention(), now(30_000))
    assert len(trade_ids(journal)) == 361


def test_types_can_have_days_of_their_own(journal: Path) -> None:
    apply_retention(journal, Retention(Days(delete=1), {"trades": Days()}), now(3))
    assert len(trade_ids(journal)) == 361


def test_old_days_become_bars_of_a_minute(journal: Path) -> None:
    retention = Retention(Days(downsample=3))
    apply_retention(journal, retention, now(3))
    assert 1 not in trade_ids(journal)
    assert 1001 in trade_ids(journal)
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
    assert 1 not in trade_ids(journal)


@pytest.mark.fault("D6")
def test_a_crash_between_two_removals_counts_no_trade_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        write_days(tmp_path, 0, count=60)
    write_days(tmp_path, 3, count=1)
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
    assert trade_ids(tmp_path) == [3001]


def test_old_days_go_to_the_archive_and_from_there(journal: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    retention = Retention(Days(archive=2, delete=4), archive=archive)
    apply_retention(journal, retention, now(3))
    assert archived_days(archive) == [0, 1]
    assert trade_ids(journal) == [*range(2001, 2121), 3001]
    apply_retention(journal, retention, now(4))
    assert archived_days(archive) == [1, 2]


def test_an_archive_can_be_read_like_a_journal(journal: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    apply_retention(journal, Retention(Days(archive=2, delete=3), archive=archive), now(3))
    apply_retention(journal, Retention(Days(archive=1), archive=archive), now(3))
    assert trade_ids(archive) == [*range(1001, 1121), *range(2001, 2121)]
    assert verify_journal(journal).is_sound
    Path(next(parquet_folder(archive).glob("date=*/*/*/*/*.parquet"))).unlink()
    (problem,) = verify_journal(archive).problems
    assert "is missing" in problem.reason


@pytest.mark.fault("D5")
def test_a_large_file_goes_to_the_archive_piece_by_piece(journal: Path, tmp_path: Path) -> None:
    day = min(parquet_folder(journal).glob("date=*/*/type=trades/*"))
    large = day / "0000000099.parquet"
    large.write_bytes(bytes(32 << 20))
    manifest = manifest_to_change(day)
    manifest["files"][large.name] = {"rows": 1, "sha256": ""}
    write_manifest(day, manifest)

    tracemalloc.start()
    apply_retention(journal, Retention(Days(archive=2), archive=tmp_path / "archive"), now(3))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (large.exists(), most < 16 << 20) == (False, True)


def test_an_archive_that_is_full_does_not_keep_the_quota_from_being_kept(journal: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("no folder")
    retention = Retention(Days(archive=2), archive=tmp_path / "archive", max_bytes=1)
    done = Retired()
    with pytest.raises(NotADirectoryError):
        apply_retention(journal, retention, now(3), done=done)
    assert done.files == {"removed": 3}
    assert trade_ids(journal) == [3001]


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
    assert "larger than" in next(iter(manifests(parquet_folder(journal))[0]["removed"].values()))["why"]


@pytest.mark.fault("D5")
def test_a_type_may_be_chosen_to_leave_first(tmp_path: Path) -> None:
    write_days(tmp_path, 0, 1, quotes=50)
    write_days(tmp_path, 2, count=1)
    compact(tmp_path)
    size = size_of(tmp_path)
    quotes = sorted(parquet_folder(tmp_path).glob("date=*/*/type=quotes/*/*.parquet"))
    retention = Retention(max_bytes=size - quotes[0].stat().st_size - 1, first=["quotes"])
    done = apply_retention(tmp_path, retention, now(3))
    assert (done.files, done.unread) == ({"removed": 2}, {})
    assert not any(path.exists() for path in quotes)
    assert len(trade_ids(tmp_path)) == 241


@pytest.mark.fault("D5")
def test_what_a_database_has_not_had_leaves_last_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in range(3):
        write_days(tmp_path, day, quotes=50)
    write_days(tmp_path, 3, count=1)
    compact(tmp_path)
    save_cursor(tmp_path, "influx", Position(segment=1))
    save_cursor(tmp_path, "questdb", Position(segment=3))
    save_cursor(tmp_path, "gone", Position())
    readers = {"influx": ["quotes"], "questdb": []}

    # Influx takes quotes only: trades that QuestDB has leave first.
    size = size_of(tmp_path)
    done = apply_retention(tmp_path, Retention(max_bytes=size - 1), now(4), readers=readers)
    assert (done.files, done.unread) == ({"removed": 1}, {})
    assert trade_ids(tmp_path)[0] == 1001

    done = apply_retention(tmp_path, Retention(max_bytes=1), now(4), readers=readers)
    assert done.unread == {"influx": 150, "questdb": 120 + 50}
    assert capsys.readouterr().out.count("a database has not had") == 5
    (entry,) = manifests(parquet_folder(tmp_path), "quotes")[2]["removed"].values()
    assert entry["unread_by"] == {"influx": 50, "questdb": 50}


def test_a_day_is_kept_until_every_database_has_had_it(journal: Path, tmp_path: Path) -> None:
    for retention in (
        Retention(Days(delete=1)), Retention(Days(downsample=1)), Retention(Days(archive=1), archive=tmp_path / "a"),
    ):  # fmt: skip
        save_cursor(journal, "influx", Position(segment=1))
        done = apply_retention(journal, retention, now(3))
        assert (done.files, done.held, len(trade_ids(journal))) == ({}, 3, 361)
    save_cursor(journal, "influx", Position(segment=2))
    done = apply_retention(journal, Retention(Days(delete=1)), now(3))
    assert (done.files, done.held) == ({"removed": 2}, 1)


def test_every_type_has_days_of_its_own(tmp_path: Path) -> None:
    write_days(tmp_path, 0, 1, quotes=50)
    write_days(tmp_path, 2, count=1)
    compact(tmp_path)
    done = apply_retention(tmp_path, Retention(Days(downsample=2), {"quotes": Days(delete=2)}), now(2))
    assert done.files == {"downsampled": 1, "removed": 1}
    assert len(trade_ids(tmp_path)) == 121
    assert sum(manifest["rows"] for manifest in manifests(parquet_folder(tmp_path), "quotes")) == 50


def test_what_comes_late_goes_into_the_minutes_of_its_day(tmp_path: Path) -> None:
    retention = Retention(Days(downsample=3))
    write_days(tmp_path, 0, count=90, first=31)
    write_days(tmp_path, 3, count=1)
    compact(tmp_path)
    apply_retention(tmp_path, retention, now(3))
    write_days(tmp_path, 0, count=30)
    write_days(tmp_path, 3, count=1, first=2)
    compact(tmp_path)
    apply_retention(tmp_path, retention, now(3))

    assert minutes(tmp_path) == [(60, 1, 60), (60, 61, 120)]
    assert trade_ids(tmp_path) == [3001, 3002]
    assert verify_journal(tmp_path).is_sound


def test_the_last_state_of_a_minute_is_that_of_all_files(tmp_path: Path) -> None:
    retention = Retention(Days(downsample=3))
    for count in (90, 100):
        write_days(tmp_path, 0, count=0, quotes=count)
        write_days(tmp_path, 3, count=1)
        compact(tmp_path)
        apply_retention(tmp_path, retention, now(3))
    (path,) = parquet_folder(tmp_path).glob("date=*/*/type=quotes_by_minute/*/*.parquet")
    assert [row["ask_quantity"] for row in pq.read_table(path, partitioning=None).to_pylist()] == [60, 100]


def test_the_last_book_of_a_minute_keeps_its_levels(tmp_path: Path) -> None:
    hub = Hub()
    engine = Engine(hub)
    connection = engine.open_connection(engine.add_venue("binance_spot", "spot"))
    book = engine.add_instrument(0, "BTCUSDT")
    journal = Journal(hub, tmp_path, books_every_s=0.0)
    journal.open()
    engine.on_snapshot(book, now(0), b'{"lastUpdateId":10,"bids":[["100.1","1.5"]],"asks":[["100.2","3"]]}')
    for number in range(11, 14):
        ms = (now(0) + (number - 11) * 40 * 10**9) // 10**6
        diff = {"e": "depthUpdate", "E": ms, "s": "BTCUSDT", "U": number, "u": number, "a": []}
        diff["b"] = [[f"{number}.5", str(number)]]
        engine.on_frame(connection, ms * 10**6, json.dumps(diff).encode())
    journal.close()
    write_days(tmp_path, 3, count=1)
    compact(tmp_path)

    assert apply_retention(tmp_path, Retention(Days(downsample=3)), now(3)).files == {"downsampled": 1}

    (path,) = parquet_folder(tmp_path).glob("date=*/*/type=orderbook_by_minute/*/*.parquet")
    rows = pq.read_table(path, partitioning=None).to_pylist()
    assert [(row["id"], row["bid_prices"]) for row in rows] == [
        (12, [Decimal("100.1"), Decimal("12.5"), Decimal("11.5")]),
        (13, [Decimal("100.1"), Decimal("13.5"), Decimal("12.5"), Decimal("11.5")]),
    ]


def test_bars_and_what_is_rare_are_never_downsampled(journal: Path) -> None:
    trades = parquet_folder(journal) / "date=2024-10-04" / "venue=binance_spot" / "type=trades"
    trades.rename(trades.with_name("type=tick_bars"))
    assert apply_retention(journal, Retention(Days(downsample=3)), now(3)).files == {}


@pytest.mark.fault("D6")
def test_late_files_that_were_merged_with_what_a_crash_left_are_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retention = Retention(Days(downsample=3))
    write_days(tmp_path, 0, count=60)
    write_days(tmp_path, 3, count=1)
    compact(tmp_path)
    with monkeypatch.context() as crash:
        crash.setattr("raven.journal.retention._Run._take_away", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            apply_retention(tmp_path, retention, now(3))
    write_days(tmp_path, 0, count=60, first=61)
    write_days(tmp_path, 3, count=1, first=2)
    compact(tmp_path)
    assert merge(tmp_path, now(3)).files >= 2
    apply_retention(tmp_path, retention, now(3))

    assert minutes(tmp_path) == [(60, 1, 60), (60, 61, 120)]
    assert 1 not in trade_ids(tmp_path)


def test_the_archive_says_what_is_in_it(journal: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    apply_retention(journal, Retention(Days(archive=2), archive=archive), now(3))
    before = manifests(parquet_folder(journal))[0]
    there = manifests(parquet_folder(archive))[0]
    ((name, entry),) = there["files"].items()
    path = min(parquet_folder(archive).glob(f"date=*/*/type=trades/*/{name}"))
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (there["rows"], entry["rows"], entry["first_id"], entry["last_id"]) == (120, 120, 1, 120)
    assert "archived in" in before["removed"][name]["why"]
    assert before["removed"][name]["on"] == "2024-10-07"


def size_of(journal: Path) -> int:
    """Bytes of segments and Parquet, as the quota counts them."""
    paths = [*parquet_folder(journal).glob("date=*/*/*/*/*.parquet"), *segments_in(journal)]
    return sum(path.stat().st_size for path in paths)


def minutes(journal: Path) -> list[tuple[int, int, int]]:
    """Number, first and last of the trades of each minute of the only day that was downsampled."""
    (path,) = parquet_folder(journal).glob("date=*/*/type=trades_by_minute/*/*.parquet")
    rows = pq.read_table(path, partitioning=None).to_pylist()
    return [(row["trades"], row["first_id"], row["last_id"]) for row in rows]

"""Files of a day become one: the same records, in the same order, and never twice, whenever a crash comes."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raven._core import Hub
from raven.journal import Journal, compact, merging, parquet_folder, replacing, verify_journal
from raven.journal.history import Wanted, history
from raven.journal.merging import merge
from raven.topics import DataType

DAY_NS = 86_400 * 10**9
START_NS = 20_000 * DAY_NS
TOMORROW_NS = START_NS + DAY_NS


def run(folder: Path, *batches: range, scale: int = 2) -> None:
    """One run of a server: a segment for each batch of trades."""
    hub = Hub()
    journal = Journal(hub, folder, segment_max_bytes=1)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 18)
    for ids in batches:
        for number in ids:
            at = START_NS + number * 1_000_000
            trades.trade(at + 5, at, number, 60_000, 25, price_scale=scale, quantity_scale=3, taker_sells=False)
        journal.turn()
    journal.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files of a day, of two runs of a server, and a segment."""
    run(tmp_path, range(1, 11), range(11, 21))
    run(tmp_path, range(21, 31), range(31, 41))
    run(tmp_path, range(41, 42))
    compact(tmp_path)
    return tmp_path


def files(folder: Path) -> list[Path]:
    """What a program sees that looks for Parquet files."""
    return sorted(parquet_folder(folder).glob("**/type=trades/**/*.parquet"))


def ids_in(paths: list[Path]) -> list[int]:
    return [number for path in paths for number in pq.read_table(path, partitioning=None)["id"].to_pylist()]


def ids(folder: Path) -> list[int]:
    wanted = Wanted({"BTCUSDT"}, DataType.TRADES)
    return [number for table in history(folder, wanted) for number in table["id"].to_pylist()]


def test_a_day_that_is_over_becomes_one_file(folder: Path) -> None:
    before = sorted(path.stem for path in files(folder))
    assert merge(folder, START_NS).files == 0, "today more may come"
    merged = merge(folder, TOMORROW_NS)

    (path,) = files(folder)
    assert (merged.files, path.name) == (len(before), f"{before[0]}-{before[-1]}.parquet")
    assert ids_in([path]) == list(range(1, 41))
    assert ids(folder) == list(range(1, 42))
    assert verify_journal(folder).is_sound
    assert merge(folder, TOMORROW_NS).files == 0


def test_the_manifest_says_which_segments_are_in_it(folder: Path) -> None:
    merge(folder, TOMORROW_NS)
    (path,) = files(folder)
    manifest = json.loads((path.parent / "_manifest.json").read_text())
    (entry,) = manifest["files"].values()
    assert (manifest["rows"], entry["rows"], entry["first_id"], entry["last_id"]) == (40, 40, 1, 40)
    assert entry["continuous"] == [[1, 20], [1, 20]], "sequences begin anew with each run"
    assert [rows for _, rows in entry["segments"]] == [10, 10, 10, 10]
    assert len(entry["runs"]) == 2
    groups = pq.read_metadata(path)
    assert [groups.row_group(one).num_rows for one in range(groups.num_row_groups)] == [20, 20], "one for each run"


def test_what_comes_late_joins_them(folder: Path) -> None:
    merge(folder, TOMORROW_NS)
    run(folder, range(42, 43))
    compact(folder)
    assert merge(folder, TOMORROW_NS).files == 2
    assert ids_in(files(folder)) == list(range(1, 42))
    assert ids(folder) == list(range(1, 43))


def test_while_a_day_lasts_many_small_files_become_one(tmp_path: Path) -> None:
    batches = [range(first, first + 2) for first in range(1, 37, 2)]
    run(tmp_path, *batches[:16])
    run(tmp_path, range(33, 35))
    compact(tmp_path)
    assert merge(tmp_path, START_NS).files == 0
    run(tmp_path, range(35, 37))
    compact(tmp_path)
    assert merge(tmp_path, START_NS).into == 1
    assert ids_in(files(tmp_path)) == list(range(1, 35))


def test_long_decimals_and_short_ones_stay_exact(tmp_path: Path) -> None:
    run(tmp_path, range(1, 2))
    run(tmp_path, range(2, 3), scale=15)
    run(tmp_path, range(3, 4))
    compact(tmp_path)
    before = [row["price"] for path in files(tmp_path) for row in pq.read_table(path, partitioning=None).to_pylist()]
    merge(tmp_path, TOMORROW_NS)
    (path,) = files(tmp_path)
    assert [row["price"] for row in pq.read_table(path, partitioning=None).to_pylist()] == before


@pytest.mark.fault("D4")
def test_a_damaged_file_is_not_merged_with_whole_ones(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = files(folder)[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert merge(folder, TOMORROW_NS).files == 0
    assert "not what its manifest says" in capsys.readouterr().out
    assert [problem.path for problem in verify_journal(folder).problems] == [path]


def killed(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "killed")


def unsupported(*_: object) -> None:
    raise OSError(errno.EINVAL, "not on this file system")


@pytest.mark.fault("D6")
@pytest.mark.parametrize("where", ["writing", "manifest", "exchange", "removal"])
def test_a_crash_leaves_the_old_files_or_the_new_one(folder: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: dict[str, tuple[object, str]] = {
        "writing": (merging, "write_blocks"),
        "manifest": (merging, "write_manifest"),
        "exchange": (replacing, "_exchange"),
        "removal": (shutil, "rmtree"),
    }
    with monkeypatch.context() as crash:
        crash.setattr(*steps[where], killed)
        with pytest.raises(OSError, match="killed"):
            merge(folder, TOMORROW_NS)
    assert sorted(ids_in(files(folder))) == list(range(1, 41))
    assert ids(folder) == list(range(1, 42))
    assert verify_journal(folder).is_sound

    merge(folder, TOMORROW_NS)
    assert ids_in(files(folder)) == list(range(1, 41))
    assert not (folder / ".replacing").exists()


@pytest.mark.fault("D6")
@pytest.mark.parametrize("renames", [0, 1, 2])
def test_where_folders_cannot_change_places_a_crash_is_mended_by_the_next_round(
    folder: Path, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename: Callable[[Path, Path], Path] = Path.rename
    left = [renames]

    def renames_then_dies(path: Path, target: Path) -> Path:
        if path.is_dir():
            left[0] -= 1
            if left[0] < 0:
                killed()
        return rename(path, target)

    monkeypatch.setattr(replacing, "_exchange", unsupported)
    with monkeypatch.context() as crash:
        crash.setattr(Path, "rename", renames_then_dies)
        if renames < 2:
            with pytest.raises(OSError, match="killed"):
                merge(folder, TOMORROW_NS)
        else:
            merge(folder, TOMORROW_NS)
    merge(folder, TOMORROW_NS)
    assert ids_in(files(folder)) == list(range(1, 41))
    assert verify_journal(folder).is_sound

"""D4: a manifest that makes no sense is named by verify, and stops neither reading nor the keeping of the house."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.journal.test_damage import journal_of

from raven.clock import SystemClock
from raven.journal import compact, parquet_folder, verify_journal
from raven.journal.history import Wanted, history
from raven.journal.house import Task, keep_house
from raven.journal.manifests import DAMAGED, MANIFEST, read_manifest
from raven.journal.retention import Days, Retention
from raven.topics import DataType

pytestmark = pytest.mark.fault("D4")

NONSENSE = ["{garbage", "", "[1, 2]", '{"files": 5}', '{"files": {"0000000001.parquet": 1}}', "\ud83d"]


@pytest.fixture(params=[*NONSENSE, '{"files": {"0000000001.parquet": {}}}'])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two files of ten trades each with a broken manifest, and two segments with twenty more."""
    journal_of(tmp_path, 3)
    compact(tmp_path)
    manifest = folder_of(tmp_path) / MANIFEST
    manifest.write_bytes(request.param.encode("utf-8", "surrogatepass"))
    journal_of(tmp_path, 2)
    return tmp_path


def folder_of(journal: Path) -> Path:
    return next(parquet_folder(journal).rglob("0000000001.parquet")).parent


def ids(journal: Path) -> list[int]:
    return sorted(
        number for table in history(journal, Wanted({"BTCUSDT"}, DataType.TRADES)) for number in table["id"].to_pylist()
    )


def test_it_is_named_and_the_records_are_read(journal: Path) -> None:
    verdict = verify_journal(journal)
    assert not verdict.is_sound
    assert verdict.problems[0].path.parent == folder_of(journal)
    assert ids(journal) == sorted([*range(1, 31), *range(1, 21)])


def test_the_house_is_kept_and_nothing_is_lost(journal: Path) -> None:
    before = ids(journal)
    told = keep_house(Task(journal, SystemClock().time_ns() + 86_400 * 10**9))
    assert told.trouble == ""
    assert told.segments == 2
    assert ids(journal) == before
    assert read_manifest(folder_of(journal))["files"], "a new one begins"


def test_what_is_old_leaves_all_the_same(journal: Path) -> None:
    retention = Retention(Days(delete=10))
    keep_house(Task(journal, SystemClock().time_ns() + 20 * 86_400 * 10**9, retention=retention))
    assert ids(journal) == list(range(11, 21)), "of the segment that stays"


def test_what_it_said_is_kept_beside(tmp_path: Path) -> None:
    journal_of(tmp_path, 2)
    compact(tmp_path)
    folder = folder_of(tmp_path)
    (folder / MANIFEST).write_text("{garbage")
    journal_of(tmp_path, 2)
    compact(tmp_path)
    assert (folder / DAMAGED).read_text() == "{garbage"

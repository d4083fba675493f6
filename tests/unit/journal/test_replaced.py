"""Files become others while they are read: every record is read once, whatever happens between looking and opening."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from raven._core import Hub
from raven.ctl import sql
from raven.journal import Journal, compact, following, partitions, past, verify, verify_journal
from raven.journal import history as reading_history
from raven.journal.cursors import Position
from raven.journal.following import Follower
from raven.journal.history import Wanted, history
from raven.journal.merging import merge
from raven.journal.partitions import Part, parts_in
from raven.journal.past import Past
from raven.journal.segment import segments_in
from raven.topics import DataType

NS = 1_700_000_000_000_000_000
LATER_NS = NS + 2 * 86_400 * 10**9
EVERYTHING = list(range(1, 31))

Read = Callable[[Path], list[int]]


def by_history(folder: Path) -> list[int]:
    wanted = Wanted({"BTCUSDT"}, DataType.TRADES)
    return [number for table in history(folder, wanted) for number in table["id"].to_pylist()]


def by_past(folder: Path) -> list[int]:
    reader = Past(folder, "BTCUSDT", DataType.TRADES)
    return [number for records in reader.read() for number in records.words["id"].to_pylist()]


def by_follower(folder: Path) -> list[int]:
    follower = Follower(folder, Position())
    found: list[int] = []
    while (step := follower.read(4)) is not None:
        found += [number for batch in step.batches for number in batch.records["id"].to_pylist()]
    assert follower.missing == []
    return found


def by_sql(folder: Path) -> list[int]:
    answer = sql.ask(folder, "select id from trades order by id")
    return [number for table in answer.tables() for number in table["id"].to_pylist()]


def by_verify(folder: Path) -> list[int]:
    verdict = verify_journal(folder)
    assert verdict.is_sound, verdict.problems
    assert verdict.absent == []
    return list(range(1, sum(topic.records for topic in verdict.topics) + 1))


READERS: dict[str, tuple[ModuleType, Read]] = {
    "history": (reading_history, by_history),
    "past": (past, by_past),
    "follower": (following, by_follower),
    "sql": (sql, by_sql),
    "verify": (verify, by_verify),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty trades in six segments."""
    write(tmp_path, EVERYTHING)
    return tmp_path


def write(folder: Path, ids: list[int], segment_max_bytes: int = 1) -> None:
    hub = Hub()
    journal = Journal(hub, folder, segment_max_bytes=segment_max_bytes)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 18)
    for place in range(0, len(ids), 5):
        for number in ids[place : place + 5]:
            at = NS + number * 1_000_000
            trades.trade(at + 5, at, number, 60_000, 25, price_scale=2, quantity_scale=3, taker_sells=False)
        journal.turn()
    journal.close()


def after_looking(monkeypatch: pytest.MonkeyPatch, where: ModuleType, do: Callable[[], object]) -> None:
    """Once, between the look for segments and their reading, do something to the files."""
    waiting = [do]

    def look(folder: Path) -> list[Path]:
        found = segments_in(folder)
        if found and waiting:
            waiting.pop()()
        return found

    monkeypatch.setattr(where, "segments_in", look)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("name", READERS)
def test_segments_that_became_parquet_after_the_look_are_read_there(
    folder: Path, name: str, merged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace() -> None:
        compact(folder)
        if merged:
            merge(folder, LATER_NS)

    where, read = READERS[name]
    after_looking(monkeypatch, where, replace)
    assert read(folder) == EVERYTHING
    assert len(segments_in(folder)) == 1


@pytest.mark.parametrize("begun", [0, 3])
@pytest.mark.parametrize("name", [name for name in READERS if name != "sql"])
def test_files_that_are_merged_while_they_are_read_are_read_on_in_the_merged_one(
    folder: Path, name: str, begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`begun`: so many files are read before the others become one."""
    compact(folder)
    _, read = READERS[name]
    opened: list[object] = []
    open_file, read_bytes = pq.ParquetFile, Path.read_bytes

    with monkeypatch.context() as patch:

        def merge_first(path: object) -> None:
            opened.append(path)
            if len(opened) == begun + 1:
                patch.undo()
                assert merge(folder, LATER_NS).files == 5

        if name == "verify":
            patch.setattr(Path, "read_bytes", lambda path: (merge_first(path), read_bytes(path))[1])
        else:
            patch.setattr(
                partitions.pq, "ParquetFile", lambda path, **how: (merge_first(path), open_file(path, **how))[1]
            )
        assert read(folder) == EVERYTHING
    assert len(opened) == begun + 1
    assert len(list(folder.rglob("*.parquet"))) == 1
    assert read(folder) == EVERYTHING


def test_sql_looks_again_when_files_were_merged_before_it_opened_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(folder)
    looks: list[list[Part]] = []

    def merge_after(journal: Path, *, type: str) -> list[Part]:
        looks.append(parts_in(journal, type=type))
        merge(folder, LATER_NS)
        return looks[-1]

    monkeypatch.setattr(sql, "parts_in", merge_after)
    assert by_sql(folder) == EVERYTHING
    assert [len(parts) for parts in looks] == [5, 1]


def test_a_follower_in_the_middle_of_a_segment_reads_it_to_its_end(tmp_path: Path) -> None:
    write(tmp_path, EVERYTHING, segment_max_bytes=1 << 20)
    write(tmp_path, [31])
    assert len(segments_in(tmp_path)) == 2
    follower = Follower(tmp_path, Position())
    step = follower.read(1)
    assert step is not None
    found = list(step.batches[0].records["id"].to_pylist())
    assert found == [1, 2, 3, 4, 5]
    compact(tmp_path)
    while (step := follower.read(1)) is not None:
        found += [number for batch in step.batches for number in batch.records["id"].to_pylist()]
    assert found == [*EVERYTHING, 31]


def test_a_past_that_is_read_on_misses_nothing_of_what_was_compacted_meanwhile(tmp_path: Path) -> None:
    hub = Hub()
    journal = Journal(hub, tmp_path)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 18)
    trades.trades(10, 1, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()
    reader = Past(tmp_path, "BTCUSDT", DataType.TRADES)

    def read(until: Position | None = None) -> list[int]:
        return [number for records in reader.read(until) for number in records.words["id"].to_pylist()]

    assert read() == list(range(1, 11))
    trades.trades(5, 11, 5, 5, price_scale=0, quantity_scale=0)
    journal.close()
    write(tmp_path, list(range(16, 31)))
    compact(tmp_path)
    assert len(segments_in(tmp_path)) == 1
    assert read(Position(2, offset=1 << 30)) == list(range(11, 21))
    assert read() == list(range(21, 31))
    assert read() == []

"""D4: a Parquet file that cannot be read, or not to its end, costs its own records; everybody reads the others."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest
from tests.unit.journal.test_damage import journal_of
from typer.testing import CliRunner

from raven.ctl.cli import app
from raven.journal import compact, parquet_folder
from raven.journal.cursors import Position
from raven.journal.following import Follower
from raven.journal.history import Wanted, history
from raven.journal.past import Past
from raven.topics import DataType

pytestmark = pytest.mark.fault("D4")

OTHERS = [*range(1, 11), *range(21, 41)]


@pytest.fixture(params=["empty", "truncated", "no footer", "bit flip in the middle"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three files of ten trades each, of which the second is damaged, and ten trades in a segment."""
    journal_of(tmp_path, 4)
    compact(tmp_path)
    path = damaged_file(tmp_path)
    content = bytearray(path.read_bytes())
    if request.param == "empty":
        content.clear()
    elif request.param == "truncated":
        del content[len(content) // 2 :]
    elif request.param == "no footer":
        content[-8:] = bytes(8)
    else:
        content[4:100] = bytes(byte ^ 1 for byte in content[4:100])
    path.write_bytes(content)
    return tmp_path


def damaged_file(journal: Path) -> Path:
    return next(parquet_folder(journal).rglob("0000000002.parquet"))


def ids(tables: list[pa.Table]) -> list[int]:
    return sorted(number for table in tables for number in table["id"].to_pylist())


def test_history_has_the_others_and_says_which_it_is(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ids(list(history(journal, Wanted({"BTCUSDT"}, DataType.TRADES)))) == OTHERS
    said = capsys.readouterr()
    assert "0000000002.parquet" in said.out + said.err


def test_the_past_of_a_topic_has_the_others(journal: Path) -> None:
    assert ids([records.words for records in Past(journal, "BTCUSDT", DataType.TRADES).read()]) == OTHERS


def test_a_database_gets_the_others_and_the_file_is_counted(journal: Path) -> None:
    follower = Follower(journal, Position())
    found: list[pa.Table] = []
    while (step := follower.read(1000)) is not None:
        found += [batch.records for batch in step.batches]
    assert ids(found) == OTHERS
    assert follower.damaged_files == [damaged_file(journal)]
    assert follower.missing == []


@pytest.mark.parametrize("command", [["history", "BTCUSDT"], ["gaps"], ["sql", "select count(*) from trades"]])
def test_commands_answer_or_say_what_is_wrong(journal: Path, command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--journal", str(journal)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    if done.exit_code:
        assert re.search("damaged", done.output)

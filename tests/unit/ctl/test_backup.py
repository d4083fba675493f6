"""A backup is whole while the server writes, is never overwritten, and comes back record by record."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raven._core import Hub, Writer
from raven.ctl.cli import app
from raven.journal import Journal, compact
from raven.journal.cursors import Position, load_cursor, save_cursor
from raven.journal.history import Wanted, history
from raven.journal.segment import segments_in
from raven.resilience.dead_letters import DeadLetterQueue
from raven.topics import DataType


class House:
    """A server's folders, with three runs behind it and one under way."""

    def __init__(self, root: Path) -> None:
        self.journal, self.letters, self.config = root / "data/journal", root / "data/letters.sqlite", root / "config"
        self.backups = root / "backups"
        self.config.mkdir(parents=True)
        (self.config / "default.toml").write_text("[server]\nport = 1\n")
        queue = DeadLetterQueue(self.letters)
        queue.put("influx", "BTCUSDT 1", "type conflict", b"x")
        queue.close()
        for first in (1, 101, 201):
            self.open()
            self.publish(first, 100)
            self.running.close()
        compact(self.journal)
        save_cursor(self.journal, "influx", Position(3, 1, 10, 250))
        self.open()
        self.publish(301, 50)

    def open(self) -> None:
        self.hub = Hub()
        self.running = Journal(self.hub, self.journal)
        self.running.open()
        self.trades: Writer = self.hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 20)

    def publish(self, first: int, count: int) -> None:
        self.trades.trades(count, first, 60_000, 25, price_scale=2, quantity_scale=3)
        self.running.turn()

    def ctl(self, *arguments: str, code: int = 0) -> str:
        verb, *rest = arguments
        folders = ["--journal", str(self.journal), "--letters", str(self.letters), "--config", str(self.config)]
        where = ["--to" if verb == "backup" else "--from", str(self.backups)]
        result = CliRunner().invoke(app, [verb, *rest, *folders, *where])
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.running.close()


def ids(folder: Path) -> list[int]:
    wanted = Wanted({"BTCUSDT"}, DataType.TRADES)
    return [number for table in history(folder, wanted) for number in table["id"].to_pylist()]


def test_everything_comes_back(house: House, tmp_path: Path) -> None:
    assert "read back and whole" in house.ctl("backup", "first")
    house.publish(351, 10)
    house.running.close()
    elsewhere = tmp_path / "elsewhere"
    house.journal, house.letters, house.config = elsewhere / "journal", elsewhere / "letters", elsewhere / "config"
    house.ctl("restore", "first")
    assert ids(house.journal) == list(range(1, 351))
    assert load_cursor(house.journal, "influx") == Position(3, 1, 10, 250)
    queue = DeadLetterQueue(house.letters)
    assert [letter.key for letter in queue.letters()] == ["BTCUSDT 1"]
    queue.close()
    assert (house.config / "default.toml").read_text() == "[server]\nport = 1\n"
    house.open()
    house.publish(1001, 5)
    assert ids(house.journal)[-5:] == [1001, 1002, 1003, 1004, 1005], "the restored journal goes on"


def test_a_backup_under_load_has_what_was_committed_before(house: House) -> None:
    stop = threading.Event()
    published = [350]

    def load() -> None:
        while not stop.is_set():
            house.publish(published[0] + 1, 200)
            published[0] += 200

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for number in range(5):
            before = published[0]
            house.ctl("backup", f"live{number}")
            found = ids(house.backups / f"live{number}" / "journal")
            assert found == list(range(1, len(found) + 1))
            assert len(found) >= before
    finally:
        stop.set()
        thread.join()


def test_a_backup_is_never_overwritten_and_outlives_the_original(house: House) -> None:
    house.ctl("backup", "first")
    assert "is never overwritten" in house.ctl("backup", "first", code=1)
    for path in [*segments_in(house.journal), *house.journal.rglob("*.parquet")]:
        path.unlink()
    assert len(ids(house.backups / "first" / "journal")) == 350


def test_nothing_is_replaced_unless_told_and_then_it_is_moved_aside(house: House) -> None:
    house.ctl("backup", "first")
    assert "is written by a running server; stop it first" in house.ctl("restore", "first", code=1)
    house.publish(351, 10)
    house.running.close()
    assert "--force moves it aside" in house.ctl("restore", "first", code=1)
    house.ctl("restore", "first", "--force")
    assert len(ids(house.journal)) == 350
    (aside,) = house.journal.parent.glob("journal.before-*")
    assert len(ids(aside)) == 360
    house.open()


def test_a_damaged_backup_is_not_restored(house: House) -> None:
    house.ctl("backup", "first")
    (path, *_) = (house.backups / "first" / "journal").rglob("*.parquet")
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.unlink()
    path.write_bytes(content)
    assert "is not what was backed up; 1 file(s) are damaged" in house.ctl("restore", "first", "--force", code=1)
    assert len(ids(house.journal)) == 350, "nothing was touched"


def test_what_is_no_backup_is_said_with_those_there_are(house: House) -> None:
    house.ctl("backup", "first")
    assert "is no backup; there are: first" in house.ctl("restore", "frist", code=1)


@pytest.mark.parametrize(
    "content", ["{garbage", "[]", '{"files": 1}', '{"raven": "1", "made": "", "files": {"a": 1}}', ""]
)
def test_a_backup_that_says_nonsense_of_itself_is_named_and_hides_no_others(house: House, content: str) -> None:
    house.ctl("backup", "first")
    house.ctl("backup", "broken")
    (house.backups / "broken" / "backup.json").write_text(content)
    assert "broken/backup.json cannot be read" in house.ctl("restore", "broken", code=1)
    assert "there are: first" in house.ctl("restore", "frist", code=1)


def test_a_backup_that_would_write_elsewhere_is_refused(house: House) -> None:
    house.ctl("backup", "first")
    about = house.backups / "first" / "backup.json"
    about.write_text(about.read_text().replace('"config/default.toml"', '"config/../../evil.toml"'))
    assert "which belongs nowhere" in house.ctl("restore", "first", "--force", code=1)


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "/tmp/x"])
def test_a_name_that_is_a_path_is_refused(house: House, name: str) -> None:
    assert "is no name for a backup" in house.ctl("backup", name, code=1)


def test_a_backup_that_failed_leaves_nothing(house: House) -> None:
    house.letters.write_bytes(b"not a database, but longer than its head would have to be" * 20)
    assert "file is not a database" in house.ctl("backup", "first", code=1)
    assert list(house.backups.iterdir()) == []


def test_a_file_where_the_journal_belongs_is_told_and_moved_aside(house: House, tmp_path: Path) -> None:
    house.ctl("backup", "first")
    house.journal = tmp_path / "file"
    house.journal.write_text("mine")
    house.letters = tmp_path / "letters"
    assert "--force moves it aside" in house.ctl("restore", "first", code=1)
    house.ctl("restore", "first", "--force")
    assert len(ids(house.journal)) == 350
    assert [path.read_text() for path in tmp_path.glob("file.before-*")] == ["mine"]


def test_a_restore_that_fails_half_way_changes_nothing(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.ctl("backup", "first")
    house.publish(351, 10)
    house.running.close()
    before = sorted(path.name for path in house.journal.parent.iterdir())
    copied: list[Path] = []

    def full_disk(source: Path, target: Path) -> None:
        copied.append(target)
        if len(copied) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        target.write_bytes(Path(source).read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr("raven.ctl.backup.shutil.copyfile", full_disk)
        assert "No space left on device" in house.ctl("restore", "first", "--force", code=1)
    assert sorted(path.name for path in house.journal.parent.iterdir()) == before
    assert len(ids(house.journal)) == 360
    house.open()


def test_what_a_killed_restore_left_is_not_taken_for_part_of_the_next(house: House, tmp_path: Path) -> None:
    house.ctl("backup", "first")
    house.journal, house.letters = tmp_path / "new" / "journal", tmp_path / "new" / "letters"
    left = tmp_path / "new" / ".journal.unfinished"
    left.mkdir(parents=True)
    (left / "0000000099.segment").write_bytes(b"of another backup")
    house.ctl("restore", "first")
    assert len(ids(house.journal)) == 350
    assert not (house.journal / "0000000099.segment").exists()
    assert not left.exists()


def test_the_log_of_other_dead_letters_does_not_meet_those_that_come_back(house: House, tmp_path: Path) -> None:
    house.ctl("backup", "first")
    house.running.close()
    other = DeadLetterQueue(tmp_path / "other")
    other.put("influx", "ETHUSDT 7", "no", b"x" * 5_000)
    # As a crash leaves them: what was written last is in the log only.
    for end in ("", "-wal"):
        house.letters.with_name(house.letters.name + end).write_bytes((tmp_path / f"other{end}").read_bytes())
    other.close()

    house.ctl("restore", "first", "--force")

    for path, keys in (
        (house.letters, ["BTCUSDT 1"]),
        (next(house.letters.parent.glob("letters.sqlite.before-*[0-9]")), ["ETHUSDT 7"]),
    ):
        queue = DeadLetterQueue(path)
        assert [letter.key for letter in queue.letters()] == keys
        queue.close()
    house.open()


def test_configuration_that_is_there_stays_or_is_moved_aside(house: House, tmp_path: Path) -> None:
    house.ctl("backup", "first")
    house.journal, house.letters = tmp_path / "new" / "journal", tmp_path / "new" / "letters"
    mine = house.config / "default.toml"
    mine.write_text("# mine")
    assert "default.toml is another one and stays" in house.ctl("restore", "first")
    assert mine.read_text() == "# mine"
    house.ctl("restore", "first", "--force")
    assert mine.read_text() == "[server]\nport = 1\n"
    assert [path.read_text() for path in house.config.glob("default.toml.before-*")] == ["# mine"]


def test_what_is_damaged_is_backed_up_as_it_is_and_told(house: House, tmp_path: Path) -> None:
    (path, *_) = house.journal.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-50])
    assert "damaged already in the journal" in house.ctl("backup", "first")
    house.journal, house.letters = tmp_path / "new" / "journal", tmp_path / "new" / "letters"
    assert "damaged already in the journal" in house.ctl("restore", "first")
    assert len(ids(house.journal)) == 250

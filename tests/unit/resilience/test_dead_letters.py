"""A letter is kept once, survives whatever kills its handler, and is tried no more often than it may be."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from raven.errors import ConfigurationError
from raven.resilience.dead_letters import DeadLetterQueue, LetterState


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[DeadLetterQueue]:
    queue = DeadLetterQueue(tmp_path / "letters.sqlite", max_attempts=3)
    yield queue
    queue.close()


def put(queue: DeadLetterQueue, key: str, symbol: str = "BTCUSDT", reason: str = "no") -> int:
    queue.put("influx", key, reason, b"payload", symbol=symbol)
    return next(letter.number for letter in queue.letters() if letter.key == key)


def test_a_letter_is_kept_once(queue: DeadLetterQueue) -> None:
    assert queue.put("influx", "BTCUSDT 1", "type conflict", b"\x00raw", symbol="BTCUSDT", format="frame")
    assert not queue.put("influx", "BTCUSDT 1", "still a conflict", b"\x00raw", symbol="BTCUSDT", format="frame")
    assert queue.put("timescale", "BTCUSDT 1", "other source, other letter", b"")
    (letter, _) = queue.letters()
    assert (letter.payload, letter.format, letter.attempts) == (b"\x00raw", "frame", 0)
    assert letter.reason == "still a conflict"
    assert letter.state is LetterState.WAITING


def test_nothing_is_tried_before_a_person_asks(queue: DeadLetterQueue) -> None:
    number = put(queue, "1")
    assert queue.take_due("influx") == []
    assert queue.ask_retry([number, 999]) == 1
    assert [letter.number for letter in queue.take_due("influx")] == [number]
    assert queue.take_due("timescale") == []


def test_what_is_accepted_is_gone_and_what_is_refused_waits_with_the_new_reason(queue: DeadLetterQueue) -> None:
    first, second = put(queue, "1"), put(queue, "2")
    queue.ask_retry([first, second])
    assert len(queue.take_due("influx")) == 2
    queue.accepted(first)
    queue.refused(second, "still out of range")
    (left,) = queue.letters()
    assert (left.number, left.reason, left.state) == (second, "still out of range", LetterState.WAITING)
    assert left.attempts == 1


def test_letters_come_in_the_order_in_which_they_were_refused(queue: DeadLetterQueue) -> None:
    numbers = [put(queue, str(key)) for key in range(5)]
    queue.ask_retry(list(reversed(numbers)))
    assert [letter.number for letter in queue.take_due("influx", limit=3)] == numbers[:3]


@pytest.mark.fault("D2")
@pytest.mark.parametrize("ending", ["refused", "died"])
def test_a_letter_that_always_fails_is_parked(queue: DeadLetterQueue, ending: str) -> None:
    number = put(queue, "1")
    queue.ask_retry([number])
    tries = 0
    while queue.take_due("influx"):
        tries += 1
        assert tries <= 3
        if ending == "refused":
            queue.refused(number, "no")
            with sqlite3.connect(queue.path) as file:
                file.execute("UPDATE letters SET state = 'due' WHERE state = 'waiting'")
            file.close()
    letter = queue.letter(number)
    assert letter is not None
    assert (tries, letter.attempts, letter.state) == (3, 3, LetterState.PARKED)
    assert queue.ask_retry([number]) == 1, "a person may ask once more"
    assert len(queue.take_due("influx")) == 1


def test_a_try_that_did_not_come_about_does_not_count(queue: DeadLetterQueue) -> None:
    number = put(queue, "1")
    queue.ask_retry([number])
    for _ in range(10):
        (letter,) = queue.take_due("influx")
        queue.give_back(letter.number)
    left = queue.letter(number)
    assert left is not None
    assert (left.attempts, left.state) == (0, LetterState.DUE)


@pytest.mark.fault("D3")
def test_the_attempt_is_on_disk_before_it_is_made(queue: DeadLetterQueue) -> None:
    """A handler that takes the whole process down: the counter has moved all the same."""
    number = put(queue, "poison")
    queue.ask_retry([number])
    handler = f"""
        import os, signal
        from pathlib import Path
        from raven.resilience.dead_letters import DeadLetterQueue
        queue = DeadLetterQueue(Path({str(queue.path)!r}), max_attempts=3)
        if queue.take_due("influx"):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    deaths = 0
    while True:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(handler)], env=environment, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        deaths += 1
        assert deaths <= 3
    letter = queue.letter(number)
    assert letter is not None
    assert (deaths, letter.state) == (3, LetterState.PARKED)


def test_letters_can_be_chosen_counted_and_dropped(queue: DeadLetterQueue) -> None:
    first, second = put(queue, "1"), put(queue, "2", symbol="ETHUSDT")
    queue.ask_retry([second])
    assert [letter.number for letter in queue.letters(symbol="ETHUSDT")] == [second]
    assert [letter.number for letter in queue.letters(state=LetterState.WAITING)] == [first]
    assert queue.counts() == {("influx", LetterState.WAITING): 1, ("influx", LetterState.DUE): 1}
    assert queue.drop([first, second, 77]) == 2
    assert queue.letters() == []


def test_a_backup_is_whole_while_the_queue_is_used(queue: DeadLetterQueue, tmp_path: Path) -> None:
    put(queue, "1")
    queue.backup(tmp_path / "copy.sqlite")
    put(queue, "2")
    copy = DeadLetterQueue(tmp_path / "copy.sqlite")
    assert [letter.key for letter in copy.letters()] == ["1"]
    copy.close()


def test_a_file_that_is_no_queue_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "letters.sqlite").write_bytes(b"not a database, but longer than its head would have to be" * 20)
    with pytest.raises(ConfigurationError, match=r"letters.sqlite cannot hold dead letters: file is not a database"):
        DeadLetterQueue(tmp_path / "letters.sqlite")


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "letters.sqlite") as file:
        file.execute("PRAGMA user_version = 9")
    file.close()
    with pytest.raises(ConfigurationError, match="version 9, but this Raven reads 1"):
        DeadLetterQueue(tmp_path / "letters.sqlite")

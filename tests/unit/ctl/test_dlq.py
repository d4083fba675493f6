"""Dead letters can be looked at, tried again and dropped, one by one or many at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.batches import trades
from typer.testing import CliRunner

from raven.ctl.cli import app
from raven.journal.letters import letter_of
from raven.resilience.dead_letters import DeadLetterQueue, LetterState


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three letters of two databases."""
    path = tmp_path / "letters.sqlite"
    queue = DeadLetterQueue(path)
    for number, (source, symbol) in enumerate(
        (("influx", "BTCUSDT"), ("influx", "ETHUSDT"), ("timescale", "BTCUSDT")), 1
    ):
        key, _, payload = letter_of(trades(1, first_id=number, symbol=symbol))
        queue.put(source, key, "type conflict", payload, symbol=symbol, format="arrow")
    queue.close()
    return path


def dlq(file: Path, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["dlq", *arguments, "--file", str(file)])
    assert result.exit_code == code, result.output
    return result.output


def states(file: Path) -> list[LetterState]:
    queue = DeadLetterQueue(file)
    found = [letter.state for letter in queue.letters()]
    queue.close()
    return found


def test_a_list_can_be_chosen_from(file: Path) -> None:
    assert dlq(file, "list").count("type conflict") == 3
    chosen = json.loads(dlq(file, "list", "--source", "influx", "--symbol", "ETHUSDT", "--json"))
    assert [letter["number"] for letter in chosen] == [2]


def test_a_letter_is_shown_with_every_digit(file: Path) -> None:
    assert "61800.1" in dlq(file, "show", "1")
    record = json.loads(dlq(file, "show", "1", "--json"))["record"]
    assert record["symbol"] == "BTCUSDT"
    assert record["price"].startswith("61800.1")


@pytest.mark.fault("D7")
def test_letters_are_tried_again_when_asked_for(file: Path) -> None:
    assert "2 letter(s) would be" in dlq(file, "retry", "--all", "--source", "influx", "--dry-run")
    assert set(states(file)) == {LetterState.WAITING}
    assert "2 letter(s) will be" in dlq(file, "retry", "--all", "--source", "influx")
    assert states(file) == [LetterState.DUE, LetterState.DUE, LetterState.WAITING]


def test_letters_are_dropped_when_asked_for(file: Path) -> None:
    dlq(file, "drop", "2", "--dry-run")
    assert len(states(file)) == 3
    assert "1 letter(s) were dropped" in dlq(file, "drop", "2")
    assert len(states(file)) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["retry"], "name letters by number, or choose them with --all"),
        (["drop", "1", "--all"], "name letters by number, or choose them with --all"),
        (["retry", "9"], "there is no dead letter 9"),
        (["show", "9"], "there is no dead letter 9"),
        (["show", "9" * 30], "there is no dead letter 999"),
        (["retry", "9" * 30], "there is no dead letter 999"),
    ],
)
def test_what_cannot_be_done_is_said(file: Path, arguments: list[str], words: str) -> None:
    assert words in dlq(file, *arguments, code=1)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert "no dead letters there" in dlq(tmp_path / "none.sqlite", "list", code=1)
    assert not (tmp_path / "none.sqlite").exists()


def test_a_letter_is_shown_as_text_whatever_stands_in_it(file: Path) -> None:
    queue = DeadLetterQueue(file)
    queue.put("influx", "k", "no\x1b[31m [red]:x:", b"no \x1b Arrow at all \xff", format="arrow")
    queue.close()
    assert r"no\x1b[31m [red]:x:" in dlq(file, "list")
    shown = dlq(file, "show", "4")
    assert r"no\x1b[31m [red]:x:" in shown
    assert r"no \x1b Arrow at all \xff" in shown

"""How far an upstream was heard: written only when it is safe, and taken up by the next process."""

from __future__ import annotations

from pathlib import Path

import pytest

from raven.resilience.positions import Position, Positions
from raven.topics import DataType, Topic

BTC, ETH = (Topic("binance_spot", symbol, DataType.TRADES) for symbol in ("BTCUSDT", "ETHUSDT"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "positions.json"


def test_what_was_heard_a_moment_ago_is_not_counted_on(file: Path) -> None:
    positions = Positions(file, settled_s=3)

    noted = [positions.note(second, {BTC: Position(second, 1000 + second)}) for second in range(1, 6)]
    positions.write()

    assert noted == [False, False, False, True, True]
    assert Positions(file).get(BTC) == Position(2, 1002)


def test_at_an_orderly_end_all_of_it_counts(file: Path) -> None:
    Positions(file).finish({BTC: Position(7, 1007), ETH: Position(0, 0)})

    after = Positions(file)

    assert (after.get(BTC), after.get(ETH)) == (Position(7, 1007), Position())


def test_a_topic_that_was_not_heard_again_yet_goes_on_where_it_was(file: Path) -> None:
    Positions(file).finish({BTC: Position(7, 1007)})
    second = Positions(file, settled_s=0)

    second.note(1, {BTC: Position(), ETH: Position(2, 1002)})
    second.write()

    assert Positions(file).get(BTC) == Position(7, 1007)
    assert Positions(file).get(ETH) == Position(2, 1002)


def test_what_nobody_wants_any_more_is_forgotten(file: Path) -> None:
    positions = Positions(file, settled_s=0)
    positions.note(1, {BTC: Position(7, 1007)})

    positions.forget(BTC)
    positions.write()

    assert Positions(file).get(BTC) == Position()


@pytest.mark.parametrize("content", ["", "{}", '[["v", "S", "NOTHING", 1, 2]]'])
def test_a_file_that_cannot_be_read_is_told_and_all_is_heard_anew(
    file: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.parent.mkdir()
    file.write_text(content)

    assert Positions(file).get(BTC) == Position()
    assert "cannot be read" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").write_text("in the way")
    positions = Positions(tmp_path / "state" / "positions.json", settled_s=0)

    for second in (1, 2):
        positions.note(second, {BTC: Position(second, 1)})
        positions.write()

    assert capsys.readouterr().out.count("is heard anew") == 1

"""What is missing in a journal is listed with its reason."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from raven._core import Engine, Hub
from raven.ctl.cli import app
from raven.journal import Journal, compact
from raven.topics import DataType


def gaps(folder: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["gaps", *arguments, "--journal", str(folder)])
    assert result.exit_code == 0, result.output
    return result.output


def test_gaps_of_the_venue_are_listed_compacted_or_not(tmp_path: Path) -> None:
    for run in range(2):
        hub = Hub()
        engine = Engine(hub)
        journal = Journal(hub, tmp_path)
        journal.open()
        instrument = engine.add_instrument(engine.add_venue("binance_futures", "futures"), "BTCUSDT")
        engine.report_gap(instrument, int(DataType.TRADES), 7, 10 + run, 16 + run, "reconnect")
        journal.close()
    compact(tmp_path)
    found = json.loads(gaps(tmp_path, "--json"))
    assert [(gap["symbol"], gap["missing"], gap["first_id"], gap["reason"]) for gap in found] == [
        ("BTCUSDT", 7, 10, "reconnect"), ("BTCUSDT", 7, 11, "reconnect"),
    ]  # fmt: skip
    assert json.loads(gaps(tmp_path, "ETHUSDT", "--json")) == []
    assert gaps(tmp_path, "BTCUSDT", "--from", "-1d").count("reconnect") == 2
    assert "no gaps" in gaps(tmp_path, "--to", "2001-01-01")


def test_a_folder_without_a_journal_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["gaps", "--journal", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "no journal there" in result.output


def test_journals_of_services_beside_the_folder_are_named(tmp_path: Path) -> None:
    beside = tmp_path / "journal-tick_persistence"
    beside.mkdir()
    (beside / "0000000001.segment").touch()

    result = CliRunner().invoke(app, ["gaps", "--journal", str(tmp_path / "journal")])

    assert result.exit_code == 1
    assert f"There is {beside}" in result.output

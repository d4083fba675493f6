"""Frames that validation refused can be looked at: why, when, and byte by byte."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raven.ctl.cli import app
from raven.ingest.quarantine import Quarantine
from raven.testing import ManualClock


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """One server alone, and one service beside it."""
    clock = ManualClock()
    for folder, frames in (
        (tmp_path, [("BTCUSDT", "bad_number", b'{"p":"1e999"}'), ("ETHUSDT", "not_json", b"\xff\x00[red]")]),
        (tmp_path / "binance_spot", [("BTCUSDT", "too_deep", b"[" * 500)]),
    ):
        quarantine = Quarantine(folder, 1 << 20, clock)
        for symbol, reason, raw in frames:
            quarantine.keep("binance_futures", symbol, reason, 5, raw)
        quarantine.close()
    return tmp_path


def dlq(state_dir: Path, *arguments: str, code: int = 0) -> str:
    command = ["dlq", *arguments, "--quarantine", "--state-dir", str(state_dir)]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


def test_frames_are_listed_with_their_reasons(state_dir: Path) -> None:
    shown = dlq(state_dir, "list")
    assert all(reason in shown for reason in ("bad_number", "not_json", "too_deep", '{"p":"1e999"}', r"\xff\x00[red]"))
    assert "3 of 3" in shown
    assert "…" in shown, "of a long frame the beginning"
    assert [one["reason"] for one in json.loads(dlq(state_dir, "list", "--symbol", "ETHUSDT", "--json"))] == [
        "not_json"
    ]


def test_one_frame_is_shown_whole(state_dir: Path) -> None:
    (number,) = [one["number"] for one in json.loads(dlq(state_dir, "list", "--json")) if one["reason"] == "too_deep"]
    document = json.loads(dlq(state_dir, "show", str(number), "--json"))
    assert document["raw"] == "[" * 500
    assert base64.b64decode(document["raw_base64"]) == b"[" * 500
    assert "[" * 500 in dlq(state_dir, "show", str(number))
    assert "there is no frame 9" in dlq(state_dir, "show", "9", code=1)


def test_a_line_that_a_crash_cut_off_costs_itself_only(state_dir: Path) -> None:
    file = state_dir / "quarantine.jsonl"
    file.write_bytes(file.read_bytes()[:-20] + b"\n\xff{}\n")
    assert len(json.loads(dlq(state_dir, "list", "--json"))) == 2


def test_it_says_when_there_is_none_and_where_it_looked(tmp_path: Path) -> None:
    assert "no frame was refused" in dlq(tmp_path, "list")
    assert "see feeds.state_dir" in dlq(tmp_path / "nowhere", "list", code=1)

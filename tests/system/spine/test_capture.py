"""Raw capture of the whole program: `kill -9` costs a tail, and everything can be derived from it once more."""

from __future__ import annotations

import gzip
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.journals import differences, journal_tables

from raven.app.rebuild import rebuild
from raven.ctl.replay import replay_files
from raven.recording import Damage, capture_heads, note_of, read_recording, recording_files

ROUNDS = 3


def wait_for(condition: Callable[[], Any], what: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.gz"))


def test_a_journal_from_the_capture_is_the_journal_of_the_same_run_to_the_bit(
    program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(tmp_path / "journal"))
    monkeypatch.setenv("RAVEN__JOURNAL__BOOKS_INTERVAL_MS", "0")
    with program("--demo", "--record", str(tmp_path / "capture")) as raven:
        wait_for(lambda: size_of(tmp_path / "capture") > 200_000, raven.lines[-3:])
        assert raven.end(signal.SIGTERM) == 0

    records, damage = rebuild([tmp_path / "capture"], tmp_path / "again")

    assert (records > 2_000, damage) == (True, [])
    live, again = journal_tables(tmp_path / "journal"), journal_tables(tmp_path / "again")
    assert {kind for *_, kind in live} >= {"BOOK", "TRADE", "QUOTE"}
    assert differences(live, again) == {}


def test_what_was_captured_before_a_kill_is_whole_and_the_next_start_writes_new_files(
    program: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "capture"
    before: dict[Path, bytes] = {}
    for _ in range(ROUNDS):
        with program("--demo", "--record", str(folder)) as raven:
            goal = size_of(folder) + 60_000
            wait_for(lambda goal=goal: size_of(folder) > goal, raven.lines[-3:])
            raven.end(signal.SIGKILL)
        assert all(path.read_bytes() == content for path, content in before.items()), "an old file was written"
        before = {path: path.read_bytes() for path in folder.rglob("*.gz")}

    files = recording_files([folder])
    damage: list[Damage] = []
    lines = list(read_recording(files, notes=True, on_damage=damage.append))

    assert all(one.is_tail for one in damage)
    assert len({head.run for head in capture_heads(files)}) == ROUNDS
    frames = [line for line in lines if note_of(line.raw) is None]
    assert len(frames) > 1_000
    assert all(line.raw.startswith((b"{", b"[")) and line.raw.endswith((b"}", b"]")) for line in frames)
    # Every file is one of gzip, for other programs, too.
    if not damage:
        assert all(gzip.decompress(path.read_bytes()) for path in files if path.stat().st_size)
    shown = replay_files([folder])
    assert shown.rejected == []
    assert all(audit.report()["book"] for audit in shown.audits.values())


def test_a_torn_capture_is_replayed_by_the_program(program: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    with program("--demo", "--record", str(folder)) as raven:
        wait_for(lambda: size_of(folder) > 80_000, raven.lines[-3:])
        raven.end(signal.SIGKILL)
    torn = next(folder.rglob("*-public-*.gz"))
    torn.write_bytes(torn.read_bytes()[:-100])

    with program("--replay", str(folder), "--speed", "0") as raven:
        wait_for(lambda: any("the recording has ended" in line for line in raven.lines), raven.lines[-5:])
        assert any("a part of the recording cannot be read" in line for line in raven.lines)
        assert raven.end(signal.SIGTERM) == 0

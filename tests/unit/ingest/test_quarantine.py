"""Refused frames are kept as they came, in files of bounded size, and the feed never waits for the disk."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path

import pytest

from raven.ingest.quarantine import Quarantine
from raven.testing import ManualClock


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_frame_is_kept_byte_for_byte_with_its_reason(clock: ManualClock, tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "state", 1_000_000, clock)

    quarantine.keep("venue", "BTCUSDT", "bad_number", 17, b'{"p":"1e\xff\x00"}')
    quarantine.close()

    (row,) = rows(tmp_path / "state" / "quarantine.jsonl")
    assert base64.b64decode(str(row.pop("raw_base64"))) == b'{"p":"1e\xff\x00"}'
    assert row == {
        "at_ms": clock.time_ns() // 1_000_000, "venue": "venue", "symbol": "BTCUSDT", "reason": "bad_number",
        "offset": 17,
    }  # fmt: skip
    assert (quarantine.kept, quarantine.not_kept) == (1, 0)


def test_the_files_stay_within_their_size_and_hold_the_newest(clock: ManualClock, tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, 20_000, clock)

    for number in range(1000):
        quarantine.keep("venue", "S", "reason", number, b"x" * 100)
    quarantine.close()

    files = [tmp_path / "quarantine.1.jsonl", tmp_path / "quarantine.jsonl"]
    offsets = [row["offset"] for file in files for row in rows(file)]
    assert sum(file.stat().st_size for file in files) <= 21_000
    assert offsets == list(range(1000 - len(offsets), 1000))
    assert quarantine.kept + quarantine.not_kept == 1000


def test_a_flood_is_counted_to_the_unit_and_waits_for_nobody(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    write = Quarantine._append

    def slow(self: Quarantine, waiting: object) -> int:
        hangs.wait(10)
        return write(self, waiting)

    monkeypatch.setattr(Quarantine, "_append", slow)
    quarantine = Quarantine(tmp_path, 100_000_000, clock)

    for number in range(200):
        quarantine.keep("venue", "S", "reason", number, b"x" * 60_000)
    refused_at_once = quarantine.not_kept
    hangs.set()
    quarantine.close()

    assert refused_at_once > 0
    assert quarantine.kept + quarantine.not_kept == 200
    assert quarantine.kept >= 60


def test_without_a_place_frames_are_only_counted(clock: ManualClock) -> None:
    quarantine = Quarantine(None, 1000, clock)

    quarantine.keep("venue", "S", "reason", 0, b"x")
    quarantine.close()

    assert (quarantine.kept, quarantine.not_kept) == (0, 1)


def test_a_disk_that_refuses_is_no_reason_to_stop(clock: ManualClock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    quarantine = Quarantine(tmp_path / "file", 1000, clock)

    quarantine.keep("venue", "S", "reason", 0, b"x")
    quarantine.close()

    assert (quarantine.kept, quarantine.not_kept) == (0, 1)

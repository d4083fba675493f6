"""What goes over the wire is in the files as it came; no file is written twice; a full disk is told and overcome."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from raven._core import Engine, Hub
from raven.ingest.recorder import Recorder
from raven.recording import capture_heads, note_of, read_recording, recording_files
from raven.testing import ManualClock

VENUE = "binance_futures"
HOUR_NS = 3600 * 10**9


def recorder(folder: Path, clock: ManualClock, **options: Any) -> Recorder:
    folder.mkdir(exist_ok=True)
    made = Recorder(folder, clock=clock, **options)
    made.venue(VENUE, "futures")
    return made


def raws(folder: Path) -> list[bytes]:
    return [line.raw for line in read_recording(recording_files([folder]), notes=True)]


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.gz"))


def test_frames_requests_and_answers_are_kept_byte_for_byte(tmp_path: Path, clock: ManualClock) -> None:
    engine, written = Engine(Hub()), recorder(tmp_path, clock)
    engine.record(written.tap)
    connection = engine.open_connection(engine.add_venue(VENUE, "futures"))
    written.opening(connection, VENUE, "public", "ws://venue/public")
    written.sent(connection, b'{"method":"SUBSCRIBE"}')
    now_ns = clock.time_ns()
    frames = [b'{"e" :"depthUpdate", "odd":"\xc3\xa4"}', b"no json at all", b"two\nlines", b"\xff\x00"]
    for at, frame in enumerate(frames, 1):
        engine.on_frame(connection, now_ns + at, memoryview(frame))
    written.answered(VENUE, now_ns + 9, "/depth?symbol=BTCUSDT&limit=5", b'{\n "lastUpdateId": 7}')
    written.answered(VENUE, now_ns + 9, "/depth?symbol=BTCUSDT&limit=5", b'{"lastUpd')
    written.closed(connection, "lost")
    written.close()

    found = raws(tmp_path)
    assert [raw for raw in found if raw in frames] == frames
    assert b'{"rest":"/depth?symbol=BTCUSDT&limit=5","body":{ "lastUpdateId": 7}}' in found
    notes = [note for raw in found if (note := note_of(raw)) and note.raven != "capture"]
    assert {note.raven for note in notes} == {"sent", "answer", "closed"}
    assert next(note.message for note in notes if note.raven == "sent") == '{"method":"SUBSCRIBE"}'
    heads = {head.category: head for head in capture_heads(recording_files([tmp_path]))}
    assert (heads["public"].url, heads["public"].rule, heads["rest"].connection) == ("ws://venue/public", "futures", -1)
    assert (written.status.trouble, written.status.lost) == ("", 0)


def test_a_long_queue_is_written_to_its_last_message(tmp_path: Path, clock: ManualClock) -> None:
    written = recorder(tmp_path, clock)
    for source in range(3):
        written.opening(source, VENUE, "market", "ws://x")
    for number in range(60_000):
        written.tap.note(number % 3, number, b'{"a message of some length": %d}' % number)
    for source in range(3):
        written.closed(source, "ended")
    written.turn()

    assert (written.status.messages, written.tap.waiting) == (60_000, 0)
    written.close()
    assert len(raws(tmp_path)) == 60_000 + 3


def test_every_hour_and_every_start_has_files_of_its_own(tmp_path: Path, clock: ManualClock) -> None:
    for _ in range(2):
        written = recorder(tmp_path, clock)
        written.opening(0, VENUE, "market", "ws://x")
        first_ns = 500_000 * HOUR_NS
        for stamp_ns in (first_ns - 2, first_ns - 1, first_ns, first_ns - 1, first_ns + 1):
            written.tap.note(0, stamp_ns, b"{}")
        written.close()

    names = sorted(path.name for path in tmp_path.rglob("*.gz"))
    assert names == [
        f"{VENUE}-20270115T07-market-001.gz", f"{VENUE}-20270115T07-market-002.gz",
        f"{VENUE}-20270115T08-market-001.gz", f"{VENUE}-20270115T08-market-002.gz",
    ]  # fmt: skip
    assert [head.part for head in capture_heads(recording_files([tmp_path]))] == [1, 1, 2, 2]
    assert raws(tmp_path).count(b"{}") == 10


def test_a_connection_that_never_was_leaves_no_file(tmp_path: Path, clock: ManualClock) -> None:
    written = recorder(tmp_path, clock)
    written.opening(3, VENUE, "market", "ws://x")
    written.closed(3, "not opened")
    written.turn()
    written.tap.note(3, 2, b"late")
    written.close()
    assert list(tmp_path.rglob("*.gz")) == []
    assert written.status.messages == 0


async def test_a_full_disk_is_told_and_what_fits_into_memory_is_written_afterwards(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = recorder(tmp_path, clock, buffer_bytes=1 << 20)
    written.opening(0, VENUE, "market", "ws://x")
    written.tap.note(0, 1, b'{"n":1}')
    written.turn()
    whole = os.write
    written_bytes = 0

    def full(handle: int, data: Any) -> int:
        nonlocal written_bytes
        if written_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written_bytes = whole(handle, data[: len(data) // 2])
        return written_bytes

    monkeypatch.setattr(os, "write", full)
    written.tap.note(0, 2, b'{"n":2}')
    written.turn()
    assert written.status.trouble == "storage_full: no space left"
    size = bytes_in(tmp_path)
    large = b"x" * 400_000
    for at in range(4):
        written.tap.note(0, 10 + at, large)
    written.turn()
    assert bytes_in(tmp_path) == size, "half a block is not left behind"
    monkeypatch.setattr(os, "write", whole)
    await clock.advance(1.1)
    written.turn()
    written.close()

    assert written.status.trouble == ""
    found = raws(tmp_path)
    assert found[1:3] == [b'{"n":1}', b'{"n":2}']
    assert found.count(large) == 2
    lost = [note for raw in found if (note := note_of(raw)) and note.raven == "lost"]
    assert [(note.messages, note.bytes, note.until_ns) for note in lost] == [(2, 800_000, 13)]
    assert written.status.lost == 2


async def test_the_thread_writes_by_itself(tmp_path: Path) -> None:
    written = Recorder(tmp_path / "new", flush_interval_s=0.01)
    await written.start()
    written.venue(VENUE, "futures")
    written.decided(VENUE, "instrument", symbol="BTCUSDT", price_scale=2)
    while not written.status.messages:
        assert written.status.trouble == ""
    await written.stop()
    assert [note.symbol for raw in raws(tmp_path) if (note := note_of(raw))] == ["", "BTCUSDT"]

"""P5: what `kill -9` leaves behind does not keep the next server from starting, nor is a living server's lock taken."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raven.journal.segment import segments_in

pytestmark = pytest.mark.fault("P5")


def is_locked(file: Path) -> bool:
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def until(condition: Callable[[], Any], lines: list[str]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, lines[-3:]
        time.sleep(0.02)


def test_a_lock_that_a_dead_server_left_is_taken_over_and_a_living_one_s_is_not(
    program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "journal"
    lock = folder / "journal.lock"
    monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(folder))
    with program("--demo") as first:
        until(lambda: segments_in(folder), first.lines)
        exchange = first.process.children(recursive=True)
        first.end(signal.SIGKILL)
    for child in exchange:
        child.wait(10)
    assert lock.exists()
    assert not is_locked(lock)
    # By now the number may belong to somebody else, who lives.
    lock.write_text(f"{os.getpid()}\n")

    with program("--demo") as second:
        until(lambda: len(segments_in(folder)) == 2, second.lines)
        assert is_locked(lock)
        assert lock.read_text().strip() == str(second.process.pid)
        assert second.end(signal.SIGTERM) == 0
    assert not is_locked(lock)

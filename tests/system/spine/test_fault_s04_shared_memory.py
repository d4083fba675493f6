"""S4 and P5 for the whole program: who reads its shared memory may stop or die, and so may the program itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raven.errors import NetworkTimeout
from raven.shm import Reader, TopicReader
from raven.topics import DataType

SOURCES = str(Path(__file__).resolve().parents[3] / "src")
READ_FOR_EVER = """
import sys
from raven.shm import Reader
from raven.topics import DataType
reader = Reader(sys.argv[1])
topic = reader.open(*next(row[:2] for row in reader.topics() if row.data_type == DataType.TRADES), DataType.TRADES)
print("ready", flush=True)
for record in topic.records(spin=True): pass
"""


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> str:
    chosen = f"raven-test-{os.getpid()}-program"
    monkeypatch.setenv("RAVEN__SHM__ENABLED", "true")
    monkeypatch.setenv("RAVEN__SHM__NAME", chosen)
    return chosen


def trades_of(reader: Reader) -> TopicReader:
    deadline = time.monotonic() + 20
    while not (rows := [one for one in reader.topics() if one.data_type == DataType.TRADES]):
        assert time.monotonic() < deadline, "nothing is collected"
        time.sleep(0.02)
    row = rows[0]
    return reader.open(row.venue, row.symbol, DataType.TRADES, start="oldest")


@pytest.mark.fault("S4")
def test_readers_that_stop_or_die_hold_up_nobody(program: Callable[..., Any], name: str, tmp_path: Path) -> None:
    with program("--demo") as server:
        trades = trades_of(Reader(name))
        command = [sys.executable, "-c", READ_FOR_EVER, name]
        environment = os.environ | {"PYTHONPATH": SOURCES}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"ready\n"
            other.send_signal(signal.SIGSTOP)
            records = trades.records(timeout_s=20)
            first = next(records).sequence
            assert [next(records).sequence for _ in range(50)] == list(range(first + 1, first + 51))
            other.kill()
        assert next(records).sequence == first + 51
        assert server.end(signal.SIGTERM) == 0
    assert not Path("/dev/shm", name).exists()


@pytest.mark.fault("P5")
def test_a_killed_program_is_noticed_and_the_next_one_starts(
    program: Callable[..., Any], name: str, tmp_path: Path
) -> None:
    with program("--demo") as first:
        reader = Reader(name)
        assert reader.pid == first.process.pid
        beat = reader.heartbeat_ns
        trades = trades_of(reader)
        main = "import sys; from raven.app.cli import main; sys.argv[0] = 'raven'; main()"
        second = subprocess.run(
            [sys.executable, "-c", main, "--demo", "--plain", "--port", "0", "--monitoring-port", "0"],
            env=os.environ | {"PYTHONPATH": SOURCES}, cwd=tmp_path, check=False, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
        assert second.returncode == 2
        assert f"[shm] is enabled, but /dev/shm/{name} is written by process {first.process.pid}" in second.stderr
        deadline = time.monotonic() + 20
        while reader.heartbeat_ns == beat:
            assert time.monotonic() < deadline, "no heartbeat"
            time.sleep(0.02)
        exchange = first.process.children(recursive=True)
        first.end(signal.SIGKILL)
    for child in exchange:
        child.wait(10)
    with pytest.raises(NetworkTimeout, match="open a new Reader"):
        deque(trades.records(timeout_s=20), maxlen=0)

    with program("--demo") as again:
        assert Reader(name).pid == again.process.pid
        assert not reader.is_alive
        assert again.end(signal.SIGTERM) == 0

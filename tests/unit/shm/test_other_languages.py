"""The layout is a promise to other languages: the reader in C knows it from docs/reference/shm.md alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from raven._core import Hub, SharedMemory

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc)")
    made = tmp_path_factory.mktemp("c") / "shm_reader"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", made, PROJECT / "examples/shm_reader.c"], check=True, timeout=60)
    return made


def test_the_reader_in_c_prints_what_was_published(program: Path) -> None:
    name = f"raven-test-{os.getpid()}-c"
    memory = SharedMemory(name, 8 << 20, time.time_ns())
    writer = Hub(memory).create_topic("test", "BTCUSDT", 1, 1 << 16)
    writer.trade(1, 1, 77, -5, 6, price_scale=2, quantity_scale=0, taker_sells=True)
    writer.trade(1, 1, 78, 7, 8, price_scale=2, quantity_scale=0, taker_sells=False)

    answer = subprocess.run(
        [program, name, "test", "BTCUSDT", "1", "2"], check=False, capture_output=True, text=True, timeout=30
    )

    memory.close()
    assert answer.stdout.splitlines() == ["1 kind=2 id=77 -5 6 1 0 0", "2 kind=2 id=78 7 8 0 0 0"]
    assert answer.returncode == 0


def test_the_reader_in_c_counts_what_it_lost_and_ends_with_the_writer(program: Path) -> None:
    name = f"raven-test-{os.getpid()}-c-laps"
    memory = SharedMemory(name, 8 << 20, time.time_ns())
    writer = Hub(memory).create_topic("test", "BTCUSDT", 1, 1 << 14)
    last = writer.trades(10, 1, 5, 6, price_scale=0, quantity_scale=0)
    command = [program, name, "test", "BTCUSDT", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        lines = [reader.stdout.readline()]
        for _ in range(20):
            last = writer.trades(10_000, last + 1, 5, 6, price_scale=0, quantity_scale=0)
        memory.close()
        lines += reader.stdout.readlines()

    lost = sum(int(line.split()[1]) for line in lines if line.startswith("lost"))
    ids = [int(found[1]) for line in lines if (found := re.search(r" id=(\d+)", line))]
    assert lost > 0
    assert len(ids) + lost == last == 200_010
    assert ids == sorted(set(ids))


def test_the_reader_in_c_says_what_is_missing(program: Path) -> None:
    answer = subprocess.run(
        [program, "raven-test-nobody", "a", "b", "1"], check=False, capture_output=True, text=True, timeout=30
    )

    assert (answer.returncode, "does Raven run" in answer.stderr) == (1, True)

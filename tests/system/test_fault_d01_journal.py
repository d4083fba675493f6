"""D1 and D6 for the journal: `kill -9` at any byte, of who writes and compacts. What was synced is there, once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pytest

from raven.journal import parquet_folder, verify_journal
from raven.journal.history import Wanted, history
from raven.topics import DataType

SEED = 20_261_121
OPENS_WITHIN_S = 2.0

# Acknowledges each number that is on the disk, while another thread turns into Parquet whatever was closed.
WRITER = """
import sys, threading
from pathlib import Path
from raven._core import Hub
from raven.journal import Journal, compact
from raven.observe import configure_logs
from raven.topics import DataType
configure_logs("error")
folder, first = Path(sys.argv[1]), int(sys.argv[2])
hub = Hub()
journal = Journal(hub, folder, segment_max_bytes=20_000)
journal.open()
print("open", flush=True)
def keep_house():
    while True:
        compact(folder)
threading.Thread(target=keep_house, daemon=True).start()
trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 20)
while True:
    trades.trades(100, first, 60_000, 25, price_scale=2, quantity_scale=3)
    journal.turn()
    first += 100
    print(first - 1, flush=True)
"""


def parquet_files(folder: Path) -> int:
    return len(list(parquet_folder(folder).rglob("*.parquet")))


@pytest.mark.fault("D1", "D6")
@pytest.mark.timeout(1800)
def test_every_record_that_was_synced_outlives_every_kill_and_is_there_once(
    tmp_path: Path, figure: Callable[[str, object], None], chaos: bool
) -> None:
    folder, dice = tmp_path / "journal", random.Random(SEED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    lives: list[tuple[int, int]] = []
    opening: list[float] = []
    for life in range(500 if chaos else 5):
        first = life * 1_000_000 + 1
        command = [sys.executable, "-c", WRITER, str(folder), str(first)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as writer:
            assert writer.stdout is not None
            while (line := writer.stdout.readline()) != "open\n":
                assert line, "it ended before it had opened the journal"
            said = [writer.stdout.readline() for _ in range(dice.randrange(1, 30))]
            # Compaction is under way in most lives, and has not begun in some.
            wanted = parquet_files(folder) + dice.randrange(3)
            while parquet_files(folder) < wanted:
                said.append(writer.stdout.readline())
            time.sleep(dice.uniform(0.0, 0.003))
            writer.kill()
            # A line that the kill cut off acknowledges nothing.
            said += writer.stdout.readlines()
        lives.append((first, max(int(line) for line in said if line.endswith("\n") and line[0].isdigit())))

        began = time.monotonic()
        verdict = verify_journal(folder)
        opening.append(time.monotonic() - began)
        assert verdict.is_sound, f"seed {SEED}, life {life}: {verdict}"

    found: list[int] = []
    for table in history(folder, Wanted({"BTCUSDT"}, DataType.TRADES)):
        assert pc.all(pc.greater(table["id"], 0)).as_py()
        found += table["id"].to_pylist()
    assert len(set(found)) == len(found), "nothing is there twice"
    kept = sorted(found)
    for life, (first, last) in enumerate(lives):
        of_life = [number for number in kept if first <= number < first + 1_000_000]
        assert of_life == list(range(first, first + len(of_life))), f"seed {SEED}, life {life}"
        # One commit more may be there: the one whose acknowledgement the kill cut off.
        assert last - first + 1 <= len(of_life) <= last - first + 1 + 100, f"seed {SEED}, life {life}"
    figure("journal: kills", len(lives))
    figure("synced records", sum(last - first + 1 for first, last in lives))
    figure("Parquet files", verdict.parquet_files)

"""What the journal takes: rows a second, bytes a trade, and what it costs the ingest thread.

    python benches/journal.py [--seconds 10] [--rounds 20]

`one core` publishes trades and journals them in turn on one thread, every commit synced. `parquet` is a recording of
BTCUSDT through engine, journal and compaction (it needs the recordings that RAVEN_RECORDINGS points at). `ingest`
replays the same recording through the engine on one thread: without a journal, with one on another thread, and with
housekeeping that turns another journal into Parquet meanwhile, in turn in one run.
Writes `results/journal.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from system_parts import ROOT, keep, percentile

from raven._core import Engine, Hub
from raven.journal import Journal, compact, parquet_folder
from raven.journal.keeping import Keeper, KeeperSettings
from raven.journal.segment import segments_in
from raven.recording import RecordedLine, depth_answer, read_recording
from raven.topics import DataType

RECORDINGS = Path(os.environ.get("RAVEN_RECORDINGS", ROOT.parent / "shared" / "data"))
RECORDING = RECORDINGS / "usdm" / "btcusdt_20240808.gz"
STEP = 50_000
RING_BYTES = 1 << 24
# What a round takes, and trades that are to be compacted meanwhile: more than there is time for.
ROUND_FRAMES = 20_000
# As in a server.
GIL_SWITCH_S = 0.0005
FRAMES_PER_S, CROWD = 20_000, 10
TO_COMPACT = 6_000_000


def rows_per_second(seconds: float) -> dict[str, Any]:
    """Publish and journal on one thread."""
    with tempfile.TemporaryDirectory(prefix="raven-journal-", dir=Path.cwd()) as folder:
        hub = Hub()
        journal = Journal(hub, Path(folder))
        journal.open()
        trades = hub.create_topic("binance_futures", "BTCUSDT", int(DataType.TRADES), RING_BYTES)
        began, first, journalling = time.perf_counter(), 1, 0.0
        while time.perf_counter() - began < seconds:
            trades.trades(STEP, first, 618_002, 25, price_scale=1, quantity_scale=3)
            first += STEP
            turned = time.perf_counter()
            journal.turn()
            journalling += time.perf_counter() - turned
        journal.close()
        status = journal.status
        return {
            "rows": status.records,
            "rows_per_second": round(status.records / journalling),
            "bytes_per_row": round(status.bytes / status.records, 1),
            "lost": status.lost,
        }


def frames() -> list[RecordedLine]:
    """Read the recording once."""
    return list(read_recording([RECORDING]))


def engine_of(hub: Hub) -> tuple[Engine, int, int]:
    """Return an engine that collects the recorded symbol, its instrument and a connection."""
    engine = Engine(hub)
    venue = engine.add_venue("binance_futures", "futures")
    return engine, engine.add_instrument(venue, "BTCUSDT", ring_bytes=RING_BYTES), engine.open_connection(venue)


def bytes_per_trade(lines: list[RecordedLine]) -> dict[str, Any]:
    """Journal and compact a recording."""
    with tempfile.TemporaryDirectory(prefix="raven-journal-") as name:
        folder, hub = Path(name), Hub()
        engine, instrument, connection = engine_of(hub)
        journal = Journal(hub, folder)
        journal.open()
        for at, line in enumerate(lines):
            give(engine, instrument, connection, line)
            if at % 1_000 == 0:
                journal.turn()
        journal.close()
        (folder / "0000000009.segment").touch()
        began = time.perf_counter()
        done = compact(folder)
        took = time.perf_counter() - began
        sizes = {}
        for path in parquet_folder(folder).rglob("*.parquet"):
            kind = path.parents[1].name.partition("=")[2]
            sizes[f"bytes_per_record_{kind}"] = round(path.stat().st_size / pq.read_metadata(path).num_rows, 2)
        return {"records": done.rows, "compacted_per_second": round(done.rows / took), **sizes}


def give(engine: Engine, instrument: int, connection: int, line: RecordedLine) -> None:
    """Hand one recorded message to the engine."""
    answer = depth_answer(line.raw)
    if answer:
        engine.on_snapshot(instrument, line.recv_ns, answer.body, limit=answer.limit)
    else:
        engine.on_frame(connection, line.recv_ns, line.raw)


def time_frames(lines: list[RecordedLine], folder: Path | None) -> tuple[list[int], list[int]]:
    """Return what every frame takes, and how long after it was due it was done, ns; with a journal in a folder or not.

    Frames come in little crowds, as from a socket; the thread sleeps in between, and has to be woken.
    """
    hub = Hub()
    engine, instrument, connection = engine_of(hub)
    journal = Journal(hub, folder) if folder else None
    if journal:
        asyncio.run(journal.start())
    took, late = [], []
    due = time.perf_counter_ns()
    for at, line in enumerate(lines):
        if at % CROWD == 0:
            # After a delay the next ones are late, too: they would have come all the same.
            due += round(CROWD * 1e9 / FRAMES_PER_S)
            time.sleep(max(0, due - time.perf_counter_ns()) / 1e9)
        began = time.perf_counter_ns()
        give(engine, instrument, connection, line)
        done = time.perf_counter_ns()
        took.append(done - began)
        late.append(done - due)
    if journal:
        asyncio.run(journal.stop())
        assert journal.status.lost == 0
    return sorted(took), sorted(late)


def ingest_times(lines: list[RecordedLine], rounds: int) -> list[dict[str, Any]]:
    """Take the time of every frame: without a journal, with one, and with one and housekeeping beside it.

    `thread` keeps house in this process, `keeper` in a process of its own, as a server does; `spinner` is a process of
    the same priority that only counts, so that it is seen what any work on the machine costs. Other work comes and goes
    within seconds: so rounds are short and many, and the cases come in another order each time.
    """
    chance = random.Random(1)
    results = []
    with tempfile.TemporaryDirectory(prefix="raven-journal-") as name:
        root = Path(name)
        write_segments(root / "old")
        for number in range(rounds):
            row: dict[str, Any] = {}
            for case in chance.sample(list(CASES), len(CASES)):
                folder, work = root / f"{number}-{case}", root / "work"
                shutil.copytree(root / "old", work, copy_function=os.link)
                with CASES[case](work):
                    took, late = time_frames(lines[:ROUND_FRAMES], None if case == "off" else folder)
                    is_at_work = case not in HOUSEKEEPING or len(segments_in(work)) > 1
                assert is_at_work, "housekeeping was done too early to tell"
                row |= {f"p50_ns_{case}": percentile(took, 50), f"p99_ns_{case}": percentile(took, 99)}
                row[f"p99_late_ns_{case}"] = percentile(late, 99)
                shutil.rmtree(work)
                shutil.rmtree(folder, ignore_errors=True)
            for one in CASES:
                row[f"p99_ratio_{one}"] = row[f"p99_ns_{one}"] / row["p99_ns_off"]
                row[f"p99_late_ratio_{one}"] = row[f"p99_late_ns_{one}"] / row["p99_late_ns_off"]
            results.append({key: round(row[key], 3) for key in sorted(row)})
            print(results[-1], flush=True)
    return results


@contextmanager
def a_thread(journal: Path) -> Iterator[None]:
    """Keep house on a thread of low priority."""

    def work() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        compact(journal)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for_work(journal)
    yield
    thread.join()


@contextmanager
def a_keeper(journal: Path) -> Iterator[None]:
    """Keep house as a server does."""
    keeper = Keeper(journal, KeeperSettings(interval_s=0.01))
    asyncio.run(keeper.start())
    wait_for_work(journal)
    yield
    asyncio.run(keeper.stop())
    assert not keeper.trouble, keeper.trouble


@contextmanager
def a_spinner(_: Path) -> Iterator[None]:
    """Let a process of the lowest priority count."""
    program = "import os; os.setpriority(os.PRIO_PROCESS, 0, 19); print(flush=True)\nwhile 1: pass"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None, "see Popen"
        process.stdout.readline()
        yield
        process.kill()


def wait_for_work(journal: Path) -> None:
    """Wait until the first Parquet file is written."""
    while not parquet_folder(journal).exists():
        time.sleep(0.01)


HOUSEKEEPING: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "thread": a_thread,
    "keeper": a_keeper,
    "spinner": a_spinner,
}
CASES: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "off": nullcontext,
    "journal": nullcontext,
    **HOUSEKEEPING,
}


def write_segments(folder: Path) -> None:
    """Write segments of trades for a keeper to compact."""
    hub = Hub()
    journal = Journal(hub, folder, segment_max_bytes=64 << 20)
    journal.open()
    trades = hub.create_topic("binance_futures", "BTCUSDT", int(DataType.TRADES), RING_BYTES)
    for first in range(1, TO_COMPACT, STEP):
        trades.trades(STEP, first, 618_002, 25, price_scale=1, quantity_scale=3)
        journal.turn()
    journal.close()


def main() -> None:
    """Run all of them."""
    sys.setswitchinterval(GIL_SWITCH_S)
    options = argparse.ArgumentParser(description="What the journal takes.")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--rounds", type=int, default=20)
    chosen = options.parse_args()
    keep("journal", "one core", [rows_per_second(chosen.seconds)], "trades, every commit synced")
    if RECORDING.exists():
        lines = frames()
        keep("journal", "parquet", [bytes_per_trade(lines)])
        keep("journal", "ingest", ingest_times(lines, chosen.rounds), "frame by frame from Python")


if __name__ == "__main__":
    main()

"""What the journal takes: rows a second, bytes a trade, and what it costs the ingest thread.

    python benches/journal.py [--seconds 10]

`one core` publishes trades and journals them in turn on one thread, every commit synced. `parquet` is a recording of
BTCUSDT through engine, journal and compaction (it needs the recordings that RAVEN_RECORDINGS points at). `ingest`
replays the same recording through the engine on one thread, without and with a journal on another, in turn in one run.
Writes `results/journal.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from system_parts import ROOT, keep, percentile

from raven._core import Engine, Hub
from raven.journal import Journal, compact, parquet_folder
from raven.recording import RecordedLine, depth_answer, read_recording
from raven.topics import DataType

RECORDINGS = Path(os.environ.get("RAVEN_RECORDINGS", ROOT.parent / "shared" / "data"))
RECORDING = RECORDINGS / "usdm" / "btcusdt_20240808.gz"
STEP = 50_000
RING_BYTES = 1 << 24


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


def ingest_times(lines: list[RecordedLine], rounds: int) -> list[dict[str, Any]]:
    """Take the time of every frame, without and with a journal, in turn."""

    def run(journal_folder: str) -> list[int]:
        hub = Hub()
        engine, instrument, connection = engine_of(hub)
        journal = Journal(hub, Path(journal_folder)) if journal_folder else None
        if journal:
            asyncio.run(journal.start())
        took = []
        for at, line in enumerate(lines):
            if at % 100 == 0:
                time.sleep(0.002)  # about 30,000 frames a second: a live feed leaves pauses, too
            began = time.perf_counter_ns()
            give(engine, instrument, connection, line)
            took.append(time.perf_counter_ns() - began)
        if journal:
            asyncio.run(journal.stop())
            assert journal.status.lost == 0
        return sorted(took)

    results = []
    for _ in range(rounds):
        row: dict[str, Any] = {}
        for name in ("off", "on"):
            with tempfile.TemporaryDirectory(prefix="raven-journal-") as folder:
                took = run(folder if name == "on" else "")
            row |= {f"p50_ns_{name}": percentile(took, 50), f"p99_ns_{name}": percentile(took, 99)}
        row["p99_ratio"] = round(row["p99_ns_on"] / row["p99_ns_off"], 3)
        results.append(row)
        print(row, flush=True)
    return results


def main() -> None:
    """Run all three."""
    options = argparse.ArgumentParser(description="What the journal takes.")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    keep("journal", "one core", [rows_per_second(chosen.seconds)], "trades, every commit synced")
    if RECORDING.exists():
        lines = frames()
        keep("journal", "parquet", [bytes_per_trade(lines)])
        keep("journal", "ingest", ingest_times(lines, chosen.rounds), "frame by frame from Python")


if __name__ == "__main__":
    main()

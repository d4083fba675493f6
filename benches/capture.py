"""What raw capture costs: the ingest thread's time per frame without and with it, and what the writer manages.

    python benches/capture.py [--rounds 5]

`ingest` replays a recording of BTCUSDT through the engine on one thread, without and with a recorder on another, in
turn in one run, at the pace of `benches/journal.py`. `writer` fills the buffer and lets the writer empty it:
compressing, writing and syncing included. Needs the recordings that RAVEN_RECORDINGS points at. Writes
`results/capture.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from journal import RECORDING, engine_of, frames, give
from system_parts import keep, percentile

from raven._core import Hub
from raven.ingest.recorder import Recorder
from raven.recording import RecordedLine

VENUE = "binance_futures"
PACE = 100


def recorder(folder: str, **options: Any) -> Recorder:
    """Return a recorder that knows one connection."""
    made = Recorder(Path(folder), **options)
    made.venue(VENUE, "futures")
    made.opening(0, VENUE, "public", "ws://bench")
    return made


def ingest_times(lines: list[RecordedLine], rounds: int) -> list[dict[str, Any]]:
    """Take the time of every frame."""

    def run(folder: str, is_recorded: bool) -> list[int]:
        engine, instrument, connection = engine_of(Hub())
        written = recorder(folder) if is_recorded else None
        if written:
            asyncio.run(written.start())
            engine.record(written.tap)
        took = []
        for at, line in enumerate(lines):
            if at % PACE == 0:
                time.sleep(0.002)  # about 30,000 frames a second: a live feed leaves pauses, too
            began = time.perf_counter_ns()
            give(engine, instrument, connection, line)
            took.append(time.perf_counter_ns() - began)
        if written:
            asyncio.run(written.stop())
            assert (written.status.lost, written.status.trouble) == (0, "")
        return sorted(took)

    results = []
    for _ in range(rounds):
        row: dict[str, Any] = {}
        for name in ("off", "on"):
            with tempfile.TemporaryDirectory(prefix="raven-capture-") as folder:
                took = run(folder, name == "on")
            row |= {f"p50_ns_{name}": percentile(took, 50), f"p99_ns_{name}": percentile(took, 99)}
        row["p99_ratio"] = round(row["p99_ns_on"] / row["p99_ns_off"], 3)
        results.append(row)
        print(row, flush=True)
    return results


def writer(lines: list[RecordedLine]) -> dict[str, Any]:
    """Empty a full buffer."""
    with tempfile.TemporaryDirectory(prefix="raven-capture-", dir=Path.cwd()) as folder:
        written = recorder(folder, buffer_bytes=1 << 30)
        size = 0
        for line in lines:
            written.tap.note(0, line.recv_ns, line.raw)
            size += len(line.raw)
        began = time.perf_counter()
        written.close()
        assert written.status.messages == len(lines)
        took = time.perf_counter() - began
        return {
            "frames_per_second": round(len(lines) / took), "mib_per_second": round(size / took / (1 << 20)),
            "bytes_per_frame": round(written.status.bytes / len(lines), 1),
            "of_the_raw_size": round(written.status.bytes / size, 3),
        }  # fmt: skip


def main() -> None:
    """Run both."""
    options = argparse.ArgumentParser(description="What raw capture costs.")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    assert RECORDING.exists(), f"{RECORDING} is not there; set RAVEN_RECORDINGS"
    lines = frames()
    keep("capture", "writer", [writer(lines) for _ in range(3)], "compress, write and sync")
    keep("capture", "ingest", ingest_times(lines, chosen.rounds), "frame by frame from Python")


if __name__ == "__main__":
    main()

"""The engine alone: recordings at full speed, its parts one by one, memory of a thousand books.

    python benches/engine.py [--runs 5] [--only recording|high-freq|memory]

Recordings come from the folder RAVEN_RECORDINGS (default ../shared/data); native figures from
`crates/raven-core/examples/recording_bench.rs` and the criterion benches. Everything runs on one core. Writes
`results/engine.json`; the bars are in `budgets.toml`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from system_parts import ROOT, keep

from raven._core import Engine, Hub
from raven.recording import depth_answer, read_recording

RECORDINGS = Path(os.environ.get("RAVEN_RECORDINGS", ROOT.parent / "shared" / "data"))
RECORDING = RECORDINGS / "usdm" / "btcusdt_20240808.gz"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CORE = "1" if (os.cpu_count() or 1) > 1 else "0"

# Criterion's benches behind each case; where there are several the slowest counts.
PARTS = {
    "store update": ("store update of a quote", "store update of a trade", "store update of a top-20 book"),
    "snapshot capture": ("snapshot capture",),
    "validation": ("parse and check the time of a bookTicker", "parse and check the time of a trade"),
    "encode a trade": ("encode a trade",),
    "encode a top-20 book": ("encode a top-20 book",),
    "ring publish": ("ring publish of a trade",),
    "decode a 68-level diff": ("parse a diff of 68 levels",),
}
# 96 KiB of rings a symbol hold some hundred books and trades each, and leave the process below its bar when full.
MEMORY_RING_BYTES = 96 * 1024


def native_recording(runs: int) -> None:
    """Run the recording through the native engine."""
    subprocess.run(_cargo("build", "--release", "--example", "recording_bench"), cwd=ROOT, check=True)
    program = TARGET / "release" / "examples" / "recording_bench"
    command = ["taskset", "-c", CORE, str(program), str(RECORDING), "BTCUSDT", "futures", "11"]
    outputs = [json.loads(subprocess.check_output(command, text=True)) for _ in range(runs)]
    keep("engine", "recording, native", [{k: out[k] for k in ("frames", "frames_per_s")} for out in outputs])
    diffs = [out["diffs_of_60_to_76_levels"] for out in outputs]
    keep(
        "engine",
        "68-level diff",
        [{"count": diff["count"], "mean_ns": diff["ns_mean"], "p99_ns": diff["ns_p99"]} for diff in diffs],
        "diffs of 60 to 76 levels in the recording; decode, sequence, validate, book, store, publish",
    )
    steps = [{"p99_us": out["in_step_100_p99_us"], "busy": out["in_step_100_busy"]} for out in outputs]
    keep("engine", "100 symbols in step", steps, "one core, 100 copies of the recording arriving at its times")


def python_recording(runs: int) -> None:
    """Run the recording from Python: one call per frame, then in bulk."""
    lines = list(read_recording([RECORDING]))
    answers = [depth_answer(line.raw) if line.raw.startswith(b'{"lastUpdateId"') else None for line in lines]
    singles = [_one_call_per_frame(lines, answers) for _ in range(runs)]
    keep("engine", "recording, from Python", singles, "one call per frame, publishing included")
    keep("engine", "recording, from Python in bulk", [_in_bulk(lines, answers) for _ in range(runs)])
    keep("engine", "snapshot to Python", [_snapshots(lines, answers) for _ in range(runs)], "Engine.snapshot, best 20")


def _engine() -> tuple[Engine, int, int]:
    engine = Engine(Hub())
    venue = engine.add_venue("bench", "futures")
    instrument = engine.add_instrument(venue, "BTCUSDT")
    return engine, instrument, engine.open_connection(venue)


def _one_call_per_frame(lines: list[Any], answers: list[Any]) -> dict[str, float]:
    engine, instrument, connection = _engine()
    frames = [(line.recv_ns, line.raw, answer is not None) for line, answer in zip(lines, answers, strict=True)]
    on_frame = engine.on_frame
    began = time.perf_counter()
    for recv_ns, raw, is_snapshot in frames:
        if is_snapshot:
            engine.on_snapshot(instrument, recv_ns, raw)
        else:
            on_frame(connection, recv_ns, raw)
    took = time.perf_counter() - began
    assert engine.state(instrument) == "synced"
    return {"frames": len(frames), "frames_per_s": round(len(frames) / took)}


def _in_bulk(lines: list[Any], answers: list[Any]) -> dict[str, float]:
    engine, instrument, connection = _engine()
    at = next(number for number, answer in enumerate(answers) if answer is not None)
    before, after = lines[:at], lines[at + 1 :]
    parts = [([line.recv_ns for line in part], [line.raw for line in part]) for part in (before, after)]
    began = time.perf_counter()
    engine.on_frames(connection, *parts[0])
    engine.on_snapshot(instrument, lines[at].recv_ns, lines[at].raw)
    engine.on_frames(connection, *parts[1])
    took = time.perf_counter() - began
    assert engine.state(instrument) == "synced"
    return {"frames": len(lines), "frames_per_s": round(len(lines) / took)}


def _snapshots(lines: list[Any], answers: list[Any], count: int = 200_000) -> dict[str, float]:
    engine, instrument, connection = _engine()
    for line, answer in zip(lines[:1000], answers, strict=False):
        if answer is not None:
            engine.on_snapshot(instrument, line.recv_ns, line.raw)
        else:
            engine.on_frame(connection, line.recv_ns, line.raw)
    snapshot = engine.snapshot
    assert len(snapshot(instrument)) == 8 * (5 + 80)
    began = time.perf_counter()
    for _ in range(count):
        snapshot(instrument)
    return {"mean_ns": round((time.perf_counter() - began) / count * 1e9, 1)}


def parts(runs: int) -> None:
    """Take the means of criterion's benches."""
    wanted = "|".join(f"^{name}$" for names in PARTS.values() for name in names)
    command = ["taskset", "-c", CORE, *_cargo("bench", "-q", "--bench", "engine", "--", wanted)]
    command += ["--warm-up-time", "0.5", "--measurement-time", "1"]
    found: dict[str, list[dict[str, float]]] = {case: [] for case in PARTS}
    for _ in range(runs):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        for case, names in PARTS.items():
            found[case].append({"mean_ns": round(max(map(_criterion_mean_ns, names)), 1)})
    for case, names in PARTS.items():
        keep("engine", case, found[case], "; ".join(names))


def _criterion_mean_ns(name: str) -> float:
    estimates = json.loads((TARGET / "criterion" / name / "new" / "estimates.json").read_text())
    return float(estimates["mean"]["point_estimate"])


def memory(symbols: int = 1000, levels: int = 1000) -> None:
    """Load a thousand books and fill their rings."""
    process = psutil.Process()
    hub = Hub()
    engine = Engine(hub)
    venue = engine.add_venue("bench", "futures")
    connection = engine.open_connection(venue)
    empty = process.memory_info().rss
    bids = ",".join(f'["{60_000 - 0.1 * level:.2f}","1.250"]' for level in range(1, levels + 1))
    asks = ",".join(f'["{60_000 + 0.1 * level:.2f}","1.250"]' for level in range(levels))
    body = f'{{"lastUpdateId":10,"bids":[{bids}],"asks":[{asks}]}}'.encode()
    numbers = []
    for number in range(symbols):
        instrument = engine.add_instrument(venue, f"SYM{number}USDT", ring_bytes=MEMORY_RING_BYTES)
        engine.on_snapshot(instrument, 1, body, limit=levels)
        numbers.append(instrument)
    loaded = process.memory_info().rss
    for number in range(symbols):
        for step in range(160):
            engine.on_frame(connection, 1, _diff(f"SYM{number}USDT", 11 + step))
            engine.on_frame(connection, 1, _trade(f"SYM{number}USDT", 1 + step))
    full = process.memory_info().rss
    books = [engine.book(number) for number in numbers]
    assert all(book["bids"] >= levels and book["asks"] >= levels - 200 for book in books)
    run = {
        "kib_per_symbol": round(sum(book["bytes"] for book in books) / len(books) / 1024, 1),
        "kib_per_symbol_with_rings": round((full - empty) / 1024 / symbols, 1),
        "rss_mb_books_loaded": round(loaded / 1e6, 1),
        "rss_mb_peak": round(full / 1e6, 1),
        "ring_bytes": MEMORY_RING_BYTES,
    }
    keep("engine", "1,000 symbols", [run], "kib_per_symbol: both sides of the book; rings are filled once round")


def _diff(symbol: str, update_id: int) -> bytes:
    price = 60_000 + 0.1 * (update_id % 100)
    return (
        f'{{"e":"depthUpdate","E":1723161256299,"s":"{symbol}","U":{update_id},"u":{update_id},"pu":{update_id - 1},'
        f'"b":[],"a":[["{price:.2f}","{1 + update_id % 9}.500"]]}}'
    ).encode()


def _trade(symbol: str, trade_id: int) -> bytes:
    return (
        f'{{"e":"trade","E":1723161256322,"T":1723161256322,"s":"{symbol}","t":{trade_id},"p":"60000.10","q":"0.006",'
        f'"m":false}}'
    ).encode()


def _cargo(verb: str, *arguments: str) -> list[str]:
    return ["cargo", verb, "--locked", "-p", "raven-core", *arguments]


def main() -> int:
    """Run the benches."""
    options = argparse.ArgumentParser(description="The engine alone.")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--only", choices=["recording", "high-freq", "memory"])
    chosen = options.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(CORE)})
    if chosen.only != "memory" and not RECORDING.is_file():
        print(f"no recording {RECORDING}; set RAVEN_RECORDINGS to the folder that has it", file=sys.stderr)
        return 1
    if chosen.only in (None, "recording"):
        native_recording(chosen.runs)
    if chosen.only in (None, "recording", "high-freq"):
        python_recording(chosen.runs)
    if chosen.only in (None, "high-freq"):
        parts(chosen.runs)
    if chosen.only in (None, "memory"):
        memory()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Shared memory: what it costs the writer, records per second and age of records for native and Python readers.

    python benches/shm.py [--seconds 3] [--real-time] [--iceoryx2 PYTHON]

The native side is `crates/raven-shm/examples/shm_bench.rs`. Throughput is that of a ring of 64 MiB with 500,000 trades
waiting in it, so one core is measured and not the race of two. Age: a writer process on core 0 publishes 10,000 trades
a second, a reader process on core 1 polls. A busy machine makes that a measure of its scheduler, unless `--real-time`
puts the measured before everything else (needs the right to). With `--iceoryx2` the Python of an environment that has
that package sends and receives samples of the same size, one by one. Writes `results/shm.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raven._core import Hub, SharedMemory
from raven.shm import Reader, TopicReader
from raven.topics import DataType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BACKLOG, ROUNDS, RATE = 500_000, 5, 10_000


def build() -> Path:
    """Build the native side; return its path."""
    command = ["cargo", "build", "-q", "--release", "--locked", "-p", "raven-shm", "--example", "shm_bench"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "shm_bench"


def on(core: int, command: Sequence[str | Path], *, real_time: bool = False) -> list[str | Path]:
    """Return the command that runs another one on a core."""
    return [*(["chrt", "-f", "10"] if real_time else []), "taskset", "-c", str(core), *command]


def run(core: int, *command: str | Path, real_time: bool = False) -> dict[str, float]:
    """Run something on a core; return what it printed last."""
    placed = on(core, command, real_time=real_time)
    output = subprocess.run(placed, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


def beside_a_writer(native: Path, name: str, seconds: float, *reader: str | Path, real_time: bool) -> dict[str, float]:
    """Let a writer publish on core 0, and run a reader on core 1."""
    command = on(0, [native, "write", name, str(RATE), str(seconds + 20)], real_time=real_time)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        try:
            return run(1, *reader, real_time=real_time)
        finally:
            writer.terminate()
            writer.wait()
            # The next writer of this name would clean it, but nobody will use this one again.
            Path("/dev/shm", name).unlink(missing_ok=True)


def python_ages(name: str, seconds: float) -> dict[str, float]:
    """Poll one by one from Python; return how old records were when they were there."""
    topic = Reader(name).open("bench", "BTCUSDT", DataType.TRADES)
    read, now, ages = topic.read, time.monotonic_ns, []
    end = now() + int(seconds * 1e9)
    while now() < end:
        if (record := read()) is not None:
            ages.append(now() - record.recv_ns)
    return percentiles(ages, topic.lost)


def percentiles(ages: list[int], lost: int) -> dict[str, float]:
    """Sort and name."""
    ages.sort()
    names = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}
    return {"records": len(ages), "lost": lost} | {key: ages[int(at * len(ages))] for key, at in names.items()}


def python_throughput() -> dict[str, float]:
    """Read what waits in a ring: one by one, as numpy views, as Arrow batches."""
    name = f"raven-bench-{os.getpid()}"
    memory = SharedMemory(name, 256 << 20, time.time_ns())
    writer = Hub(memory).create_topic("bench", "BTCUSDT", DataType.TRADES, 64 << 20)
    topic = Reader(name).open("bench", "BTCUSDT", DataType.TRADES)

    def best(consume: Callable[[TopicReader], int]) -> float:
        times = []
        for _ in range(ROUNDS):
            writer.trades(BACKLOG, 1, 5, 6, price_scale=2, quantity_scale=3)
            started = time.perf_counter()
            rows = consume(topic)
            times.append((time.perf_counter() - started) / rows)
            assert (rows, topic.lost) == (BACKLOG, 0)
        return round(1 / min(times))

    def singles(topic: TopicReader) -> int:
        read, rows = topic.read, 0
        while (record := read()) is not None:
            rows += record.id > 0
        return rows

    def views(topic: TopicReader) -> int:
        rows = 0
        for batch in topic.batches(timeout_s=0):
            view = batch.numpy()
            assert view["price"].max() == 5
            rows += len(view)
        return rows

    def tables(topic: TopicReader) -> int:
        return sum(batch.arrow().num_rows for batch in topic.batches(timeout_s=0))

    result = {"one_by_one": best(singles), "numpy": best(views), "arrow": best(tables)}
    memory.close()
    return result


def main() -> None:
    """Measure everything and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--real-time", action="store_true", help="measure ages before all other work of the machine")
    parser.add_argument("--iceoryx2", default="", help="a Python that has the package iceoryx2")
    parser.add_argument("--ages", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ages:
        print(json.dumps(python_ages(arguments.ages, arguments.seconds)))
        return
    alone = arguments.real_time
    native, load, name, seconds = build(), os.getloadavg()[0], f"raven-bench-age-{os.getpid()}", arguments.seconds
    cases: dict[str, Any] = {
        "cost": run(1, native, "cost", real_time=alone),
        "native backlog": run(1, native, "backlog", real_time=alone),
    }
    cases["native age"] = beside_a_writer(native, name, seconds, native, "read", name, str(seconds), real_time=alone)
    own = [sys.executable, str(HERE / "shm.py"), "--seconds", str(seconds), "--ages", name]
    cases["python age"] = beside_a_writer(native, name, seconds, *own, real_time=alone)
    if arguments.iceoryx2:
        cases["iceoryx2, python"] = run(1, arguments.iceoryx2, HERE / "shm_iceoryx2.py", str(seconds), real_time=alone)
    os.sched_setaffinity(0, {1})
    if alone:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    cases["python backlog, per second"] = python_throughput()
    for what, figures in cases.items():
        print(f"{what}: {figures}")
    what = {
        "command": f"python benches/shm.py --seconds {seconds:g}{' --real-time' * alone}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load_before": round(load, 2),
        "cases": cases,
    }
    (HERE / "results" / "shm.json").write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

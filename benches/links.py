"""Records per second that a service takes in from another one: `python benches/links.py [--seconds 4] [--rates …]`.

A server process on core 0 publishes trades as fast as asked; a `grpc://` link on core 1 publishes them again in a hub
of its own. Counted are records in that hub and those that the server had to skip; the processor time is that of the
whole process that hears. Writes `results/links.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raven.links.grpc import GrpcLink
from raven.observe.logs import configure_logs
from raven.topics import DataType

HERE = Path(__file__).resolve().parent


async def hear(address: str, seconds: float) -> dict[str, float]:
    """Hear for a while; return records, missing ones and processor time per second."""
    link = GrpcLink(f"//{address}", name="bench", ring_bytes=64 << 20)
    await link.start()
    await link.acquire("bench", "BTCUSDT", DataType.TRADES)
    while not link.counters()["records"]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    before, first_id, started, processor = link.counters(), newest(link), time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    after, last_id = link.counters(), newest(link)
    elapsed, worked = time.perf_counter() - started, time.process_time() - processor
    frames, records, size = (after[name] - before[name] for name in ("frames", "records", "bytes"))
    await link.stop()
    return {
        "records_per_second": round(records / elapsed),
        "records_per_frame": round(records / max(1, frames)),
        "megabytes_per_second": round(size / elapsed / 1e6, 1),
        "missing": max(0, last_id - first_id - records),
        "processor_ns_per_record": round(worked * 1e9 / max(1, records)),
    }


def newest(link: GrpcLink) -> int:
    """Return the id of the newest trade: they are published with rising ones."""
    topic_id = link.hub.find("bench", "BTCUSDT", int(DataType.TRADES))
    assert topic_id is not None
    return link.hub.reader(topic_id, from_latest=True).drain(1)[0].id


def measure(rate: int, seconds: float) -> dict[str, float]:
    """Start a server that publishes at this rate, and hear it."""
    command = [sys.executable, str(HERE / "grpc_python_client.py"), "--serve", "--rate", str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            return asyncio.run(hear(f"127.0.0.1:{server.stdout.readline().strip()}", seconds))
        finally:
            server.stdin.close()


def main() -> None:
    """Measure every rate and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rates", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 3_000_000])
    arguments = parser.parse_args()
    configure_logs("warn")
    os.sched_setaffinity(0, {1})
    load, cases = os.getloadavg()[0], {}
    for rate in arguments.rates:
        case = cases[f"{rate} published per second"] = measure(rate, arguments.seconds)
        print(f"{rate:>10,} published/s: " + ", ".join(f"{value:,} {name}" for name, value in case.items()), flush=True)
    best = max(case["records_per_second"] for case in cases.values())
    what: dict[str, Any] = {
        "command": f"python benches/links.py --seconds {arguments.seconds:g}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load_before": load,
        "best_records_per_second": best,
        "cases": cases,
    }
    (HERE / "results" / "links.json").write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Does anything grow? Memory, open files, threads and tasks of the whole server while it works for minutes.

    python benches/soak.py [--minutes 10] [--only demo|replay]

`demo` is `raven --demo` with programs that come, subscribe to configured and unconfigured symbols, and go again.
`replay` is a recording of BTCUSDT at ten times its speed, repeated with ids and times moved on until the time is up;
it needs the recordings that RAVEN_RECORDINGS points at. The first minute is warm-up: rings and caches fill. Growth is
the slope of a straight line through the samples after it. Writes `results/soak.json`.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from system_parts import ROOT, Server, keep

WARM_UP_S = 60.0
SAMPLE_S = 5.0
SPEED = 10.0
RECORDING = Path(os.environ.get("RAVEN_RECORDINGS", ROOT.parent / "shared" / "data")) / "usdm" / "btcusdt_20240808.gz"
# A visitor: subscribes, reads for some seconds, leaves. A new one comes as soon as the last has gone.
VISITOR = """
import itertools, sys, time, raven
until = time.monotonic() + 4
with raven.connect(sys.argv[1]) as feed:
    for event in feed.subscribe(sys.argv[2].split(","), types=["trades", "orderbook", "quotes"], heartbeat_ms=500):
        if time.monotonic() > until:
            break
"""
NUMBERS = {key: re.compile(rb'"%s":(\d+)' % key.encode()) for key in ("U", "u", "pu", "t", "E", "T", "lastUpdateId")}
TIMES = ("E", "T")


def repeated(folder: Path, seconds: float) -> list[Path]:
    """Write the recording again and again, moved on, until it lasts so long at ten times its speed."""
    lines = gzip.decompress(RECORDING.read_bytes()).splitlines()
    stamps = [int(line.partition(b" ")[0]) for line in lines]
    duration_ns = max(stamps) - stamps[0] + 1_000_000_000
    highest = {key: max((int(number) for line in lines for number in pattern.findall(line)), default=0)
               for key, pattern in NUMBERS.items()}  # fmt: skip
    span = max(highest[key] for key in ("u", "lastUpdateId")) - min(
        int(number) for line in lines[:2000] for number in NUMBERS["u"].findall(line)
    )
    files = []
    for turn in range(int(seconds * SPEED / (duration_ns / 1e9)) + 2):
        path = folder / f"{turn:03}.gz"
        with gzip.open(path, "wb", compresslevel=1) as out:
            for stamp, line in zip(stamps, lines, strict=True):
                moved = line.partition(b" ")[2]
                for key, pattern in NUMBERS.items():
                    by = turn * (duration_ns // 1_000_000 if key in TIMES else span + 1_000)
                    moved = pattern.sub(
                        lambda found, k=key, by=by: b'"%s":%d' % (k.encode(), int(found[1]) + by), moved
                    )
                out.write(b"%d %s\n" % (stamp + turn * duration_ns, moved))
        files.append(path)
    return files


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the growth per minute of a straight line through the values."""
    mean_time, mean_value = sum(times) / len(times), sum(values) / len(values)
    above = sum((at - mean_time) * (value - mean_value) for at, value in zip(times, values, strict=True))
    return 60 * above / sum((at - mean_time) ** 2 for at in times)


def measure(arguments: Sequence[str], minutes: float, visitors: bool) -> dict[str, Any]:
    """Run the server and sample it."""
    samples: list[dict[str, float]] = []
    began = time.monotonic()
    with Server({}, list(arguments)) as server:
        visits, guests = 0, []
        while time.monotonic() - began < 60 * minutes:
            if visitors:
                guests = [guest for guest in guests if guest.poll() is None]
                while len(guests) < 2:
                    symbols = ("BTCUSDT,ETHUSDT", "DOGEUSDT", "BTCUSDT,XRPUSDT")[visits % 3]
                    command = [sys.executable, "-c", VISITOR, f"127.0.0.1:{server.port}", symbols]
                    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
                    guests.append(subprocess.Popen(command, env=environment))
                    visits += 1
            metrics, process = server.metrics(), server.process
            samples.append({
                "seconds": round(time.monotonic() - began, 1), "rss_mib": round(server.rss_mib(), 2),
                "files": process.num_fds(), "threads": process.num_threads(),
                "tasks": metrics.get("raven_loop_tasks", 0),
                "received": metrics.get("raven_received_events_total", 0),
                "gap": metrics.get("raven_gap_events_total", 0),
                "rejected": metrics.get("messages_error_total", 0),
            })  # fmt: skip
            print("  ".join(f"{name} {value:g}" for name, value in samples[-1].items()), flush=True)
            time.sleep(SAMPLE_S)
        for guest in guests:
            guest.wait(30)
        metrics = server.metrics()
        unaccounted = metrics["raven_received_events_total"] - sum(
            metrics[f"raven_{part}_events_total"] for part in ("published", "ignored", "gap")
        ) - metrics["messages_error_total"] - metrics["raven_pending_events"]  # fmt: skip
    warm = [one for one in samples if one["seconds"] >= WARM_UP_S]
    times = [one["seconds"] for one in warm]
    growth = {f"{name}_per_minute": round(slope(times, [one[name] for one in warm]), 3)
              for name in ("rss_mib", "files", "threads", "tasks")}  # fmt: skip
    return {
        "minutes": minutes, "visits": visits, **growth, "rss_mib_after_warm_up": warm[0]["rss_mib"],
        "rss_mib_end": warm[-1]["rss_mib"], "received": samples[-1]["received"], "unaccounted": unaccounted,
        "samples": samples,
    }  # fmt: skip


def main() -> None:
    """Run both."""
    options = argparse.ArgumentParser(description="Does anything grow?")
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--only", choices=["demo", "replay"])
    chosen = options.parse_args()
    if chosen.only != "replay":
        keep("soak", "demo, with visitors", [measure(["--demo"], chosen.minutes, visitors=True)])
    if chosen.only != "demo" and RECORDING.exists():
        with tempfile.TemporaryDirectory(prefix="raven-soak-") as folder:
            files = repeated(Path(folder), 60 * chosen.minutes)
            arguments = ["--replay", *map(str, files), "--speed", f"{SPEED:g}"]
            keep("soak", "replay at ten times its speed", [measure(arguments, chosen.minutes, visitors=False)])


if __name__ == "__main__":
    main()

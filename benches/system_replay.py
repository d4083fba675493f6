"""How many frames a second the whole server takes over real sockets: picows, engine, publication.

    python benches/system_replay.py [FILE…] [--runs 3]

Two senders. `replay`: the built-in exchange plays the recording at full speed (`raven --replay FILE --speed 0`); it is
Python, so the sender is what bounds. `blast`: a sender that only writes the recording's frames, made beforehand; server
and sender have a core each. Writes `results/replay.json`.
Without a file: `$RAVEN_RECORDINGS/usdm/btcusdt_20240808.gz` (default `../shared/data`).
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

from system_parts import ROOT, Server, keep, pinned

from raven.recording import read_recording

HERE = Path(__file__).resolve().parent


def frames(metrics: dict[str, float]) -> float:
    """Return how many frames the engine has taken."""
    return metrics["raven_frames_total"]


def follow(server: Server) -> dict[str, Any]:
    """Watch until no more frames come; return their rate between the first and the last."""
    points: list[tuple[float, float, float]] = []
    while True:
        points.append((time.monotonic(), frames(server.metrics()), server.cpu_seconds()))
        still = [point for point in points if point[0] > points[-1][0] - 2.0]
        if points[-1][1] > 0 and len(still) > 5 and still[0][1] == still[-1][1]:
            break
        time.sleep(0.2)
    total = points[-1][1]
    begin = max((point for point in points if point[1] < 0.1 * total), key=lambda point: point[0])
    end = min((point for point in points if point[1] > 0.9 * total), key=lambda point: point[0])
    metrics = server.metrics()
    return {
        "frames": total,
        "frames_per_s": round((end[1] - begin[1]) / (end[0] - begin[0])),
        "server_cpu_us_per_frame": round(1e6 * (end[2] - begin[2]) / (end[1] - begin[1]), 2),
        "events_published": metrics.get("messages_processed_total", 0.0),
        "sequence_errors": metrics.get("sequence_errors_total", 0.0),
    }


def replay(files: list[Path]) -> dict[str, Any]:
    """Let the built-in exchange send."""
    arguments = [argument for file in files for argument in ("--replay", str(file))]
    with Server({}, (*arguments, "--speed", "0")) as server:
        return follow(server)


def blast(files: list[Path]) -> dict[str, Any]:
    """Let the sender that only writes send; the server has core 0 for all its threads, the sender core 1."""
    command = pinned([sys.executable, str(HERE / "system_blast.py"), *map(str, files)], "1")
    sender = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert sender.stdout is not None
    assert sender.stdin is not None
    addresses = json.loads(sender.stdout.readline())
    settings = {
        "feeds.venues": ["binance_futures"], "feeds.symbols": ["BTCUSDT"], "feeds.silence_seconds": 3600,
        "feeds.first_frame_seconds": 3600, "venues.binance_futures.ws_url": addresses["ws"],
        "venues.binance_futures.rest_url": addresses["rest"],
    }  # fmt: skip
    with Server(settings, cpus="0") as server:
        sent = json.loads(sender.stdout.readline())
        metrics = server.metrics()
    sender.stdin.close()
    sender.wait(20)
    return {
        "frames": sent["frames"],
        "frames_per_s": round(sent["frames"] / sent["seconds"]),
        "megabytes_per_s": round(sent["bytes"] / sent["seconds"] / 1e6, 1),
        "frames_taken_in_all": frames(metrics),
        "events_published": metrics.get("messages_processed_total", 0.0),
        "sequence_errors": metrics.get("sequence_errors_total", 0.0),
    }


def count(files: list[Path]) -> int:
    """Return the lines of a recording."""
    return sum(1 for _ in read_recording(files))


def main() -> None:
    """Run both senders."""
    options = argparse.ArgumentParser(description="The whole server at full speed.")
    options.add_argument("files", nargs="*", type=Path)
    options.add_argument("--runs", type=int, default=3)
    chosen = options.parse_args()
    data = Path(os.environ.get("RAVEN_RECORDINGS", ROOT.parent / "shared" / "data"))
    files = [file.resolve() for file in chosen.files] or [data / "usdm" / "btcusdt_20240808.gz"]
    if not all(file.is_file() for file in files):
        print(f"system_replay: skipped, {files[0]} is not there; set RAVEN_RECORDINGS", file=sys.stderr)
        return
    lines = count(files)
    keep("replay", "blast", [blast(files) for _ in range(chosen.runs)], f"{lines} lines; server on one core")
    keep("replay", "replay", [replay(files) for _ in range(chosen.runs)], f"{lines} lines, from the built-in exchange")


if __name__ == "__main__":
    main()

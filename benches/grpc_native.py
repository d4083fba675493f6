"""What the native gRPC server reaches: `python benches/grpc_native.py [--runs 3] [--seconds 5] [--only NAME]`.

Server and publisher share core 0, the clients core 1, each side a process (`crates/raven-serve/examples/grpc_load.rs`).
Writes the median of the runs to `benches/results/grpc.json`, with the command, the machine and the date.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "grpc.json"

CASES: dict[str, dict[str, str | int]] = {
    "one client, every message decoded": {"clients": 1, "rate": 0, "client": "decode"},
    "one client, messages counted": {"clients": 1, "rate": 0, "client": "count"},
    "100 clients, every message decoded": {"clients": 100, "rate": 0, "client": "decode"},
    "100 clients, messages counted": {"clients": 100, "rate": 0, "client": "count"},
    "plain grpcio client, batch 100": {"clients": 1, "rate": 0, "client": "python", "batch": 100},
    "plain grpcio client, batch 500": {"clients": 1, "rate": 0, "client": "python", "batch": 500},
    "publish cost, 1 subscriber": {"clients": 1, "rate": 2000, "client": "count"},
    "publish cost, 1000 subscribers": {"clients": 1000, "rate": 2000, "client": "count"},
    "publish cost without wake-ups, 1 subscriber": {"clients": 1, "rate": 2000, "client": "count", "busy": 1},
    "publish cost without wake-ups, 1000 subscribers": {"clients": 1000, "rate": 2000, "client": "count", "busy": 1},
    "latency at 10,000 msg/s": {"clients": 1, "rate": 10_000, "client": "decode"},
    "latency at 10,000 msg/s, busy polling": {
        "clients": 1,
        "rate": 10_000,
        "client": "decode",
        "busy": 1,
        "publisher": 1,
    },
    "1000 clients, 10,000 events/s, 60 s": {
        "clients": 1000,
        "rate": 10_000,
        "client": "decode",
        "seconds": 60,
        "runs": 1,
    },
}
"""Every case: how many clients, events per second (0: as fast as the slowest reads), who reads, messages per frame."""


def build() -> Path:
    """Build the two ends and return the program."""
    command = ["cargo", "build", "--release", "-p", "raven-serve", "--example", "grpc_load"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "grpc_load"


def run(program: Path, case: dict[str, str | int], seconds: int) -> dict[str, float]:
    """Run one case once and return what both ends measured."""
    arguments = [
        case["clients"],
        case.get("seconds", seconds),
        case["rate"],
        case.get("batch", 1),
        case.get("busy", 0),
        case.get("publisher", 0),
    ]
    command = ["taskset", "-c", "0", str(program), "serve", *map(str, arguments)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    if case["client"] == "python":
        command = [sys.executable, str(HERE / "grpc_client.py"), port]
    else:
        command = [str(program), "client", port, str(case["clients"]), str(case["client"])]
    client = subprocess.run(["taskset", "-c", "1", *command], stdout=subprocess.PIPE, text=True, check=True)
    served = json.loads(server.stdout.readline())
    server.wait()
    return judge(case, served, json.loads(client.stdout))


def judge(case: dict[str, str | int], served: dict[str, float], read: dict[str, float]) -> dict[str, float]:
    """Put the figures of one run together; anything lost must have been counted and marked."""
    clients = int(case["clients"])
    due = int(served["published"]) * clients
    told = served["messages"] - served["gap_marks"] + served["lost"]
    assert told == due, f"sent and lost do not add up: {served} {read}"
    if case["client"] != "count":
        assert read.get("unmarked_holes", read.get("holes")) == 0, "a client saw a hole without a mark"
    if case["client"] == "decode":
        assert read["messages"] + read["gap_lost"] == due, "read and marked do not add up to published"
    figures = {
        "messages_per_second": read["messages"] / read["seconds"],
        "message_bytes": served["bytes"] / max(served["messages"], 1),
        "lost_and_marked": served["lost"],
        "streams_alive_at_the_end": served["alive"],
        "server_cpu_seconds": served["cpu_seconds"],
        "server_rss_mib_growth": (served["rss_kib_after"] - served["rss_kib_before"]) / 1024,
    }
    keys = ["publish_ns_mean", "publish_ns_p50", "publish_ns_p99"] if case["rate"] else []
    if case["client"] == "decode" and case["rate"]:
        keys += ["latency_us_p50", "latency_us_p99", "latency_us_p999"]
    return figures | {key: {**served, **read}[key] for key in keys}


def main() -> None:
    """Run the cases and write the medians."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--only", default="", help="run the cases whose name contains this")
    chosen = options.parse_args()
    program = build()
    document = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cases": {}}
    for name, case in CASES.items():
        if chosen.only not in name:
            continue
        runs = [run(program, case, chosen.seconds) for _ in range(int(case.get("runs", chosen.runs)))]
        median = {key: round(statistics.median(one[key] for one in runs), 1) for key in runs[0]}
        document["cases"][name] = median | {"runs": len(runs), "date": datetime.now(UTC).strftime("%Y-%m-%d")}
        print(f"{name}: {median}", flush=True)
        write(document)


def write(document: dict[str, object]) -> None:
    """Keep what is measured so far."""
    document["command"] = "python benches/grpc_native.py"
    document["machine"] = {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "note": "server and publisher on core 0, clients on core 1; other work ran on the machine at the same time",
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()

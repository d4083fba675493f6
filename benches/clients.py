"""A thousand streaming clients for a minute while ten thousand events a second come in, through the whole server.

    python benches/clients.py [--clients 1000] [--seconds 60] [--only NAME]

The built-in exchange makes up a market of 100 symbols; `raven` serves it; the clients are one native process, a
connection each, that checks every topic of every client: sequences go up by one, or a mark says how many records were
lost, or a flag says that states of a book were skipped. Memory is sampled every second, once the rings have been round.
Writes `results/clients.json`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
from system_parts import Server, keep, native_client

from raven.exchange.process import ExchangeProcess

SYMBOLS = 100
# Orders a second that make some 10,000 events a second: not every order moves a best price or trades.
ORDERS_PER_S = 26_000.0
# The rings of every symbol have been written once around by then, so that what grows later is a leak.
SETTLE_S = 45.0
CASES = {
    "3 of 100 symbols each": (3, "every client takes books, trades and quotes of 3 symbols"),
    "10 of 100 symbols each": (10, "as above with 10: more than one core of clients can read, so losses are expected"),
}


def measure(program: Path, clients: int, seconds: float, per_client: int, orders: float) -> dict[str, Any]:
    """Run once."""
    arguments = ("--symbol-count", str(SYMBOLS), "--rate", f"{orders:g}", "--no-limits")
    with ExchangeProcess(arguments) as exchange:
        symbols = exchange.ready["symbols"]["usdm"]
        settings = {
            "feeds.venues": ["binance_futures"], "feeds.symbols": symbols, "server.max_connections": clients + 10,
            "venues.binance_futures.ws_url": exchange.urls["usdm"]["ws"],
            "venues.binance_futures.rest_url": exchange.urls["usdm"]["rest"],
            "venues.binance_futures.limits.request_weight_per_minute": 1_000_000,
            # Small rings are soon round: what memory does after that is what is measured.
            "data_processing.ring_bytes": 131_072,
        }  # fmt: skip
        with Server(settings) as server:
            server.wait_synced(len(symbols), 60)
            command = [str(program), "many", str(server.port), str(clients), ",".join(symbols), str(per_client)]
            many = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert many.stdout is not None
            assert many.stdin is not None
            assert many.stdout.readline().strip() == "streaming", "the clients did not all get a first message"
            time.sleep(SETTLE_S)
            figures = _watch(server, psutil.Process(many.pid), seconds)
            many.stdin.close()
            seen = json.loads(many.stdout.readline())
            many.wait(30)
    figures |= seen | {"clients": clients}
    figures["every_loss_marked"] = int(seen["unmarked_holes"] == 0)
    return figures


def _watch(server: Server, clients: psutil.Process, seconds: float) -> dict[str, Any]:
    """Sample for the measured time."""
    before, cpu, began = server.metrics(), server.cpu_seconds(), time.monotonic()
    samples, tasks = [], []
    while time.monotonic() - began < seconds:
        samples.append(round(server.rss_mib(), 1))
        tasks.append(server.process.num_fds())
        time.sleep(1.0)
    took = time.monotonic() - began
    after = server.metrics()
    third = max(1, len(samples) // 3)
    growth = sum(samples[-third:]) / third - sum(samples[:third]) / third
    return {
        "seconds": round(took, 1),
        "events_in_per_s": round(_events(after, before) / took),
        "messages_out_per_s": round((_sent(after) - _sent(before)) / took),
        "lost_by_server_count": _lost(after),
        "streams_at_the_end": after.get("grpc_active_connections", 0.0),
        "server_cores_used": round((server.cpu_seconds() - cpu) / took, 2),
        "rss_mib_first": samples[0],
        "rss_mib_last": samples[-1],
        "rss_growth_percent": round(100 * growth / samples[0], 2),
        "rss_mib": samples,
        "open_files_growth": tasks[-1] - tasks[0],
        "clients_rss_mib": round(clients.memory_info().rss / 2**20, 1),
    }


def _events(after: dict[str, float], before: dict[str, float]) -> float:
    return after["messages_processed_total"] - before["messages_processed_total"]


def _sent(metrics: dict[str, float]) -> float:
    return metrics.get("raven_grpc_messages_total", 0.0)


def _lost(metrics: dict[str, float]) -> float:
    return metrics.get("raven_grpc_lost_events_total", 0.0)


def main() -> None:
    """Run the cases."""
    options = argparse.ArgumentParser(description="A thousand streaming clients.")
    options.add_argument("--clients", type=int, default=1000)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--orders", type=float, default=ORDERS_PER_S)
    options.add_argument("--only", default="", help="run this case only")
    chosen = options.parse_args()
    program = native_client()
    for name, (per_client, note) in CASES.items():
        if chosen.only in ("", name):
            run = measure(program, chosen.clients, chosen.seconds, per_client, chosen.orders)
            keep("clients", name, [run], note)


if __name__ == "__main__":
    main()

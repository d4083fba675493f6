"""What a thousand symbols with books of a thousand levels take: the whole server's process.

    python benches/system_memory.py [--symbols 1000] [--seconds 60]

The built-in exchange offers the symbols, each with 1,200 levels a side; `raven` takes a snapshot of 1,000 levels a side
of each and keeps all of them with trades and quotes. Memory is sampled until the rings have been round. Writes
`results/memory.json`.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from system_parts import Server, keep

from raven.exchange.process import ExchangeProcess


def measure(symbols: int, seconds: float, rate: float) -> dict[str, Any]:
    """Run once."""
    arguments = ("--symbol-count", str(symbols), "--rate", f"{rate:g}", "--levels", "1200", "--no-limits")
    with ExchangeProcess(arguments, start_timeout_s=300.0) as exchange:
        names = exchange.ready["symbols"]["usdm"]
        settings = {
            "feeds.venues": ["binance_futures"], "feeds.symbols": names, "feeds.snapshot_timeout_seconds": 60,
            "feeds.first_frame_seconds": 3600,
            "venues.binance_futures.ws_url": exchange.urls["usdm"]["ws"],
            "venues.binance_futures.rest_url": exchange.urls["usdm"]["rest"],
            "venues.binance_futures.limits.request_weight_per_minute": 10_000_000,
        }  # fmt: skip
        with Server(settings) as server:
            empty = server.rss_mib()
            synced_s = server.wait_synced(len(names), 300)
            samples = []
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                samples.append(round(server.rss_mib(), 1))
                time.sleep(1.0)
            metrics = server.metrics()
    return {
        "symbols": len(names),
        "rss_mib_at_start": round(empty, 1),
        "rss_mib_all_synced": samples[0],
        "rss_mib_end": samples[-1],
        "rss_mb_peak": round(max(samples) * 1.048576, 1),
        "kib_per_symbol": round((max(samples) - empty) * 1024 / len(names), 1),
        "seconds_to_all_synced": round(synced_s, 1),
        "events": metrics.get("messages_processed_total", 0.0),
        "rss_mib": samples,
    }


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description="A thousand symbols.")
    options.add_argument("--symbols", type=int, default=1000)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--rate", type=float, default=8000.0, help="orders a second over all symbols")
    chosen = options.parse_args()
    run = measure(chosen.symbols, chosen.seconds, chosen.rate)
    keep("memory", f"{chosen.symbols} symbols, 1,000 levels", [run], "the whole process, exchange apart")


if __name__ == "__main__":
    main()

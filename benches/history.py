"""The past, asked for: a day of a symbol as Arrow, as messages, and over gRPC.

    python benches/history.py [--rows 1000000] [--rounds 3]

A journal of trades in random steps of price, 12 in a millisecond at most, is read as segments and then as Parquet.
`to Arrow` is `raven.history(journal=…).to_arrow()`; `messages` reads and encodes them without a network; `gRPC` is
`GetHistoricalData` read by a plain grpcio client in a process of its own that does not decode: one message per frame,
so this is the client's rate, not the server's.
Writes `results/history.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import grpc
from system_parts import keep

import raven
from raven._core import GrpcServer, Hub
from raven.fanout import Fanout
from raven.fanout.ports import Collector
from raven.journal import Journal, compact
from raven.journal.past import Past
from raven.proto import subscription_pb2 as wire
from raven.serve.grpc import GrpcFace
from raven.serve.history import JournalHistory
from raven.topics import DataType

SYMBOL = "BTCUSDT"
DAY_NS = 1_700_000_000 * 1_000_000_000 // 86_400_000_000_000 * 86_400_000_000_000
STEP = 20_000


def write_journal(folder: Path, rows: int) -> None:
    """Write a day of trades."""
    hub, dice, price = Hub(), random.Random(1), 618_000
    journal = Journal(hub, folder)
    journal.open()
    trades = hub.create_topic("binance_futures", SYMBOL, int(DataType.TRADES), 1 << 24)
    for number in range(1, rows + 1):
        moment = DAY_NS + 86_000_000_000_000 * (number // 12 * 12) // rows // 1_000_000 * 1_000_000
        price += dice.randint(-5, 5)
        trades.trade(
            moment + dice.randint(500_000, 3_000_000), moment, 3_000_000_000 + number, price, dice.randint(1, 90_000),
            price_scale=1, quantity_scale=3, taker_sells=dice.random() < 0.5,
        )  # fmt: skip
        if number % STEP == 0:
            journal.turn()
    journal.close()


def to_arrow(folder: Path) -> int:
    """Read the day as a table."""
    return len(raven.history(SYMBOL, journal=folder).to_arrow())


def to_messages(folder: Path) -> int:
    """Read the day as messages."""
    return sum(records.encode().messages for records in Past(folder, SYMBOL, DataType.TRADES).read())


def read_over_grpc(address: str) -> int:
    """Ask a server for the day, as another program would; decode nothing."""
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_stream(
            "/raven.MarketDataService/GetHistoricalData", wire.HistoricalDataRequest.SerializeToString
        )
        return sum(1 for _ in ask(wire.HistoricalDataRequest(symbols=[SYMBOL], data_types=["TRADES"])))


async def over_grpc(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Serve the journal here and read it from another process."""
    hub = Hub()
    server, journal = GrpcServer(hub, port=0), Journal(hub, folder)
    await journal.start()
    history = JournalHistory(journal, folder, 20)
    # Nobody subscribes here, so nobody collects.
    face = GrpcFace(server, Fanout(cast(Collector, None), server, history=history), history=history)
    port = await face.start()
    results = []
    for _ in range(rounds):
        command = [sys.executable, __file__, "--read", f"127.0.0.1:{port}"]
        done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
        rows, seconds = done.stdout.split()
        results.append(
            {"rows": int(rows), "seconds": float(seconds), "rows_per_second": int(int(rows) / float(seconds))}
        )
    await face.drain()
    await journal.stop()
    return results


def timed(read: Callable[[], int]) -> dict[str, Any]:
    """Say how long reading took."""
    began = time.perf_counter()
    rows = read()
    took = time.perf_counter() - began
    return {"rows": rows, "seconds": round(took, 3), "rows_per_second": round(rows / took)}


def main() -> None:
    """Measure segments, then Parquet."""
    options = argparse.ArgumentParser(description="The past, asked for.")
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--read", default="", help="be the client of this address")
    chosen = options.parse_args()
    if chosen.read:
        result = timed(lambda: read_over_grpc(chosen.read))
        print(result["rows"], result["seconds"])
        return
    with tempfile.TemporaryDirectory(prefix="raven-history-") as name:
        folder = Path(name)
        write_journal(folder, chosen.rows)
        for form in ("segments", "Parquet"):
            if form == "Parquet":
                (folder / "0000000999.segment").touch()
                compact(folder)
            to_arrow(folder)  # warm
            note = f"{chosen.rows:,} trades"
            keep("history", f"{form} to Arrow", [timed(lambda: to_arrow(folder)) for _ in range(chosen.rounds)], note)
            keep(
                "history",
                f"{form} to messages",
                [timed(lambda: to_messages(folder)) for _ in range(chosen.rounds)],
                note,
            )
            keep("history", f"{form} over gRPC", asyncio.run(over_grpc(folder, chosen.rounds)), note)


if __name__ == "__main__":
    main()

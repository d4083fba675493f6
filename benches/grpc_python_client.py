"""What Python clients reach against the native gRPC server: `python benches/grpc_python_client.py [--seconds 4]`.

A server process on core 0 publishes 62-byte trades as fast as asked; the client on core 1 counts what arrives. Five
clients: a plain grpcio stub that only counts, our blocking client and our asyncio client (a typed record per trade),
and both with `batches()` (Arrow). Prints one line per case, and with `--json FILE` writes them with the command that
made them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc

import raven
from raven import _core
from raven.client import Batch, Gap
from raven.fanout import Fanout
from raven.observe.logs import configure_logs
from raven.proto.subscription_pb2 import SubscribeRequest, SubscriptionRequest
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.serve.grpc import GrpcFace
from raven.topics import DataType

Result = tuple[int, int, float]
"""Trades received, trades lost, seconds."""


def serve(rate: int) -> None:
    """Run the server until stdin closes: print its port, then publish `rate` trades per second while anybody
    listens."""
    hub = _core.Hub()
    writer = hub.create_topic("bench", "BTCUSDT", int(DataType.TRADES), 64 << 20)

    class OneTopic:
        def venues(self) -> list[str]:
            return ["bench"]

        def symbols(self, venue: str) -> list[str]:
            return ["BTCUSDT"]

        async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
            return True

        async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
            return writer.topic_id

        async def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None: ...

        async def release_all(self, holder: str) -> None: ...

    def publish() -> None:
        step = max(1, rate // 1000)
        due, next_id = time.perf_counter(), 1
        while True:
            writer.trades(step, next_id, 6100050, 25, price_scale=2, quantity_scale=2)
            next_id += step
            due = max(due + step / rate, time.perf_counter() - 0.01)
            time.sleep(max(0.0, due - time.perf_counter()))

    # Standard output carries the port and nothing else.
    configure_logs("warn")

    async def run() -> None:
        server = _core.GrpcServer(hub, port=0)
        face = GrpcFace(server, Fanout(OneTopic(), server))
        print(await face.start(), flush=True)
        threading.Thread(target=publish, daemon=True).start()
        await asyncio.to_thread(sys.stdin.read)
        await face.drain(1.0)

    asyncio.run(run())


def plain(address: str, batch: int, seconds: float) -> Result:
    """Count with a grpcio stub and nothing else."""

    def requests() -> Iterator[SubscriptionRequest]:
        filters = {"batch": str(batch)}
        yield SubscriptionRequest(subscribe=SubscribeRequest(symbols=["BTCUSDT"], data_types=[1], filters=filters))
        threading.Event().wait()

    received = lost = 0
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 1 << 26)]) as channel:
        call = MarketDataServiceStub(channel).StreamMarketData(requests())
        next(call)
        started = time.perf_counter()
        for frame in call:
            for message in frame.batch or (frame,):
                if message.HasField("gap"):
                    lost += message.gap.count
                else:
                    received += 1
            if time.perf_counter() - started >= seconds:
                break
        elapsed = time.perf_counter() - started
        call.cancel()
    return received, lost, elapsed


def blocking(address: str, batch: int, seconds: float) -> Result:
    """Count with our blocking client."""
    received = lost = 0
    with raven.connect(address) as feed:
        events = feed.subscribe("BTCUSDT", types="trades", batch=batch)
        next(events)
        started = time.perf_counter()
        for event in events:
            if type(event) is Gap:
                lost += event.count
            else:
                received += 1
            if not received & 255 and time.perf_counter() - started >= seconds:
                break
        return received, lost, time.perf_counter() - started


def asynchronous(address: str, batch: int, seconds: float) -> Result:
    """Count with our asyncio client."""

    async def run() -> Result:
        received = lost = 0
        async with raven.connect(address) as feed:
            events = aiter(feed.subscribe("BTCUSDT", types="trades", batch=batch))
            await anext(events)
            started = time.perf_counter()
            async for event in events:
                if type(event) is Gap:
                    lost += event.count
                else:
                    received += 1
                if not received & 255 and time.perf_counter() - started >= seconds:
                    break
            return received, lost, time.perf_counter() - started

    return asyncio.run(run())


def blocking_batches(address: str, batch: int, seconds: float) -> Result:
    """Count with Arrow batches of our blocking client."""
    received = lost = 0
    with raven.connect(address) as feed:
        batches = feed.subscribe("BTCUSDT", types="trades", batch=batch).batches()
        next(batches)
        started = time.perf_counter()
        for one in batches:
            received, lost = received + trades_in(one), lost + missing_in(one)
            if time.perf_counter() - started >= seconds:
                break
        elapsed = time.perf_counter() - started
        batches.close()
    return received, lost, elapsed


def asynchronous_batches(address: str, batch: int, seconds: float) -> Result:
    """Count with Arrow batches of our asyncio client."""

    async def run() -> Result:
        received = lost = 0
        async with raven.connect(address) as feed:
            batches = feed.subscribe("BTCUSDT", types="trades", batch=batch).batches()
            await anext(batches)
            started = time.perf_counter()
            async for one in batches:
                received, lost = received + trades_in(one), lost + missing_in(one)
                if time.perf_counter() - started >= seconds:
                    break
            elapsed = time.perf_counter() - started
            await batches.aclose()
        return received, lost, elapsed

    return asyncio.run(run())


def trades_in(batch: Batch) -> int:
    """Count the trades of a batch."""
    return len(batch) if batch.kind == "trades" else 0


def missing_in(batch: Batch) -> int:
    """Count what a batch says is missing."""
    return sum(batch.records.column("count").to_pylist()) if batch.kind == "gaps" else 0


CLIENTS: dict[str, Callable[[str, int, float], Result]] = {
    "plain grpcio": plain,
    "raven blocking": blocking,
    "raven asyncio": asynchronous,
    "raven blocking, Arrow": blocking_batches,
    "raven asyncio, Arrow": asynchronous_batches,
}


def main() -> None:
    """Run every client with every batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--rate", type=int, default=4_000_000, help="trades published per second")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        os.sched_setaffinity(0, {0})
        serve(arguments.rate)
        return
    os.sched_setaffinity(0, {1})
    command = [sys.executable, __file__, "--serve", "--rate", str(arguments.rate)]
    rows, load = [], os.getloadavg()[0]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = f"127.0.0.1:{server.stdout.readline().strip()}"
        for name, client in CLIENTS.items():
            for batch in arguments.batches:
                received, lost, seconds = client(address, batch, arguments.seconds)
                rows.append({"client": name, "batch": batch, "messages_per_s": round(received / seconds), "lost": lost})
                print(f"{name:21} batch {batch:5} {received / seconds:12,.0f} msg/s  {lost:10} lost", flush=True)
        server.stdin.close()
    if arguments.json:
        what = {
            "command": f"python benches/grpc_python_client.py --seconds {arguments.seconds:g} --rate {arguments.rate}",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            "load_before": load,
            "rows": rows,
        }
        what["best_messages_per_s"] = {
            name: max(row["messages_per_s"] for row in rows if row["client"] == name) for name in CLIENTS
        }
        what["one_message_per_frame"] = {row["client"]: row["messages_per_s"] for row in rows if row["batch"] == 1}
        arguments.json.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

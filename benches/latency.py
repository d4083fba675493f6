"""How long a trade takes from the exchange's `send` to a client's hand, through the whole server, at 10,000 a second.

    python benches/latency.py [--runs 3] [--seconds 10] [--only NAME]

Three processes: `latency_exchange.py` sends and notes each send, `raven` collects and serves, a client (the native one
in `crates/raven-serve/examples`, or our Python one) notes when it holds each message. All read the same clock, so the
differences are exact. Two hops: send → the server's ingest thread has the frame (`receive_time_ns`), and from there →
the client has the decoded message. The first two seconds are not counted. Writes `results/latency.json`.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latency_exchange import FIRST_ID
from system_parts import Server, keep, native_client, percentile, pinned

from raven.client import Trade, connect

HERE = Path(__file__).resolve().parent
WARM_UP_S = 2.0


@dataclass(frozen=True)
class Case:
    """Who runs where, and how."""

    note: str
    client: str = "native"
    rate: float = 10_000.0
    settings: dict[str, Any] = field(default_factory=dict)
    exchange_cpus: str = ""
    server_cpus: str = ""
    client_cpus: str = ""


BUSY = {
    "high_frequency.busy_poll": True, "high_frequency.ingest_busy_poll": True,
    "high_frequency.ingest_cpu": 0, "high_frequency.server_cpu": 1,
}  # fmt: skip
CASES = {
    "default": Case("everything sleeps when idle, nothing is pinned"),
    "default, 1,000/s": Case("the same at a tenth of the rate", rate=1000.0),
    "python client": Case("our asyncio client, batch 1", client="python"),
    "busy": Case(
        "ingest spins on core 0, the server's thread on core 1; exchange and client sleep and share those cores",
        settings=BUSY, exchange_cpus="0", client_cpus="1",
    ),
    "one core": Case(
        "all three processes pinned to one core, nobody spins: no wake-up crosses cores",
        exchange_cpus="1", server_cpus="1", client_cpus="1",
    ),
}  # fmt: skip


def measure(case: Case, seconds: float, program: Path) -> dict[str, Any]:
    """Run a case once."""
    with tempfile.TemporaryDirectory(prefix="raven-bench-") as folder:
        sent_file, got_file = Path(folder) / "sent", Path(folder) / "got"
        arguments = [str(HERE / "latency_exchange.py"), f"{case.rate:g}", f"{seconds + WARM_UP_S:g}", str(sent_file)]
        exchange = _start(pinned([sys.executable, *arguments], case.exchange_cpus))
        try:
            addresses = json.loads(_line(exchange))
            settings = {
                "feeds.venues": ["binance_futures"], "feeds.symbols": [], "feeds.first_frame_seconds": 3600,
                "feeds.silence_seconds": 3600, "venues.binance_futures.ws_url": addresses["ws"],
                "venues.binance_futures.rest_url": addresses["rest"], **case.settings,
            }  # fmt: skip
            with Server(settings, cpus=case.server_cpus) as server:
                if case.client == "native":
                    command = [str(program), "latency", str(server.port), "BTCUSDT", str(got_file)]
                else:
                    command = [sys.executable, __file__, "--client", str(server.port), str(got_file)]
                client = _start(pinned(command, case.client_cpus))
                cpu_before, began = server.cpu_seconds(), time.monotonic()
                done = _line(exchange)
                cpu_share = (server.cpu_seconds() - cpu_before) / (time.monotonic() - began)
                time.sleep(0.5)
                for process in (client, exchange):
                    assert process.stdin is not None
                    process.stdin.close()
                    process.wait(20)
                assert done == "done", f"the exchange said {done!r}"
        finally:
            exchange.kill()
        return judge(_numbers(sent_file), _numbers(got_file), case.rate, cpu_share)


def judge(sent: array.array[int], got: array.array[int], rate: float, cpu_share: float) -> dict[str, Any]:
    """Match sends with receipts and return percentiles per hop, µs."""
    at = dict(zip(sent[0::2], sent[1::2], strict=True))
    first = FIRST_ID + int(rate * WARM_UP_S)
    rows = [
        (at[number], recv_ns, hand_ns)
        for number, recv_ns, hand_ns in zip(got[0::3], got[1::3], got[2::3], strict=True)
        if number >= first
    ]
    expected = len(at) - int(rate * WARM_UP_S)
    hops = {
        "total": sorted(hand - send for send, _, hand in rows),
        "send_to_ingest": sorted(recv - send for send, recv, _ in rows),
        "ingest_to_hand": sorted(hand - recv for _, recv, hand in rows),
    }
    figures: dict[str, Any] = {"messages": len(rows), "missing": expected - len(rows)}
    times = sorted(send for send, _, _ in rows)
    figures["rate_sent"] = round(len(times) / ((times[-1] - times[0]) / 1e9))
    for hop, values in hops.items():
        for part in (50, 90, 99, 99.9):
            figures[f"{hop}_p{part:g}_us"] = round(percentile(values, part) / 1000, 1)
    figures["server_cores_used"] = round(cpu_share, 2)
    return figures


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _numbers(file: Path) -> array.array[int]:
    numbers = array.array("q")
    numbers.frombytes(file.read_bytes())
    return numbers


async def python_client(port: str, file: Path) -> None:
    """Be the Python client: note when each trade is in hand, until standard input ends."""
    rows = array.array("q")
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()

    async def follow() -> None:
        async with connect(f"127.0.0.1:{port}") as feed:
            async for event in feed.subscribe("BTCUSDT", types="trades", batch=1):
                if isinstance(event, Trade):
                    rows.extend((int(event.trade_id), event.recv_ns, time.time_ns()))

    following = asyncio.create_task(follow())
    await ended.wait()
    following.cancel()
    with file.open("wb") as out:
        rows.tofile(out)


def main() -> None:
    """Run the cases."""
    options = argparse.ArgumentParser(description="Exchange's send to a client's hand.")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--only", default="", help="run this case only")
    options.add_argument("--client", nargs=2, metavar=("PORT", "FILE"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.client:
        asyncio.run(python_client(chosen.client[0], Path(chosen.client[1])))
        return
    program = native_client()
    for name, case in CASES.items():
        if chosen.only in ("", name):
            keep("latency", name, [measure(case, chosen.seconds, program) for _ in range(chosen.runs)], case.note)


if __name__ == "__main__":
    main()

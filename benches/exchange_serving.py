"""How much market the built-in exchange generates and serves from one core.

    python benches/exchange_serving.py --rate 10000 --connections 4 --seconds 10

The exchange runs in a process of its own, the clients in this one. Printed: orders per second that arrived, frames per
second that the clients received, the exchange's share of a core, how far its time fell behind, and its memory.
"""

import asyncio
import json
import time
import urllib.request

import psutil
import typer
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from raven.exchange.process import ExchangeProcess

STREAMS = {
    "usdm": ("/public", ("@depth@100ms", "@bookTicker", "@trade")),
    "spot": ("", ("@depth@100ms", "@bookTicker", "@trade")),
}


class Counter(WSListener):
    """Counts frames and bytes, answers pings."""

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames += 1
        self.bytes += frame.payload_size
        if frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())


async def listen(child: ExchangeProcess, market: str, connections: int, seconds: float) -> list[Counter]:
    """Keep every symbol of a market on each of so many connections."""
    route, kinds = STREAMS[market]
    names = [symbol.lower() + kind for symbol in child.ready["symbols"][market] for kind in kinds][:1024]
    counters, transports = [], []
    for _ in range(connections):
        transport, counter = await ws_connect(Counter, child.urls[market]["ws"] + route + "/ws")
        for start in range(0, len(names), 200):
            request = {"method": "SUBSCRIBE", "params": names[start : start + 200], "id": start}
            transport.send(WSMsgType.TEXT, json.dumps(request).encode())
        counters.append(counter)
        transports.append(transport)
    await asyncio.sleep(1.0)
    for counter in counters:
        counter.frames = counter.bytes = 0
    await asyncio.sleep(seconds)
    for transport in transports:
        transport.disconnect()
    return counters


def state(child: ExchangeProcess, market: str) -> dict[str, float]:
    """Ask the exchange for its counts."""
    with urllib.request.urlopen(child.urls[market]["rest"] + "/_raven/state") as response:
        counts: dict[str, float] = json.loads(response.read())[market]
        return counts


def main(
    rate: float = 10_000.0, connections: int = 1, seconds: float = 10.0, symbols: int = 2, market: str = "usdm"
) -> None:
    """Measure one configuration."""
    arguments = ("--markets", market, "--symbol-count", str(symbols), "--rate", str(rate), "--no-limits")
    with ExchangeProcess(arguments) as child:
        process = psutil.Process(child.pid)
        time.sleep(2.0)
        before, cpu, began = state(child, market), process.cpu_times(), time.monotonic()
        counters = uvloop.run(listen(child, market, connections, seconds))
        after, used, took = state(child, market), process.cpu_times(), time.monotonic() - began
        share = (used.user + used.system - cpu.user - cpu.system) / took
        print(
            f"{market}, {symbols} symbols, {connections} connections, {rate:g} orders/s wanted: "
            f"{(after['events'] - before['events']) / took:,.0f} orders/s, "
            f"{sum(one.frames for one in counters) / seconds:,.0f} frames/s received "
            f"({sum(one.bytes for one in counters) / seconds / 1e6:.1f} MB/s), {share:.0%} of a core, "
            f"{after['lag_ms']:.1f} ms behind, {process.memory_info().rss / 1e6:.0f} MB"
        )


if __name__ == "__main__":
    typer.run(main)

"""Publishing to a private Redis, beside plain redis-py: `python benches/redis_publish.py [--rounds 3]`.

A subscriber in a process of its own counts what arrives. *Throughput*: trades that wait in a ring, until the subscriber
has the last one; redis-py is given payloads that are ready. *Calls*: 10,000 messages a second at even distances, each
from the call to Redis' answer; ours reads the ring and writes the JSON within it. *One way*: the same, with Raven's own
thread in between, from the writer of the ring to the subscriber. Needs `redis-server` (Debian's package).
Writes `results/redis.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from system_parts import ROOT, keep, percentile

sys.path.insert(0, str(ROOT))

from tests.servers.redis import RedisServer, require_redis

from raven._core import Hub
from raven.observe import configure_logs
from raven.serve.redis import RedisPlan, RedisPublisher
from raven.topics import DataType

CHANNEL = "trades:BTCUSDT"
VENUE = "binance_futures"
RING_BYTES = 1 << 27
RATE = 10_000
# `trade_id` carries the moment of publication, so that the subscriber can tell how old a message is.
STAMP = re.compile(rb'"trade_id":(\d+)')


def payload(stamp: int) -> bytes:
    """Return a message as Raven writes it."""
    return (
        b'{"symbol":"BTCUSDT","trade_id":%d,"price":61800.1,"quantity":0.025,"timestamp":1700000000123,'
        b'"is_buyer_maker":true,"sequence":1}' % stamp
    )


def hear(port: int, messages: int) -> None:
    """Be the subscriber: say when ready, then when the last message came, and how old messages were."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"SUBSCRIBE " + CHANNEL.encode() + b"\r\n")
        connection.recv(1 << 16)
        print("ready", flush=True)
        count, rest, ages = 0, b"", []
        while count < messages:
            piece = rest + connection.recv(1 << 20)
            now = time.monotonic_ns()
            end = piece.rfind(b"\n") + 1
            whole, rest = piece[:end], piece[end:]
            stamps = STAMP.findall(whole)
            count += len(stamps)
            ages += [(now - int(stamp)) / 1e3 for stamp in stamps]
        ages.sort()
        print(now, percentile(ages, 50), percentile(ages, 99), flush=True)


class Subscriber:
    """The other process."""

    def __init__(self, server: RedisServer, messages: int) -> None:
        command = [sys.executable, __file__, "--hear", str(server.port), "--messages", str(messages)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._line() == ["ready"]

    def ended(self) -> tuple[int, float, float]:
        """Return when the last message came, ns, and how old messages were, p50 and p99 in µs."""
        last, p50, p99 = self._line()
        self._process.wait(10)
        return int(last), float(p50), float(p99)

    def _line(self) -> list[str]:
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()


def topic(hub: Hub) -> Any:
    """Return a writer of trades."""
    return hub.create_topic(VENUE, "BTCUSDT", int(DataType.TRADES), RING_BYTES)


@contextmanager
def connected(server: RedisServer, hub: Hub) -> Iterator[RedisPublisher]:
    """Give a publisher whose batches this thread publishes."""
    publisher = RedisPublisher(hub, RedisPlan(server.url, venue=VENUE, max_age_s=0))
    publisher.connect()
    yield publisher
    publisher.disconnect()


def trade(writer: Any) -> None:
    writer.trade(0, 0, time.monotonic_ns(), 618_001, 25, price_scale=1, quantity_scale=3, taker_sells=True)


# --- throughput -----------------------------------------------------------------------------------------------------


def throughput(server: RedisServer, messages: int, publish_all: Callable[[int], Any]) -> float:
    """Return messages per second, published and delivered."""
    subscriber = Subscriber(server, messages)
    began = time.monotonic_ns()
    publish_all(messages)
    return messages / ((subscriber.ended()[0] - began) / 1e9)


def raven_throughput(server: RedisServer, messages: int) -> float:
    """Ours: everything waits in the ring when it begins."""
    hub = Hub()
    writer = topic(hub)
    writer.trades(messages, 1, 618_001, 25, price_scale=1, quantity_scale=3)
    with connected(server, hub) as publisher:

        def publish_all(_: int) -> None:
            while publisher.publish_pending():
                pass

        return throughput(server, messages, publish_all)


def pipeline_throughput(server: RedisServer, messages: int, size: int) -> float:
    """Pipelines of redis-py with so many messages each; a size of 1: no pipeline."""
    message = payload(1)
    with redis.Redis.from_url(server.url) as client:

        def publish_all(count: int) -> None:
            if size == 1:
                for _ in range(count):
                    client.publish(CHANNEL, message)
                return
            for _ in range(count // size):
                with client.pipeline(transaction=False) as pipeline:
                    for _ in range(size):
                        pipeline.publish(CHANNEL, message)
                    pipeline.execute()

        return throughput(server, messages // size * size, publish_all)


# --- calls and ways -------------------------------------------------------------------------------------------------


def paced(messages: int, call: Callable[[], Any]) -> list[float]:
    """Call at even distances; return how long each call took, µs, sorted."""
    took, due = [], time.perf_counter()
    for _ in range(messages):
        due += 1 / RATE
        # Waking up is late by some 50 µs; the next one is due when it was, so the rate holds.
        if (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1e6)
    return sorted(took)


def calls(server: RedisServer, messages: int, make_call: Callable[[RedisServer], Any]) -> dict[str, float]:
    """Time calls at a rate, with a subscriber."""
    with make_call(server) as call:
        subscriber = Subscriber(server, messages)
        took = paced(messages, call)
        _, way_p50, way_p99 = subscriber.ended()
    return {
        "call_p50_us": round(percentile(took, 50), 1), "call_p99_us": round(percentile(took, 99), 1),
        "one_way_p50_us": round(way_p50, 1), "one_way_p99_us": round(way_p99, 1),
    }  # fmt: skip


@contextmanager
def raven_call(server: RedisServer) -> Iterator[Callable[[], Any]]:
    """A record into the ring, and out again to Redis until its answer."""
    hub = Hub()
    writer = topic(hub)
    with connected(server, hub) as publisher:

        def call() -> None:
            trade(writer)
            publisher.publish_pending()

        yield call


@contextmanager
def plain_call(server: RedisServer) -> Iterator[Callable[[], Any]]:
    """`publish` of redis-py."""
    with redis.Redis.from_url(server.url) as client:
        yield lambda: client.publish(CHANNEL, payload(time.monotonic_ns()))


@contextmanager
def raven_thread(server: RedisServer) -> Iterator[Callable[[], Any]]:
    """A record into the ring; Raven's thread does the rest. The call is what the writer pays."""
    hub = Hub()
    writer = topic(hub)
    publisher = RedisPublisher(hub, RedisPlan(server.url, venue=VENUE, max_age_s=0))
    asyncio.run(publisher.start())
    while not publisher.channels():
        time.sleep(0.01)
    yield lambda: trade(writer)
    asyncio.run(publisher.stop())


def main() -> None:
    """Measure all of it."""
    options = argparse.ArgumentParser(description="Publishing to Redis.")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--messages", type=int, default=100_000)
    options.add_argument("--hear", type=int, default=0, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.hear:
        hear(chosen.hear, chosen.messages)
        return
    require_redis()
    configure_logs("error")
    sys.setswitchinterval(0.0005)
    messages, few = chosen.messages, chosen.messages // 10
    has_cores = os.sched_getscheduler(0) == os.SCHED_FIFO
    note = "one subscriber" + (", before all other work of the machine (chrt -f 5)" if has_cores else "")
    with tempfile.TemporaryDirectory(prefix="raven-redis-") as folder:
        # A subscriber that is late must not be cut off: here it is counted.
        server = RedisServer(Path(folder), "--client-output-buffer-limit", "pubsub 0 0 0")
        server.start()
        try:
            cases: dict[str, Callable[[], dict[str, float]]] = {
                "raven": lambda: {"messages_per_second": round(raven_throughput(server, messages))},
                **{
                    name: lambda size=size, count=count: {
                        "messages_per_second": round(pipeline_throughput(server, count, size))
                    }
                    for name, size, count in (
                        ("redis-py publish", 1, few), ("redis-py pipeline 64", 64, messages),
                        ("redis-py pipeline 1000", 1000, messages),
                    )
                },
                "raven, 10,000/s": lambda: calls(server, few, raven_call),
                "redis-py publish, 10,000/s": lambda: calls(server, few, plain_call),
                "raven's thread, 10,000/s": lambda: calls(server, few, raven_thread),
            }  # fmt: skip
            for name, case in cases.items():
                keep("redis", name, [case() for _ in range(chosen.rounds)], note)
        finally:
            server.stop()


if __name__ == "__main__":
    main()

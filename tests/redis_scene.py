"""A hub that is published to a private Redis, and subscribers that notice every hole."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from itertools import pairwise
from types import TracebackType
from typing import Any

import redis
from tests.pipeline import until
from tests.servers.redis import RedisServer

from raven._core import Hub
from raven.clock import SystemClock
from raven.serve.redis import RedisPlan, RedisPublisher
from raven.topics import DataType

__all__ = ["Counts", "Scene", "Subscriber"]

VENUE = "binance_futures"
RING_BYTES = 1 << 20


class Subscriber:
    """Hears channels on a thread of its own, as clients of Redis do: it comes back when it was cut off."""

    def __init__(self, server: RedisServer, *channels: str) -> None:
        self.heard: dict[str, list[dict[str, Any]]] = {channel: [] for channel in channels}
        self.connections = 0
        """How often it subscribed."""
        self._server, self._channels = server, channels
        self._ending = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._hear, daemon=True)

    async def start(self) -> Subscriber:
        """Begin, and return when it hears."""
        self._thread.start()
        assert await asyncio.to_thread(self._ready.wait, 10), "Redis takes no subscription"
        return self

    async def stop(self) -> None:
        """End."""
        self._ending.set()
        await asyncio.to_thread(self._thread.join, 10)

    def sequences(self, channel: str = "trades:BTCUSDT") -> list[int]:
        """Return the numbers of all messages that came."""
        return [message["sequence"] for message in self.heard[channel]]

    def missing(self, channel: str = "trades:BTCUSDT") -> int:
        """Return how many numbers are left out; each comes once, in order."""
        numbers = self.sequences(channel)
        assert all(first < second for first, second in pairwise(numbers)), "not in order"
        return numbers[-1] - len(numbers) if numbers else 0

    def _hear(self) -> None:
        while not self._ending.is_set():
            try:
                self._hear_once()
            except (redis.RedisError, OSError):
                self._ending.wait(0.02)

    def _hear_once(self) -> None:
        # One that is cut off in the midst of a pause does not wait for ever.
        with self._server.client(socket_timeout=2) as client, client.pubsub() as pubsub:
            pubsub.subscribe(*self._channels)
            while not self._ending.is_set():
                message = pubsub.get_message(timeout=0.05)
                if message and message["type"] == "subscribe":
                    self.connections += 1
                    self._ready.set()
                elif message:
                    self.heard[message["channel"]].append(json.loads(message["data"]))


class Counts:
    """What `RedisPublisher.channels` says about one channel."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        (
            self.channel, self.venue, self.symbol, self.data_type, self.published, self.refused, self.dropped,
            self.unconfirmed, self.withheld, self.keys_refused,
        ) = row  # fmt: skip

    @property
    def all(self) -> int:
        """Events of which is known what became of them."""
        return int(self.published + self.refused + self.dropped + self.unconfirmed + self.withheld)


class Scene:
    """Trades of one symbol, published; an asynchronous context manager."""

    def __init__(self, server: RedisServer, *, hub: Hub | None = None, **plan: Any) -> None:
        self.server = server
        self.hub = hub or Hub()
        self.trades = self.hub.create_topic(VENUE, "BTCUSDT", int(DataType.TRADES), RING_BYTES)
        self.published = 0
        self.publisher = RedisPublisher(self.hub, RedisPlan(**{"url": server.url, "venue": VENUE, **plan}))
        self._clock = SystemClock()
        self._ending: list[Callable[[], Any]] = []

    async def __aenter__(self) -> Scene:
        """Begin."""
        await self.publisher.start()
        self._ending.append(self.publisher.stop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of it, the publisher last."""
        for stop in reversed(self._ending):
            await stop()

    async def subscriber(self, *channels: str) -> Subscriber:
        """Return one that hears."""
        subscriber = await Subscriber(self.server, *channels or ("trades:BTCUSDT",)).start()
        self._ending.append(subscriber.stop)
        return subscriber

    def trade(self, count: int = 1) -> None:
        """Publish trades that happened now."""
        for _ in range(count):
            self.published += 1
            now_ns = self._clock.time_ns()
            self.trades.trade(
                now_ns, now_ns, self.published, 618_001, 1_500, price_scale=1, quantity_scale=3,
                taker_sells=self.published % 2 == 0,
            )  # fmt: skip

    def counts(self, channel: str = "trades:BTCUSDT") -> Counts:
        """Return what became of the events of a channel."""
        rows = [row for row in self.publisher.channels() if row[0] == channel]
        return Counts(rows[0] if rows else (channel, VENUE, "", 1, *[0] * 6))

    async def settled(self, seconds: float = 30.0) -> Counts:
        """Wait until it is known what became of every trade; return it."""
        await until(lambda: self.counts().all == self.published, seconds)
        return self.counts()

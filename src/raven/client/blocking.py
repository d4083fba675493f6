"""The same client for programs without asyncio: `with raven.connect() as feed: for event in feed.subscribe(...)`."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import grpc

from raven.client.blocking_subscription import BlockingSubscription
from raven.client.errors import unreachable
from raven.client.live_book import BlockingLiveBook
from raven.client.request import DEFAULT_BATCH, DEFAULT_TYPES, Overflow, build_want
from raven.client.settings import Settings
from raven.topics import DataType


class BlockingFeed:
    """An open connection of a program that blocks. Subscriptions of different threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel = settings.channel()
        self._closed = threading.Event()

    @property
    def client_id(self) -> str:
        """The name of this client at the server."""
        return self._settings.client_id

    def open(self) -> None:
        """Wait until the server answers. Raises: ServerUnreachable."""
        try:
            grpc.channel_ready_future(self._channel).result(timeout=self._settings.timeout_s)
        except grpc.FutureTimeoutError:
            self.close()
            raise unreachable(self._settings.address, f"tried for {self._settings.timeout_s:g} s") from None

    def close(self) -> None:
        """End every subscription and hang up; iterations in other threads end."""
        self._closed.set()
        self._channel.close()

    def subscribe(
        self,
        symbols: str | Iterable[str],
        types: str | DataType | Iterable[str | DataType] = DEFAULT_TYPES,
        *,
        venue: str | None = None,
        depth: int | None = None,
        conflate_ms: int | None = None,
        overflow: Overflow | None = None,
        batch: int = DEFAULT_BATCH,
        heartbeat_ms: int = 2000,
        start: str | int | None = None,
    ) -> BlockingSubscription:
        """Subscribe and iterate; the arguments are those of `Feed.subscribe`.

        A server that says nothing for three heartbeats counts as lost, as there; a thread per stream watches it. With
        `heartbeat_ms=0` only a dead connection is noticed, by its own keepalive, within 15 s.
        """
        want = build_want(
            symbols,
            types,
            venue=venue,
            depth=depth,
            conflate_ms=conflate_ms,
            overflow=overflow,
            batch=batch,
            heartbeat_ms=heartbeat_ms,
            start=start,
        )
        return BlockingSubscription(self._channel, self._settings, want, 3 * heartbeat_ms / 1000, self._closed)

    def live_book(
        self,
        symbol: str,
        *,
        venue: str | None = None,
        depth: int | None = None,
        conflate_ms: int | None = None,
        heartbeat_ms: int = 2000,
        timeout_s: float = 10.0,
    ) -> BlockingLiveBook:
        """Prepare a book that keeps itself in sync; `with` begins it. The arguments are those of `Feed.live_book`."""
        subscription = self.subscribe(
            symbol, DataType.ORDERBOOK, venue=venue, depth=depth, conflate_ms=conflate_ms, heartbeat_ms=heartbeat_ms
        )
        return BlockingLiveBook(subscription, timeout_s)

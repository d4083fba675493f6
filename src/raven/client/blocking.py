"""The same client for programs without asyncio: `with raven.connect() as feed: for event in feed.subscribe(...)`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import grpc

from raven.client.decode import decode
from raven.client.errors import unreachable
from raven.client.outage import Outage
from raven.client.records import Event
from raven.client.request import DEFAULT_BATCH, DEFAULT_TYPES, Overflow, Want, build_want
from raven.client.settings import Settings
from raven.proto.market_data_pb2 import MarketDataMessage
from raven.proto.subscription_pb2 import SubscriptionRequest
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.topics import DataType


class BlockingFeed:
    """An open connection of a program that blocks. Subscriptions of different threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel = settings.channel()
        self._stub = MarketDataServiceStub(self._channel)  # type: ignore[no-untyped-call]
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
    ) -> Iterator[Event]:
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
        return self._events(want, silence_s=3 * heartbeat_ms / 1000)

    def _events(self, want: Want, silence_s: float) -> Iterator[Event]:
        outage, live = Outage(self._settings), want.live()
        while not self._closed.is_set():
            try:
                for message in self._messages(want, silence_s):
                    want = live
                    if (back := outage.over()) is not None:
                        yield back
                    yield from decode(message)
                code, details = grpc.StatusCode.OK, ""
            except _Silent as silent:
                code, details = grpc.StatusCode.UNAVAILABLE, str(silent)
            except grpc.RpcError as error:
                code, details = error.code(), error.details() or ""
            if not self._closed.is_set():
                self._closed.wait(outage.lost(code, details))

    def _messages(self, want: Want, silence_s: float) -> Iterator[MarketDataMessage]:
        """Open the stream once and yield its frames. Raises: _Silent, or grpc.RpcError with the stream's status."""
        done = threading.Event()

        def requests() -> Iterator[SubscriptionRequest]:
            yield want.message(self._settings.client_id)
            # The request side stays open as long as the stream is read.
            done.wait()

        call: Any = self._stub.StreamMarketData(requests(), metadata=self._settings.metadata())
        watchdog = _Watchdog(call, silence_s)
        if silence_s:
            threading.Thread(target=watchdog.run, args=(done,), name="raven heartbeat", daemon=True).start()
        try:
            while True:
                watchdog.waiting_since = time.monotonic()
                message = next(call, None)
                watchdog.waiting_since = None
                if message is None:
                    return
                yield message
        except grpc.RpcError as error:
            # Our own watchdog cancels the call, which looks like a cancelled stream but is a silent server.
            if watchdog.has_cancelled and error.code() is grpc.StatusCode.CANCELLED:
                raise _Silent(f"no sign of the server for {silence_s:g} s") from None
            raise
        finally:
            done.set()
            call.cancel()


class _Watchdog:
    """Cancels a call whose server says nothing, not even a heartbeat, while the program waits for it.

    The program's thread writes `waiting_since`, the watchdog's own thread `has_cancelled`; each only reads the other's.
    """

    def __init__(self, call: Any, silence_s: float) -> None:
        self.waiting_since: float | None = None
        self.has_cancelled = False
        self._call = call
        self._silence_s = silence_s

    def run(self, done: threading.Event) -> None:
        while not done.wait(self._silence_s / 3):
            since = self.waiting_since
            if since is not None and time.monotonic() - since >= self._silence_s:
                self.has_cancelled = True
                self._call.cancel()
                return


class _Silent(Exception):
    """The watchdog gave the stream up."""

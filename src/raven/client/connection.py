"""`raven.connect`: the address, the channel, and the two faces (async and blocking) of one client."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from types import TracebackType

import grpc

from raven.client.blocking import BlockingFeed
from raven.client.errors import unreachable
from raven.client.live_book import LiveBook
from raven.client.request import DEFAULT_BATCH, DEFAULT_TYPES, Overflow, build_want
from raven.client.settings import Settings
from raven.client.subscription import Subscription
from raven.topics import DataType

DEFAULT_ADDRESS = "localhost:50051"


def connect(
    address: str = DEFAULT_ADDRESS,
    *,
    client_id: str | None = None,
    timeout_s: float = 5.0,
    reconnect: bool = True,
    token: str | None = None,
    tls: bool | grpc.ChannelCredentials = False,
    read_ahead_bytes: int | None = None,
) -> Connection:
    """Prepare a connection to a Raven server; `async with` (or plain `with`) opens it.

    - `client_id` names this client in the server's view of who is subscribed; a random one if left out.
    - `timeout_s`: how long the server may take to answer at first. After that, a lost connection is taken up again
    until you stop, with a `Reconnected` record in its place; `reconnect=False` raises instead.
    - `token` is sent as a bearer token; `tls=True` trusts the system's authorities, or pass channel credentials.
    - `read_ahead_bytes` bounds how much may wait unread between server and client. The default (about 4 MB) is best for
      throughput; 65536 makes a slow reader see fresher books sooner, at the price of more gaps.

    Raises, on entry: ServerUnreachable when nobody answers.
    """
    settings = Settings(
        address=address,
        client_id=client_id or f"python-{secrets.token_hex(4)}",
        timeout_s=timeout_s,
        reconnect=reconnect,
        token=token,
        credentials=grpc.ssl_channel_credentials() if tls is True else tls or None,
        read_ahead_bytes=read_ahead_bytes,
    )
    return Connection(settings)


class Connection:
    """What `connect` returns: enter it with `async with` for a `Feed`, with `with` for a `BlockingFeed`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._feed: Feed | None = None
        self._blocking: BlockingFeed | None = None

    async def __aenter__(self) -> Feed:
        feed = Feed(self.settings)
        await feed.open()
        self._feed = feed
        return feed

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._feed is not None:
            await self._feed.close()

    def __enter__(self) -> BlockingFeed:
        feed = BlockingFeed(self.settings)
        feed.open()
        self._blocking = feed
        return feed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._blocking is not None:
            self._blocking.close()


class Feed:
    """An open connection of an asyncio program. One may carry any number of subscriptions."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel = settings.aio_channel()
        self._closed = asyncio.Event()

    @property
    def client_id(self) -> str:
        """The name of this client at the server."""
        return self._settings.client_id

    async def open(self) -> None:
        """Wait until the server answers. Raises: ServerUnreachable."""
        try:
            await asyncio.wait_for(self._channel.channel_ready(), self._settings.timeout_s)
        except TimeoutError:
            await self._channel.close(None)
            raise unreachable(self._settings.address, f"tried for {self._settings.timeout_s:g} s") from None

    async def close(self) -> None:
        """End every subscription and hang up; iterations in other tasks end."""
        self._closed.set()
        await self._channel.close(None)

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
    ) -> Subscription:
        """Subscribe to data types of symbols; iterate over the result to get typed records, or over its `batches()`.

        - `symbols`: like `"BTCUSDT"` or `["BTCUSDT", "ETHUSDT"]`, or names like `"BTC/USDT"` (records have the venue's
          own symbol); `"*"` for all that is configured.
        - `types`: `trades`, `orderbook`, `quotes`, `candles_1m`, `candles_5m`, `candles_1h`, `funding_rates`.
        - `venue`: where; the first configured venue that has the symbol if left out.
        - `depth`: book levels per side (server default 20). `conflate_ms`: at most one book or quote per interval.
        - `overflow`: what happens if you read too slowly, see docs/reference/grpc.md.
        - `batch`: most messages per network frame; invisible here except in speed. 1 saves some 20 µs of delay and
          limits the rate to some 40,000 messages/s.
        - `start`: the past first, from then on: ms since 1970, or `"-1h"`; then the present, with no gap and nothing
          twice. The server needs its journal for it.
        - `heartbeat_ms`: after three of them without a sign of the server the connection counts as lost; 0 turns it
        off.

        Nothing is sent before the iteration starts. Raises: ConfigurationError for arguments that mean nothing; the
        iteration raises RequestRefused when the server refuses.
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
        return Subscription(self._channel, self._settings, want, 3 * heartbeat_ms / 1000, self._closed)

    def live_book(
        self,
        symbol: str,
        *,
        venue: str | None = None,
        depth: int | None = None,
        conflate_ms: int | None = None,
        heartbeat_ms: int = 2000,
        timeout_s: float = 10.0,
    ) -> LiveBook:
        """Prepare a book that keeps itself in sync; `async with` begins it, see `LiveBook`.

        `timeout_s`: how long its first state may take; the other arguments are those of `subscribe`.
        """
        subscription = self.subscribe(
            symbol, DataType.ORDERBOOK, venue=venue, depth=depth, conflate_ms=conflate_ms, heartbeat_ms=heartbeat_ms
        )
        return LiveBook(subscription, timeout_s)

"""Who is connected: clients by id, each with its streams and its standing interest.

A client is a name, not a connection: it may have several streams, or none for a while. What it asked for by unary
`Subscribe` is its standing interest and flows into every stream that carries its id; what it asked for inside a stream
belongs to that stream alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from raven.fanout.filters import Delivery
from raven.fanout.limits import Limits
from raven.fanout.refusal import Refused, Status, shorten
from raven.topics import Topic


@dataclass(slots=True)
class Held:
    """A topic that a stream reads."""

    topic_id: int
    delivery: Delivery


@dataclass(slots=True, eq=False)
class Stream:
    """One open `StreamMarketData` call."""

    stream_id: int
    peer: str
    opened_at: float
    client: Client | None = None
    held: dict[Topic, Held] = field(default_factory=dict)
    batch: int = 1
    heartbeat_ms: int = 0
    heartbeats: int = 0
    last_message_at: float = 0.0
    pending: int = 0
    """Messages received and not yet acted upon."""
    closed: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Keeps the messages of one stream in order; taken before the client's lock."""
    past_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a topic's past is sent."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def holder(self) -> str:
        """The name under which the collector counts this stream."""
        return f"stream:{self.stream_id}"


@dataclass(slots=True, eq=False)
class Client:
    """Everything known under one client id."""

    client_id: str
    anonymous: bool
    idle_since: float
    standing: dict[Topic, Delivery] = field(default_factory=dict)
    """Asked for by unary calls; flows into streams open now or later."""
    batch: int | None = None
    heartbeat_ms: int | None = None
    streams: dict[int, Stream] = field(default_factory=dict)
    pending: int = 0
    """Unary calls under way."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One request of a client at a time, so that subscribe and unsubscribe act in the order they came."""

    @property
    def holder(self) -> str:
        """The name under which the collector counts the standing interest."""
        return f"client:{self.client_id}"

    def topics(self) -> set[Topic]:
        """Return every topic of this client, standing or held by one of its streams."""
        return set(self.standing).union(*(stream.held for stream in self.streams.values()))


class Roster:
    """All clients and streams of one server, with the limits on their number."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._clients: dict[str, Client] = {}
        self._streams: dict[int, Stream] = {}

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def streams(self) -> Iterable[Stream]:
        """Every open stream, joined to a client or not."""
        return list(self._streams.values())

    def find(self, client_id: str) -> Client | None:
        """Return the client of this name, if it is known."""
        return self._clients.get(client_id)

    def stream(self, stream_id: int) -> Stream | None:
        """Return an open stream."""
        return self._streams.get(stream_id)

    def open(self, stream_id: int, peer: str, now: float) -> Stream:
        """Take note of a new stream; it belongs to nobody until its first message."""
        stream = Stream(stream_id, peer, opened_at=now, last_message_at=now)
        self._streams[stream_id] = stream
        return stream

    def close(self, stream_id: int, now: float) -> Stream | None:
        """Forget a stream that has ended; return it, or None if it was not known."""
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.closed = True
            self._leave(stream, now)
        return stream

    def enlist(self, client_id: str, now: float, *, anonymous: bool = False) -> Client:
        """Return the client of this name, making it if it is new.

        Raises: Refused RESOURCE_EXHAUSTED when the server knows as many clients as it may.
        """
        client = self._clients.get(client_id)
        if client is None:
            if len(self._clients) >= self._limits.max_clients:
                raise Refused(
                    Status.RESOURCE_EXHAUSTED,
                    f"this server has its {self._limits.max_clients} clients; try again later, or use one client id "
                    "for several streams",
                )
            client = self._clients[client_id] = Client(client_id, anonymous, idle_since=now)
        return client

    def join(self, stream: Stream, client_id: str, now: float) -> bool:
        """Make a stream belong to a client; True when it newly belongs to it.

        An empty id means "whoever it is already", and a name of our making for a stream that never said who it is;
        such a stream may still say its name later.
        Raises: Refused INVALID_ARGUMENT when the stream belongs to somebody else, RESOURCE_EXHAUSTED over a limit.
        """
        current = stream.client
        if current is not None and client_id in ("", current.client_id):
            return False
        if current is not None and not current.anonymous:
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"this stream belongs to client {shorten(current.client_id)} and got a message for "
                f"{shorten(client_id)}; "
                "open another stream for another client",
            )
        client = self.enlist(client_id or f"anonymous-{stream.stream_id}", now, anonymous=not client_id)
        if len(client.streams) >= self._limits.max_streams_per_client:
            raise Refused(
                Status.RESOURCE_EXHAUSTED,
                f"client {shorten(client.client_id)} has {len(client.streams)} open streams, the limit is "
                f"{self._limits.max_streams_per_client}; close one, or subscribe to more on a stream that is open",
            )
        self._leave(stream, now)
        stream.client = client
        client.streams[stream.stream_id] = stream
        return True

    def forget(self, client: Client) -> None:
        """Remove a client."""
        if self._clients.get(client.client_id) is client:
            del self._clients[client.client_id]

    def idle(self, now: float, ttl_s: float) -> list[Client]:
        """Return the clients that have had no stream and no call for `ttl_s` seconds."""
        return [
            client
            for client in self._clients.values()
            if not client.streams and not client.pending and now - client.idle_since >= ttl_s
        ]

    def _leave(self, stream: Stream, now: float) -> None:
        client = stream.client
        if client is None:
            return
        client.streams.pop(stream.stream_id, None)
        client.idle_since = now
        if not client.streams and not client.standing and not client.pending:
            self.forget(client)

"""The extension points on one page: what a new exchange, database or link has to say about itself.

An exchange is one file in `raven/venues/`, one line in `raven/registry.py`, and the suite in `tests/contract/`.
How to write one: CONTRIBUTING.md, "Recipe: an exchange".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from raven.instruments import Instrument
from raven.topics import DataType

if TYPE_CHECKING:
    import pyarrow as pa

    from raven._core import Hub

__all__ = [
    "Instrument",
    "Link",
    "LinkStatus",
    "Reply",
    "Request",
    "Sink",
    "SinkBatch",
    "Stream",
    "Venue",
    "VenueLimits",
]


class Stream(NamedTuple):
    """One stream of a venue, by the name that its SUBSCRIBE takes."""

    category: str
    """Streams of one category may share a connection; the venue has a route for each."""
    name: str


class Request(NamedTuple):
    """One REST request: GET `path` on the venue's REST base."""

    path: str
    weight: int
    """What it costs of the venue's request budget."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A venue's answer to a SUBSCRIBE or UNSUBSCRIBE."""

    request_id: int | None
    error: str = ""
    """Empty when the request was accepted; else the venue's words."""


@dataclass(frozen=True, slots=True)
class VenueLimits:
    """What a venue allows; all of it is documented by the venue, the source stands in its file."""

    streams_per_connection: int
    messages_per_second: float
    """Messages that a client may send on one connection; pongs count."""
    connections_per_five_minutes: int
    request_weight_per_minute: int
    max_age_s: float
    """The venue closes every connection after so long."""
    streams_per_message: int = 100
    """Streams named in one SUBSCRIBE: venues refuse very long messages."""
    weight_pool: str = ""
    """Venues with the same pool spend one request budget and share a ban; empty: this venue has its own."""


class Venue(Protocol):
    """An exchange, described without doing any I/O."""

    name: str
    """As in configuration, e.g. `binance_futures`."""
    sequence_rule: str
    """How its depth ids chain: `spot` or `futures` (see `raven._core.Engine.add_venue`)."""
    limits: VenueLimits
    ws_url: str
    """WebSocket base; routes are appended."""
    rest_url: str
    """REST base; paths are appended."""

    def connection_url(self, category: str) -> str:
        """Return where to connect for streams of a category."""

    def streams(self, symbol: str, data_type: DataType) -> Sequence[Stream]:
        """Return the streams that carry a data type of a symbol; empty when the venue has none."""

    def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the message that starts streams."""

    def unsubscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the message that ends streams."""

    def reply(self, raw: bytes) -> Reply:
        """Read an answer to one of these messages."""

    def is_reply(self, frame: memoryview) -> bool:
        """Return whether a frame is such an answer and no data; asked only while a connection is being replaced."""

    def depth_request(self, symbol: str, limit: int) -> Request:
        """Return the request for a book of at least `limit` levels a side, as far as the venue goes."""

    def depth_limit(self, limit: int) -> int:
        """Return the number of levels a side that `depth_request` really asks for."""

    def instruments_request(self) -> Request:
        """Return the request for the list of symbols."""

    def instruments(self, body: bytes) -> tuple[Mapping[str, Instrument], int]:
        """Read that list; also return the request weight per minute that it states, 0 when it states none."""


@dataclass(frozen=True, slots=True)
class SinkBatch:
    """Records of one type, of any number of symbols, in the order of the journal."""

    type: str
    """As the folders of the journal's Parquet files are called: `trades`, `orderbook`, `candles_1m`, …, `gaps`."""
    records: pa.Table
    """The columns `venue` and `symbol`, then those of docs/reference/parquet.md."""


class Sink(Protocol):
    """A database. It is handed batches of the journal, each until it is taken, and keeps every record exactly once.

    A database is one file in `raven/sinks/`, one line in `raven/registry.py`, and the suite in `tests/contract/`.
    """

    async def open(self) -> None:
        """Connect, and create tables that are missing.

        Raises: DatabaseConnection, NetworkTimeout (tried again later); ConfigurationError (a person must act).
        """

    async def write(self, batch: SinkBatch) -> None:
        """Keep every record of the batch; return when it is durable there. A batch that comes again adds nothing.

        Raises: DatabaseConnection, NetworkTimeout, RateLimited (the same batch comes again, later); DataValidation when
        the database refuses a record of the batch for what it is: the batch then comes again in halves.
        """

    async def close(self) -> None:
        """Let go of connections. Must not raise."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """How a link is doing now."""

    upstream: str
    """Whom it hears, by its address, e.g. `grpc://127.0.0.1:50001`."""
    connected: bool
    """Whether the upstream is there; what was lost while it was not is marked by gap records."""
    trouble: str = ""
    """In a sentence for people what is missing and what is being done about it; empty when all is well."""
    lag_s: float = 0.0
    """Age of the newest record when it came in, by its receive time at the source; seconds."""


class Link(Protocol):
    """How a role hears its upstream: it asks for topics and reads them in `hub`. Every method but `status` is called on
    one asyncio loop.

    What is promised (`tests/contract/test_links.py`): a topic's records come in the upstream's order, none twice, and
    what is missing is a gap record, with reason `upstream` where this hop lost it and with a count where that can be
    known. A lost upstream is taken up again without end, behind the last record that came. Nobody waits for a reader
    of `hub`.
    """

    hub: Hub
    """Where its topics are; sequences in it are its own."""

    async def start(self) -> None:
        """Begin to connect, and return at once: an upstream that is not there yet is trouble, not an error."""

    async def stop(self) -> None:
        """Let go of everything and hang up. Must not raise; safe to call twice."""

    async def acquire(self, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        """Want a topic once more, and return its id in `hub`; `depth` is how many levels a book must carry.

        The topic begins with what comes from now on. While the upstream is away, the topic is asked for when it is
        back, and what it then refuses stands in `status`.
        Raises: DataValidation when the upstream has no such topic, NetworkTimeout (retryable) when it cannot say now;
        nothing is held then.
        """

    async def release(self, venue: str, symbol: str, data_type: DataType) -> None:
        """Want a topic once less; with the last wish gone the upstream is told, and the topic's records may end.
        Ignored when nobody wants it.
        """

    def status(self) -> LinkStatus:
        """Say how it is doing; from any thread."""

    def counters(self) -> dict[str, int]:
        """Count what came in: see `raven._core.Inlet.counters`; empty where nothing lies between. From any thread."""

"""The extension points on one page: what a new exchange or a new database has to say about itself.

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

__all__ = ["Instrument", "Reply", "Request", "Sink", "SinkBatch", "Stream", "Venue", "VenueLimits"]


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

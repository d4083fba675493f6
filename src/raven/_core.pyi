"""The native core: what happens once per event. See ARCHITECTURE.md, "The way of one event".

Everything here is conversion only; the rules live in `crates/raven-core` and `crates/raven-serve`.
Times are integers: nanoseconds since 1970 where the name ends in `_ns`, milliseconds where it ends in `_ms`.
Prices and quantities leave this module as integers with a scale (`value = mantissa / 10**scale`) or as exact decimal text.
"""

from collections.abc import Sequence
from typing import Final, Self, final

from typing_extensions import Buffer

__all__ = [
    "BUFFERED", "EVENTS_PENDING", "IGNORED", "PUBLISHED", "REJECTED", "REJECT_EXPLANATIONS", "REJECT_REASONS",
    "BarBuilder", "BarSpec", "Call", "Collector", "Encoded", "Engine", "GrpcServer", "Hub", "Inlet", "LiveBars",
    "Reader", "Receiver", "Record", "RedisFeed", "SharedMemory", "SharedReader", "SharedTopic", "Tap", "Writer",
    "__version__", "decimals_of_wide", "scale_of_doubles", "scale_that_fits", "sides_of_texts",
]
__version__: Final[str]

# What `Engine.on_frame` and `Engine.on_snapshot` say, as bits.
EVENTS_PENDING: Final[int]
"""Something needs policy: call `Engine.take_events`."""
PUBLISHED: Final[int]
"""At least one record was appended to a ring."""
REJECTED: Final[int]
"""The frame, or an event in it, went to quarantine."""
BUFFERED: Final[int]
"""A diff waits for its snapshot."""
IGNORED: Final[int]
"""Known already (duplicate, older than the book) or not asked for."""

REJECT_REASONS: Final[list[str]]
"""Every reason validation can give, in the order of their codes; documented in docs/reference/validation.md."""
REJECT_EXPLANATIONS: Final[list[str]]
"""One sentence for each of `REJECT_REASONS`."""

@final
class Hub:
    """Every topic of this process: rings with their readers. Shared by the engine, the gRPC server and Python readers."""

    def __new__(cls, memory: SharedMemory | None = None) -> Self:
        """`memory`: where rings are made, so that other processes can read them; without, or when it is full: the heap."""
    def topics(self) -> list[tuple[int, str, str, int, int, int]]:
        """List every topic as `(topic_id, venue, symbol, data_type, depth, readers)`; depth is 0 for anything but books."""
    def find(self, venue: str, symbol: str, data_type: int, depth: int = 0) -> int | None:
        """Return the id of a topic, or None. For books `depth` asks for the smallest tier that holds as many levels (0: the default tier)."""
    def head(self, topic_id: int) -> int:
        """Return the sequence of the newest record of a topic, 0 when nothing was published yet."""
    def reader(self, topic_id: int, *, from_latest: bool = False) -> Reader:
        """Open a cursor on a topic: at its end, or with `from_latest` on its newest record.

        Raises: KeyError if there is no such topic.
        """
    def create_topic(self, venue: str, symbol: str, data_type: int, ring_bytes: int) -> Writer:
        """Create a topic that Python writes (bars, benches, tests). Raises: ValueError if it exists."""

@final
class Writer:
    """The one writer of a topic that Python owns."""

    @property
    def topic_id(self) -> int: ...
    def trade(
        self, recv_ns: int, exchange_ns: int, trade_id: int, price: int, quantity: int, *, price_scale: int,
        quantity_scale: int, taker_sells: bool,
    ) -> int:
        """Append one trade; return its sequence."""
    def trades(self, count: int, first_id: int, price: int, quantity: int, *, price_scale: int, quantity_scale: int) -> int:
        """Append `count` like trades with rising ids in one call (load tests); return the last sequence."""

@final
class Reader:
    """A cursor on one topic. Never slows the writer; a reader that falls behind learns how many records it lost."""

    def drain(self, max_records: int = 1024) -> list[Record]:
        """Take what is there. After a lap the first record is a gap (`kind == 7`, reason slow_reader) with the exact count."""
    @property
    def lost(self) -> int:
        """Records lost to laps so far."""

@final
class Collector:
    """Reads many topics for one consumer of whole batches: every record from a topic's first one on, but for books,
    of which it takes each change of quality and the last state in every interval (by receive time); 0: every state.
    """

    def __new__(cls, hub: Hub, *, book_interval_ns: int = 1_000_000_000) -> Self: ...
    def add(self, topic_id: int) -> None:
        """Read a topic from its first record on. Raises: KeyError if there is no such topic."""
    def remove(self, topic_id: int) -> bool:
        """Stop reading a topic; what was collected stays. False if it was not read."""
    @property
    def lost(self) -> int:
        """Records that rings overwrote before they were read; each lap is also a gap record (reason `journal`)."""
    def books(self) -> list[tuple[int, int, int]]:
        """List the topics of books as `(topic_id, states taken, receive time of the last, ns)`."""
    def collect(self, max_records: int, now_ns: int, *, last: bool = False) -> int:
        """Read up to about so many records, with `last` also books whose interval is not over; return how many wait."""
    def take(self) -> list[tuple[int, int, list[bytes]]]:
        """Take what was collected, by kind: `(kind, rows, columns)`, little-endian, in the order topic u32, flags u32,
        sequence u64, recv_ns i64, exchange_ns i64, id u64, price_scale u8, quantity_scale u8, then each body word i64;
        books have, for bids and then asks: offsets i32 (rows + 1), prices i64, quantities i64, proven u32.
        """

@final
class Encoded:
    """A batch of records of one topic as messages for clients, made at once."""

    def __new__(
        cls, kind: int, rows: int, columns: Sequence[Buffer], *, venue: str, symbol: str, data_type: int,
        producer: str = "raven", depth: int = 0, flags: int = 0,
    ) -> Self:
        """`columns` are buffers of bytes as `Collector.take` hands them out; `depth` cuts books, `flags` are added.

        Raises: ValueError when they do not fit together.
        """
    @property
    def messages(self) -> int: ...
    @property
    def size(self) -> int:
        """Bytes."""

@final
class Inlet:
    """The far end of a hop between roles: frames of an upstream server (`MarketDataMessage`, batches too) become topics
    of a hub of our own. One thread uses it.

    Records come in the upstream's order, none twice; what is missing by the upstream's sequences is a gap record with
    reason `upstream`.
    """

    def __new__(cls, hub: Hub) -> Self: ...
    def open(self, venue: str, symbol: str, data_type: int, *, depth: int = 0, ring_bytes: int = 262_144) -> int:
        """Make a topic, or find the one that is open; return its id. Books have a depth, in levels; one that asks for
        more than is open gets a topic of its own. Raises: ValueError when somebody else writes it.
        """
    def close(self, venue: str, symbol: str, data_type: int) -> bool:
        """End a topic, for books in every depth. False when it is not open."""
    def position(self, venue: str, symbol: str, data_type: int) -> tuple[int, int] | None:
        """Return the upstream's sequence of a topic's last record and its receive time, ns: what filter `after` takes.
        Zeros when none came yet, None when it is not open.
        """
    def mark_unknown(self, venue: str, symbol: str, data_type: int, now_ns: int) -> bool:
        """Append a gap of which nobody knows the size; False when the topic is not open."""
    def on_frame(self, now_ns: int, frame: bytes) -> int:
        """Publish what a frame holds; return how many records that were."""
    def counters(self) -> dict[str, int]:
        """Count: frames, bytes, records, duplicates, gaps (of this hop), missing (by these), broken, unasked."""
    @property
    def newest_recv_ns(self) -> int:
        """Newest receive time at the source of all records, ns; 0 when there were none."""

@final
class Receiver:
    """A client's end of a stream: judges messages by their sequences, keeps the position of every topic, and collects
    whole frames as columns of doubles. One thread uses it at a time.
    """

    def __new__(cls, *, has_past: bool = False) -> Self:
        """`has_past`: of a subscription with filter `start`."""
    def judge(self, frame: bytes) -> list[tuple[int, int]] | None:
        """Judge the messages of a frame, oldest first: -1 for one that came before, else how many are missing before
        it; and the data type of its topic. None when all of them are simply next.
        """
    def collect(self, now_ns: int, frame: bytes) -> int:
        """Collect what a frame says; what is missing is a row of the gaps. Return how many rows wait."""
    @property
    def rows(self) -> int:
        """Rows that wait; a book counts for more, by its levels."""
    def take(self) -> list[tuple[int, int, list[bytes]]]:
        """Take `(kind, rows, columns)` of every kind that has rows; `raven.client.tables` names the columns."""
    def names(self) -> list[str]:
        """Return names by their numbers, which stand in the columns."""
    def heard(self) -> list[tuple[str, str, int, int, int, bool]]:
        """Return `(venue, symbol, data_type, sequence, recv_ns, is_past)` of the last message of every topic."""

@final
class Record:
    """One record, exact. `body` holds the words of the kind as documented in `crates/raven-core/src/record.rs`."""

    @property
    def kind(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def recv_ns(self) -> int: ...
    @property
    def exchange_ns(self) -> int: ...
    @property
    def id(self) -> int: ...
    @property
    def price_scale(self) -> int: ...
    @property
    def quantity_scale(self) -> int: ...
    @property
    def body(self) -> list[int]: ...
    def bids(self, depth: int = 0) -> list[tuple[int, int]]:
        """Return bid levels `(price, quantity)`, best first; depth 0 means all that the record holds."""
    def asks(self, depth: int = 0) -> list[tuple[int, int]]: ...
    def encode(self, venue: str, symbol: str, data_type: int) -> bytes:
        """Return the record as a serialized `MarketDataMessage`."""

@final
class Engine:
    """Decode, sequence, validate, book, store, publish. One writer: call it from one thread only."""

    def __new__(
        cls, hub: Hub, *, strict: bool = True, sanitize: bool = True, max_price_deviation: float = 10.0,
        deviation_confirmations: int = 3, max_clock_skew_ms: int = 0, validation: bool = True, book_depth: int = 20,
        max_frame_bytes: int = 1_048_576, resync_buffer_events: int = 10_000, resync_buffer_bytes: int = 4_194_304,
        max_pending_events: int = 4096, quarantine_bytes: int = 65_536,
    ) -> Self: ...
    def add_venue(self, name: str, rule: str) -> int:
        """Register a venue whose depth ids follow `rule` ("spot" or "futures"); return its handle."""
    def add_instrument(
        self, venue: int, symbol: str, *, price_scale: int = 0, quantity_scale: int = 0, ring_bytes: int = 262_144,
        needs_book: bool = True,
    ) -> int:
        """Register a symbol and create its topics; return its handle. Scales grow by themselves when a longer decimal arrives.

        `ring_bytes` bounds the memory of all its rings together. `needs_book` False: diffs are ignored until `want_book`.
        """
    def remove_instrument(self, instrument: int) -> None:
        """Forget a symbol: later frames of it are ignored as not asked for; its topics end once their readers have gone."""
    def want_book(self, instrument: int, wanted: bool) -> None:
        """Take diffs of a symbol from now on, or ignore them."""
    def enable_depth(self, instrument: int, depth: int) -> int:
        """Publish books of at least `depth` levels (tiers: the default, 100, 1000) and return the topic id of that tier."""
    def record(self, tap: Tap | None) -> None:
        """Copy every frame to a tap before it is read; None ends that."""
    def open_connection(self, venue: int) -> int: ...
    def close_connection(self, connection: int) -> None: ...
    def on_frame(self, connection: int, recv_ns: int, frame: Buffer) -> int:
        """Take one WebSocket text frame through all stages; return what happened, as bits (see the constants above)."""
    def on_frames(self, connection: int, recv_ns: Sequence[int], frames: Sequence[bytes]) -> int:
        """Take many frames in one call; the result is that of `on_frame` one by one, bits or-ed."""
    def on_snapshot(self, instrument: int, recv_ns: int, body: Buffer, *, limit: int = 1000) -> int:
        """Apply a REST depth answer and the diffs that waited for it.

        `limit` is the number of levels a side that was asked for: a side that reaches it proves only its own range.
        IGNORED: too old for what waits; REJECTED: broken or crossed. In both cases a new "resync" event follows.
        """
    def desync(self, instrument: int, reason: str, *, book: bool = True, at_ns: int | None = None) -> None:
        """Declare the book untrusted: the old one stays visible, flagged; the next diff brings a "resync" event.

        With `book` False only the connection of its other streams was lost: a hole in trade ids that follows is then
        marked with the reason reconnect. `at_ns` is the time of the record that says so, None for now.

        Reasons: reconnect, silence, requested, resubscribed, snapshot_failed, verify, paused.
        """
    def mark_stale(self, instrument: int, stale: bool, *, at_ns: int | None = None) -> None:
        """Set or clear the stale flag (a silent stream); `at_ns` as in `desync`."""
    def report_gap(self, instrument: int, data_type: int, count: int, first_id: int, last_id: int, reason: str, repaired: bool = False) -> None:
        """Append a gap mark that Python knows of (a connection that was lost)."""
    def take_events(self) -> list[tuple[str, int, int, str, int, bytes]]:
        """Take what needs policy, oldest first, each `(event, connection, instrument, reason, number, raw)`; -1 where not known.

        - `resync`: fetch a snapshot of the instrument; reason says why.
        - `synced`: the book is exact again; number is its update id.
        - `rejected`: quarantine `raw` (cut to `quarantine_bytes`); reason is one of REJECT_REASONS, number the byte offset.
        - `control`: an answer to a request or a venue notice, verbatim in `raw`; reason is `reply` or the event's name (`serverShutdown`).
        - `gap`: ids were skipped by the venue; number is how many.
        - `overflow`: events of this list were lost; number is how many. Counters stay exact.
        """
    def instrument(self, venue: int, symbol: str) -> int | None: ...
    def counters(self, instrument: int) -> dict[str, int]:
        """Count the events of one symbol. `received == published + rejected + ignored + gap + pending` holds always.

        Keys: received, published, rejected, ignored, gap, pending, trades, books, quotes, candles, fundings, liquidations,
        sequence_errors, resyncs, crossed, missing_trades, duplicates, unknown_removals, late_trades.
        """
    def totals(self) -> dict[str, int]:
        """Count what belongs to no symbol: frames, bytes, replies, notices, unknown_events, not_collected, unattributed, events_lost."""
    def rejects(self) -> dict[str, int]:
        """Count rejected events by reason, over all symbols and connections."""
    def unknown_events(self) -> list[tuple[str, int]]:
        """List event types that are not read, with counts; at most 64 names, the rest under `other`."""
    def state(self, instrument: int) -> str:
        """Return `waiting` (no snapshot yet), `synced`, `resyncing` or `stale`."""
    def last_seen(self, instrument: int) -> tuple[int, int, int, int, int, int]:
        """Return when the last event of each kind came, ns: `(book, trade, quote, candle, funding, liquidation)`; 0 for never."""
    def latency(self, instrument: int | None = None) -> tuple[list[int], float]:
        """Return how long frames took from arrival to publication, of one symbol or of all: counts per bucket of
        `latency_bounds`, and their sum in microseconds.
        """
    @staticmethod
    def latency_bounds() -> list[float]:
        """Return the upper bounds of the latency buckets, microseconds."""
    def canonical(self, instrument: int, depth: int = 0) -> bytes:
        """Return the book's canonical text (`price:qty,…|price:qty,…`, ascending), the bytes that book hashes are taken over."""
    def book(self, instrument: int) -> dict[str, int]:
        """Describe a book: update_id, bids, asks (level counts), price_scale, quantity_scale, proven_low, proven_high, bytes."""
    def snapshot(self, instrument: int) -> bytes:
        """Return the best 20 levels of both sides as packed signed 64-bit integers.

        Layout: update_id, price_scale, quantity_scale, bid count, ask count, then `price, quantity` per bid and per ask.
        """

@final
class RedisFeed:
    """Trades and books of a hub as commands for Redis. One thread uses it; any may ask for `channels`."""

    def __new__(
        cls, hub: Hub, *, prefix: str = "", venue: str = "", depth: int = 0, max_age_ms: int = 0, latest_ttl_ms: int = 0,
        stream_length: int = 0,
    ) -> Self:
        """Channels of `venue` are `{prefix}trades:{SYMBOL}` and `{prefix}orderbook:{SYMBOL}`, those of others have their venue and a
        colon before that. Events older than `max_age_ms` are dropped (0: never). `latest_ttl_ms` and `stream_length` above 0
        also write keys `latest:{channel}` and streams `stream:{channel}`. Raises: RuntimeError when the hub has too many listeners.
        """
    def follow(self) -> None:
        """Take up topics that came; call it some times a second."""
    def wait(self, timeout_seconds: float) -> bool:
        """Wait until there may be something to take; False when nothing came in time.

        For 50 ms it is looked for, five times a millisecond, so that a busy feed need not wake anybody; then it is waited for.
        """
    def take(self, now_ns: int, max_bytes: int) -> bytes:
        """Return commands for what was published, about so many bytes; each waits for its reply."""
    def skip(self, now_ns: int) -> None:
        """Drop what is too old meanwhile; for the time in which nothing can be sent."""
    def confirm(self, replies: bytes) -> int:
        """Take what Redis answered; return how many commands still wait. Raises: ValueError for what is no reply."""
    def abandon(self) -> int:
        """Give up what waits for a reply; return how many messages that were."""
    def channels(self) -> list[tuple[str, str, str, int, int, int, int, int, int, int]]:
        """List `(channel, venue, symbol, data_type, published, refused, dropped, unconfirmed, withheld, keys_refused)`; every event
        of the topic is counted in one of the first five, or on its way. See `crates/raven-core/src/redis/mod.rs`.
        """
    @property
    def refusals(self) -> int:
        """How many commands Redis has refused."""
    @property
    def last_refusal(self) -> str:
        """What Redis said when it last refused a command."""

@final
class SharedMemory:
    """A file in `/dev/shm` that a hub of this process makes its rings in; see docs/reference/shm.md."""

    def __new__(cls, name: str, max_bytes: int, now_ns: int) -> Self:
        """Make the file; `max_bytes` are taken as topics come. What a dead writer left under the name is cleaned first.

        Raises: ValueError when a living process writes it or the name or size cannot be, OSError for what the system refuses.
        """
    @property
    def path(self) -> str: ...
    def beat(self, now_ns: int) -> None:
        """Say to readers that this process runs."""
    def usage(self) -> tuple[int, int, int, str]:
        """Return `(topics, bytes, refused, trouble)`: what is in it, how many rings found no room so far, why the last did not."""
    def close(self) -> None:
        """Take the name away and tell readers. Rings in it live on for this process."""

@final
class SharedReader:
    """Another process's rings, mapped for reading only. `raven.shm.Reader` is the face of it."""

    def __new__(cls, name: str) -> Self:
        """Open the file. Raises: FileNotFoundError when there is none, ValueError when it is not Raven's or of another layout."""
    @property
    def path(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def heartbeat_ns(self) -> int: ...
    def is_alive(self) -> bool:
        """Return whether its writer lives; a system call."""
    def topics(self) -> list[tuple[str, str, int, int, bool]]:
        """List `(venue, symbol, data_type, depth, has_ended)`."""
    def topic(self, venue: str, symbol: str, data_type: int, depth: int = 0, *, start: str = "now") -> SharedTopic:
        """Open a topic: `now`, on its `latest` record, or on the `oldest` there is. Raises: KeyError when it is not there."""

@final
class SharedTopic:
    """A cursor on another process's topic. One thread uses it at a time."""

    def read(self) -> Record | None:
        """Return the next record, None when there is none. What was overwritten first is a gap record with the exact count."""
    def take(self, max_records: int) -> tuple[int, int, bytes] | None:
        """Return `(kind, rows, words)` of what comes next and is of one kind; None when there is nothing."""
    def wait(self, timeout_seconds: float, spin: bool) -> bool:
        """Wait for something to read, or for the end; `spin` looks without pause. Return False when the time is over."""
    @property
    def has_ended(self) -> bool:
        """Whether everything was read and nothing will come."""
    @property
    def lost(self) -> int:
        """Records that were overwritten before they were read."""
    @property
    def lag(self) -> int:
        """Records in the ring that were not read yet."""
    @staticmethod
    def columns(kind: int, words: bytes) -> list[bytes]:
        """Return the columns of what `take` returned, as `Collector.take` has them."""

@final
class Tap:
    """A bounded copy of what is received, in the order of arrival, for whoever writes it to disk (see `Engine.record`)."""

    def __new__(cls, max_bytes: int) -> Self: ...
    def note(self, connection: int, recv_ns: int, line: bytes) -> bool:
        """Append a line of our own (`{"raven": …}` or `{"rest": …}`, no line feed); False when there is no room for it."""
    def take(self) -> list[tuple[int, int, int, bytes]]:
        """Take what waits longest, about 256 KiB: `(connection, first_ns, messages, lines)` by connection and hour.

        A line is `<receive time, ns> <message>\\n`. Messages that did not fit are counted by a line of their own, in their place.
        """
    @property
    def waiting(self) -> int:
        """Bytes that wait to be taken."""
    @property
    def taken(self) -> int:
        """Bytes that were taken so far; with those that wait, everything that was appended."""
    @property
    def lost(self) -> tuple[int, int]:
        """Messages that did not fit, and their bytes."""

@final
class BarSpec:
    """What bars to build: a kind, its parameters in their order, and options."""

    def __new__(
        cls, kind: str, parameters: Sequence[float], *, keeps_empty: bool = False, is_split: bool = False, uses_tick_rule: bool = False,
    ) -> Self:
        """Raises: ValueError for an unknown kind, or another number of parameters than it has."""
    @staticmethod
    def kinds() -> list[tuple[str, list[str]]]:
        """List the kinds with the names of their parameters."""
    @staticmethod
    def of_words(words: Sequence[int]) -> BarSpec:
        """Return the spec of a bar's record: the words of its body from `BarWord.RULE` on. Raises: ValueError."""
    @staticmethod
    def of_label(label: str) -> BarSpec:
        """Return the spec that is called so. Raises: ValueError."""
    @property
    def words(self) -> list[int]:
        """The words of a bar's body from `BarWord.RULE` on."""
    @property
    def label(self) -> str:
        """What `interval` says: `1m`; for other kinds the kind and its parameters."""
    @property
    def config_hash(self) -> int: ...
    @property
    def data_type(self) -> int:
        """The data type of its topics."""

@final
class BarBuilder:
    """Builds the bars of one symbol from columns of trades, in as many pieces as one likes."""

    def __new__(cls, spec: BarSpec) -> Self: ...
    def take(
        self, time_ms: Buffer, price: Buffer, quantity: Buffer, sells: Buffer, id: Buffer | None, price_scale: int, quantity_scale: int,
    ) -> None:
        """Take the next trades, oldest first: buffers of signed 64-bit integers, `sells` of bytes (1 where the taker sold).
        Prices and quantities may be doubles: they are rounded to their scale.

        Raises: ValueError when the columns differ in length.
        """
    def columns(self, *, with_open_bar: bool, exact: bool) -> tuple[int, bytes, list[bytes]]:
        """Take out the bars that have ended: `(rows, scales, columns)`, in the order of `crates/raven-core/src/bars/table.rs`.

        Prices and volumes are doubles, or with `exact` 128-bit integers in these scales.
        """
    @property
    def counts(self) -> tuple[int, int, int, int, int]:
        """Trades offered, taken, late among these, known already, dropped as too late."""

@final
class LiveBars:
    """Bars of one spec for many topics of trades, published as topics. Use it from one thread at a time."""

    def __new__(cls, spec: BarSpec, source: Hub, target: Hub, *, grace_ms: int = 1000) -> Self:
        """Bars of the clock end with the next trade, or `grace_ms` after their end."""
    def add(
        self, topic_id: int, *, ring_bytes: int = 65_536, state: Sequence[int] | None = None, from_start: bool = True,
    ) -> tuple[int, bool]:
        """Make bars of a topic of trades; return the topic they go to, and whether `state` fitted and is continued.

        Raises: KeyError when there is no such topic, ValueError when there are such bars already.
        """
    def remove(self, topic_id: int) -> bool:
        """Make no more bars for a topic of bars; it ends. False if there are none."""
    def take_past(
        self, topic_id: int, time_ms: Buffer, price: Buffer, quantity: Buffer, sells: Buffer, id: Buffer | None, price_scale: int,
        quantity_scale: int,
    ) -> bool:
        """Take what happened before, as `BarBuilder.take`; bars that end in it are flagged as backfilled. What is known
        already is left out. False when there is no such topic of bars. Raises: ValueError when the columns differ in length.
        """
    def step(self, now_ms: int, max_trades: int) -> int:
        """Read up to so many trades of each symbol and publish bars; return how many since the beginning."""
    def state(self, topic_id: int) -> list[int] | None:
        """Return what must survive a restart, for a topic of bars; None if there are none."""
    def counts(self, topic_id: int) -> tuple[int, int, int, int, int] | None:
        """As `BarBuilder.counts`, for a topic of bars; None if there are none."""

def scale_of_doubles(values: Buffer, scale: int) -> tuple[int | None, float]:
    """Return the smallest scale, from `scale` on, in which doubles are whole numbers, None for none, and the largest of them."""

def scale_that_fits(largest: float, scale: int) -> int:
    """Return the largest scale up to `scale` in which doubles of this size can be rounded."""

def decimals_of_wide(values: Buffer, scale: int) -> tuple[bytes, int] | None:
    """Return 128-bit decimals as signed 64-bit integers in the smallest scale; None when they do not fit."""

def sides_of_texts(offsets: Buffer, text: Buffer) -> tuple[bytes, int]:
    """Return 1 for `sell` and 0 for `buy`, and the row of the first text that is neither, -1 for none."""

@final
class Call:
    """A request that the gRPC server hands to Python."""

    @property
    def call_id(self) -> int:
        """Answer with `GrpcServer.reply` or `fail`; 0 when no answer is expected."""
    @property
    def method(self) -> str:
        """A call by its name (`Subscribe`, `GetHistoricalData`, `StartCollection`, …; an answer is expected), or what happened on
        a stream: `stream_opened`, `stream_message` (of `StreamMarketData`), `stream_request` (of `MarketData.Subscribe`),
        `stream_closed`.
        """
    @property
    def stream_id(self) -> int:
        """Which `StreamMarketData` stream, 0 for unary calls."""
    @property
    def peer(self) -> str: ...
    @property
    def payload(self) -> bytes:
        """The serialized request message, or the reason for `stream_closed`."""

@final
class GrpcServer:
    """`MarketDataService`, `MarketData`, `Control`, health and reflection, draining rings to subscribers on its own thread, never holding the interpreter lock."""

    def __new__(
        cls, hub: Hub, *, host: str = "127.0.0.1", port: int = 50051, max_connections: int = 1000,
        max_message_bytes: int = 4_194_304, max_streams_per_connection: int = 100, producer: str = "raven",
        keepalive_seconds: float = 10.0, keepalive_timeout_seconds: float = 10.0, tls_certificate: bytes | None = None,
        tls_key: bytes | None = None, tls_client_ca: bytes | None = None, token: str | None = None,
        busy_poll: bool = False, cpu: int | None = None,
    ) -> Self: ...
    def start(self) -> int:
        """Bind and serve; return the port. Raises: OSError with the address when it cannot bind."""
    def next_call(self, timeout_seconds: float) -> Call | None:
        """Wait for the next request that needs Python; None when none came in time or the server has stopped."""
    def reply(self, call_id: int, payload: bytes) -> None: ...
    def fail(self, call_id: int, code: int, message: str) -> None:
        """Answer with a gRPC status code (numbers as in the gRPC specification)."""
    def attach(
        self, stream_id: int, topic_id: int, *, depth: int = 0, conflate_ms: int = 0, overflow: str = "gap", from_latest: bool = True,
    ) -> bool:
        """Let a stream read a topic, starting with its newest record (flagged snapshot) or at its end. False: the stream has gone.

        `depth` cuts books; `conflate_ms` sends at most one state per interval; `overflow` is `gap`, `conflate` or `disconnect`.
        Attaching again changes the options and keeps the cursor.
        """
    def resume(
        self, stream_id: int, topic_id: int, after: int, *, depth: int = 0, conflate_ms: int = 0, overflow: str = "gap",
    ) -> bool:
        """Let a stream read a topic from right behind the record with sequence `after`. False, and nothing attached,
        when the stream has gone or the ring does not have the record behind `after` any more.
        """
    def take_up(
        self, stream_id: int, topic_id: int, after: int, recv_ns: int, *, depth: int = 0, conflate_ms: int = 0,
        overflow: str = "gap",
    ) -> bool:
        """Let a stream read a topic on from behind the last record that its client had, named by sequence and receive time.

        What the ring does not have any more is a mark with reason `upstream`; so is another life of the topic, which
        is heard from its beginning. False when the stream has gone. Raises: KeyError when the topic has ended.
        """
    def push(self, stream_id: int, frames: Encoded, timeout_seconds: float) -> bool:
        """Send messages before whatever else is on its way on a stream, waiting for room; False when it has gone.

        Raises: TimeoutError when the client does not take what was sent before.
        """
    def reply_piece(self, call_id: int, frames: Encoded, timeout_seconds: float) -> bool:
        """Send a part of the answer to `GetHistoricalData`, waiting for room; False when the client has gone.

        `reply` with nothing ends the answer, `fail` ends it with a status. Raises: TimeoutError as `push` does.
        """
    def detach(self, stream_id: int, topic_id: int) -> bool: ...
    def configure_stream(self, stream_id: int, *, batch: int = 1, heartbeat_ms: int = 0) -> bool: ...
    def close_stream(self, stream_id: int, code: int, message: str) -> bool:
        """End a stream with a status after what it has been sent so far."""
    def set_serving(self, serving: bool) -> None:
        """Set the health service's answer for the whole server and for each of its services."""
    def streams(self) -> list[tuple[int, str, int, int, int, int]]:
        """List open streams as `(stream_id, peer, topics, messages_sent, messages_lost, lag)`; lag in records over all topics."""
    def stats(self) -> dict[str, int]:
        """Count: connections, connections_refused, streams, messages, bytes, lost, gap_marks, encoded, requests, errors, wakeups."""
    def drain(self, timeout_seconds: float) -> bool:
        """Stop accepting, send what the rings hold, end every stream with UNAVAILABLE, and stop. True when all ended in time."""

"""The `filters` of a subscription: every key, its values, its default. `docs/reference/grpc.md` prints `FILTERS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from raven.clock import SystemClock, parse_time
from raven.errors import RavenError
from raven.fanout.data_types import STATES
from raven.fanout.refusal import Refused, Status, nearest, shorten
from raven.topics import DataType


class FilterRule(NamedTuple):
    """One row of the reference table."""

    key: str
    values: str
    default: str
    meaning: str


MAX_DEPTH = 1000
MAX_CONFLATE_MS = 60_000
# A frame of small messages reaches its best rate well below this; above it only memory grows.
MAX_BATCH = 4096
MIN_HEARTBEAT_MS, MAX_HEARTBEAT_MS = 100, 3_600_000
# Of a time in ms: enough for some centuries from now.
_MS_DIGITS = 14
# The native server has 64 bits, one of them for the sign.
_MAX_INTEGER = 2**63 - 1
OVERFLOWS = ("gap", "conflate", "disconnect")

FILTERS = (
    FilterRule("depth", f"1…{MAX_DEPTH} levels", "20", "Levels per side of an order book. Other data types ignore it."),
    FilterRule(
        "conflate_ms",
        f"0…{MAX_CONFLATE_MS} ms",
        "0 (every state)",
        "Send at most one state per interval, always the newest; states that were skipped are flagged (bit 32). "
        "Order books and "
        "quotes only: asked for nothing but other types it is refused, because a trade is never skipped silently.",
    ),
    FilterRule(
        "overflow",
        "`gap`, `conflate`, `disconnect`",
        "`conflate` for order books and quotes, `gap` for everything else",
        "What happens when this client reads slower than the market moves. `gap`: the oldest messages are lost and a "
        "`GapMark` says "
        "how many. `conflate`: skip to the newest state, flagged (order books and quotes only; other types keep "
        "`gap`). "
        "`disconnect`: the stream ends with RESOURCE_EXHAUSTED. A reader that keeps up never notices the choice.",
    ),
    FilterRule(
        "batch",
        f"1…{MAX_BATCH} messages",
        "1",
        "Most messages per frame. Above 1, messages that are ready together arrive in one `MarketDataMessage` whose "
        "`batch` holds "
        "them; nothing waits for a batch to fill. Concerns the whole stream; the last subscribe that names it decides.",
    ),
    FilterRule(
        "heartbeat_ms",
        f"0 (none) or {MIN_HEARTBEAT_MS}…{MAX_HEARTBEAT_MS} ms",
        "0",
        "Send an empty message whenever the stream was silent that long, so that silence can be told from a dead "
        "connection. "
        "Concerns the whole stream; the last subscribe that names it decides.",
    ),
    FilterRule(
        "venue",
        "one of the configured venues (`feeds.venues`)",
        "the first configured venue that has the symbol",
        "Which venue's symbol is meant. Subscribe once per venue to hear several.",
    ),
    FilterRule(
        "start",
        "ms since 1970, or `-1h`, `-30m`",
        "live",
        "First what happened from then on, flagged 8 (backfilled), then the present, without a hole or a repetition; "
        "needs the server's journal. Past states are those that were kept, and are not conflated.",
    ),
    FilterRule(
        "after",
        "`SEQUENCE@RECEIVE_TIME_NS` of a message",
        "live",
        "Go on behind the last message that this client had of the topic, after its connection was lost. What the "
        "server does not have any more is a `GapMark` with reason `upstream`; so is a topic that has begun anew, which "
        "then comes from its beginning. One symbol and one data type per request; not together with `start`.",
    ),
)
KEYS = tuple(rule.key for rule in FILTERS)


class Position(NamedTuple):
    """A message of a topic, by which a client goes on where it was."""

    sequence: int
    recv_ns: int
    """Tells it from the message with that sequence in another life of the topic."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one topic reaches one stream: the options of `Streams.attach`."""

    depth: int = 0
    """Levels per side; 0 for anything but books."""
    conflate_ms: int = 0
    overflow: str = "gap"
    start_ns: int | None = None
    """The past comes first, from this moment on, ns since 1970."""
    after: Position | None = None
    """What its client had of it last."""


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of one subscribe request, parsed. None: not named, so the default or the stream's setting stays."""

    depth: int = 20
    conflate_ms: int = 0
    overflow: str | None = None
    batch: int | None = None
    heartbeat_ms: int | None = None
    venue: str | None = None
    start_ns: int | None = None
    after: Position | None = None

    def delivery(self, kind: DataType) -> Delivery:
        """Return the options for one kind: states may be skipped with notice, everything else never is."""
        overflow = self.overflow or ("conflate" if kind in STATES else "gap")
        if kind not in STATES:
            overflow = "gap" if overflow == "conflate" else overflow
            return Delivery(overflow=overflow, start_ns=self.start_ns, after=self.after)
        return Delivery(
            depth=self.depth if kind is DataType.ORDERBOOK else 0,
            conflate_ms=self.conflate_ms,
            overflow=overflow,
            start_ns=self.start_ns,
            after=self.after,
        )


def parse_filters(filters: Mapping[str, str], kinds: Sequence[DataType], default_depth: int = 20) -> Filters:
    """Read the filters of a request for these kinds.

    Raises: Refused INVALID_ARGUMENT naming the key, the value, what is allowed, and for an unknown key the nearest
    known one.
    """
    for key in filters:
        if key not in KEYS:
            raise Refused(
                Status.INVALID_ARGUMENT, f"unknown filter {shorten(key)}{nearest(key, KEYS)}; known: {', '.join(KEYS)}"
            )
    conflate_ms = _integer(filters, "conflate_ms", 0, MAX_CONFLATE_MS) or 0
    overflow = _choice(filters, "overflow", OVERFLOWS)
    if (conflate_ms or overflow == "conflate") and kinds and not any(kind in STATES for kind in kinds):
        named = "conflate_ms" if conflate_ms else "overflow"
        raise Refused(
            Status.INVALID_ARGUMENT,
            f"filter {named!r} = {filters[named]!r} would skip messages of {', '.join(kind.name for kind in kinds)}, "
            "where each one "
            "counts; only ORDERBOOK and QUOTES can be conflated: leave the filter out, or use overflow 'gap' or "
            "'disconnect'",
        )
    venue = filters.get("venue")
    if venue == "":
        raise Refused(Status.INVALID_ARGUMENT, "filter 'venue' is empty; name a configured venue or leave it out")
    depth = _integer(filters, "depth", 1, MAX_DEPTH)
    heartbeat_ms = _integer(filters, "heartbeat_ms", 0, MAX_HEARTBEAT_MS)
    if heartbeat_ms is not None and 0 < heartbeat_ms < MIN_HEARTBEAT_MS:
        raise Refused(
            Status.INVALID_ARGUMENT,
            f"filter 'heartbeat_ms' is {heartbeat_ms}; use 0 for none, or {MIN_HEARTBEAT_MS} to {MAX_HEARTBEAT_MS}",
        )
    return Filters(
        depth=default_depth if depth is None else depth,
        conflate_ms=conflate_ms,
        overflow=overflow,
        batch=_integer(filters, "batch", 1, MAX_BATCH),
        heartbeat_ms=heartbeat_ms,
        venue=venue,
        start_ns=_moment(filters, "start"),
        after=_position(filters, "after"),
    )


def _position(filters: Mapping[str, str], key: str) -> Position | None:
    text = filters.get(key)
    if text is None:
        return None
    sequence, _, recv_ns = text.partition("@")
    if not all(part.isascii() and part.isdigit() and int(part) <= _MAX_INTEGER for part in (sequence, recv_ns)):
        raise Refused(
            Status.INVALID_ARGUMENT,
            f"filter {key!r} is {shorten(text)}; use sequence and receive_time_ns of the last message of the topic, "
            "like '1207@1700000000000000000'",
        )
    if "start" in filters:
        raise Refused(Status.INVALID_ARGUMENT, f"filters {key!r} and 'start' both say where to begin; use one of them")
    return Position(int(sequence), int(recv_ns))


def _moment(filters: Mapping[str, str], key: str) -> int | None:
    text = filters.get(key)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _MS_DIGITS:
        return int(text) * 1_000_000
    try:
        return parse_time(text, SystemClock().time_ns())
    except RavenError as error:
        raise Refused(Status.INVALID_ARGUMENT, f"filter {key!r}: {error.message}") from None


def _integer(filters: Mapping[str, str], key: str, low: int, high: int) -> int | None:
    text = filters.get(key)
    if text is None:
        return None
    # int() would also take '1_0', ' 5 ' and other scripts' digits; a filter is ASCII digits or it is a mistake.
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise Refused(
            Status.INVALID_ARGUMENT, f"filter {key!r} is {shorten(text)}; use a whole number from {low} to {high}"
        )
    return int(text)


def _choice(filters: Mapping[str, str], key: str, allowed: Sequence[str]) -> str | None:
    value = filters.get(key)
    if value is not None and value not in allowed:
        raise Refused(
            Status.INVALID_ARGUMENT,
            f"filter {key!r} is {shorten(value)}{nearest(value, allowed)}; use one of {', '.join(allowed)}",
        )
    return value

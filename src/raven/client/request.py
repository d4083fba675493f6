"""From the arguments of `subscribe` to a `SubscribeRequest`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from raven.errors import ConfigurationError
from raven.proto import subscription_pb2 as wire
from raven.topics import DataType

Overflow: TypeAlias = Literal["gap", "conflate", "disconnect"]

# Twenty times the rate of single messages (0.85 M instead of 45 k records/s) for about 20 µs more delay at the median,
# at 10,000 trades/s on two busy cores; larger batches gain little (benches/grpc_python_client.py). Nothing waits for a
# batch to fill.
DEFAULT_BATCH = 256
DEFAULT_ROWS = 65_536
DEFAULT_WAIT_S = 0.1
"""Makes batches of a thousand rows at 10,000 events/s, and is what a chart or a model notices of the wait."""
DEFAULT_TYPES = ("trades", "orderbook")

# What people write when they do not look it up.
_ALIASES = {
    "book": DataType.ORDERBOOK,
    "books": DataType.ORDERBOOK,
    "orderbooks": DataType.ORDERBOOK,
    "order_book": DataType.ORDERBOOK,
    "trade": DataType.TRADES,
    "quote": DataType.QUOTES,
    "funding": DataType.FUNDING_RATES,
    "funding_rate": DataType.FUNDING_RATES,
    "candles": DataType.CANDLES_1M,
}


_STATES = (DataType.ORDERBOOK, DataType.QUOTES)
"""Of which the newest is all that counts."""


class Heard(NamedTuple):
    """The last message of a topic, as `Receiver.heard` tells it."""

    venue: str
    symbol: str
    data_type: int
    sequence: int
    recv_ns: int
    is_past: bool
    """It belonged to the past with which the subscription began."""


@dataclass(frozen=True, slots=True)
class Want:
    """One subscription, as it is sent to the server, and what of it is asked for again after a reconnect."""

    symbols: tuple[str, ...]
    kinds: tuple[DataType, ...]
    filters: tuple[tuple[str, str], ...]

    @property
    def has_past(self) -> bool:
        """Whether it begins with what happened before."""
        return any(key == "start" for key, _ in self.filters)

    def requests(self, client_id: str, heard: Sequence[Heard] = ()) -> list[wire.SubscriptionRequest]:
        """Return the messages that open a stream, when this was heard on the connection before: each topic goes on
        behind its last message, and what was not heard of yet begins as it would have.
        """
        topics = [topic for topic in heard if topic.sequence]
        is_in_past = self.has_past and (
            any(topic.is_past for topic in topics) or len(topics) < len(self.symbols) * len(self.kinds)
        )
        if not topics or is_in_past:
            # The past comes once more, and what was there before is not handed out again.
            return [self._request(client_id, self.symbols, self.kinds, dict(self.filters))]
        common = {key: value for key, value in self.filters if key != "start"}
        resumed = [
            self._request(client_id, (topic.symbol,), (topic.data_type,), _filters_of(topic, common))
            for topic in topics
        ]
        return [*resumed, self._request(client_id, self.symbols, self.kinds, common)]

    @staticmethod
    def _request(
        client_id: str, symbols: Sequence[str], kinds: Sequence[int], filters: dict[str, str]
    ) -> wire.SubscriptionRequest:
        subscribe = wire.SubscribeRequest(
            client_id=client_id,
            symbols=symbols,
            data_types=[int(kind) for kind in kinds],  # type: ignore[misc]  # numbers are what the wire has
            filters=filters,
        )
        return wire.SubscriptionRequest(subscribe=subscribe)


def _filters_of(topic: Heard, common: dict[str, str]) -> dict[str, str]:
    filters = common | {"venue": topic.venue, "after": f"{topic.sequence}@{topic.recv_ns}"}
    if topic.data_type not in _STATES:
        # Asked for what cannot be conflated alone, these are refused.
        filters.pop("conflate_ms", None)
        if filters.get("overflow") == "conflate":
            del filters["overflow"]
    return filters


def parse_types(types: str | DataType | Iterable[str | DataType]) -> tuple[DataType, ...]:
    """Return the data types of names like `trades`, `orderbook`, `quotes`, `candles_1m`, `funding_rates`.

    Raises: ConfigurationError for a name that means nothing, with the nearest that does.
    """
    if isinstance(types, (str, DataType)):
        types = [types]
    return tuple(dict.fromkeys(_parse_type(kind) for kind in types))


def _parse_type(kind: str | DataType) -> DataType:
    if isinstance(kind, DataType):
        return kind
    name = kind.strip().lower()
    known = {member.name.lower(): member for member in DataType} | _ALIASES
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? Known" if near else "known"
    names = ", ".join(member.name.lower() for member in DataType)
    raise ConfigurationError(f"types has {kind!r}, which is no data type; {hint}: {names}")


def build_want(
    symbols: str | Iterable[str],
    types: str | DataType | Iterable[str | DataType],
    *,
    venue: str | None,
    depth: int | None,
    conflate_ms: int | None,
    overflow: Overflow | None,
    batch: int,
    heartbeat_ms: int,
    start: str | int | None = None,
) -> Want:
    """Check what can be checked here; the server checks the rest and says so.

    Raises: ConfigurationError for no symbols, or a data type that does not exist.
    """
    named = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    if not named:
        raise ConfigurationError('symbols is empty; name some, like ["BTCUSDT"], or "*" for all configured ones')
    options = {
        "venue": venue,
        "depth": depth,
        "conflate_ms": conflate_ms,
        "overflow": overflow,
        "batch": batch if batch > 1 else None,
        "heartbeat_ms": heartbeat_ms or None,
        "start": start,
    }
    filters = tuple((key, str(value)) for key, value in options.items() if value is not None)
    return Want(named, parse_types(types), filters)

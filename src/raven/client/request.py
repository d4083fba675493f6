"""From the arguments of `subscribe` to a `SubscribeRequest`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from raven.errors import ConfigurationError
from raven.proto import subscription_pb2 as wire
from raven.topics import DataType

Overflow: TypeAlias = Literal["gap", "conflate", "disconnect"]

# Twenty times the rate of single messages (0.85 M instead of 45 k records/s) for about 20 µs more delay at the median,
# at 10,000 trades/s on two busy cores; larger batches gain little (benches/grpc_python_client.py). Nothing waits for a
# batch to fill.
DEFAULT_BATCH = 256
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


@dataclass(frozen=True, slots=True)
class Want:
    """One subscription, as it is sent to the server, and sent again after a reconnect."""

    symbols: tuple[str, ...]
    kinds: tuple[DataType, ...]
    filters: tuple[tuple[str, str], ...]

    def live(self) -> Want:
        """Return the same without the past: what a stream asks for that had it and was lost."""
        return replace(self, filters=tuple(pair for pair in self.filters if pair[0] != "start"))

    def message(self, client_id: str) -> wire.SubscriptionRequest:
        """Return the first message of a stream."""
        subscribe = wire.SubscribeRequest(
            client_id=client_id,
            symbols=self.symbols,
            data_types=[kind.value for kind in self.kinds],  # type: ignore[misc]  # numbers are what the wire has
            filters=dict(self.filters),
        )
        return wire.SubscriptionRequest(subscribe=subscribe)


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

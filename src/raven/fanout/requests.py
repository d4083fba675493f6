"""What subscribers ask for and what they are told, as plain values: no protocol is known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from raven.fanout.data_types import parse_data_types
from raven.fanout.filters import Filters, parse_filters
from raven.fanout.limits import Limits
from raven.fanout.refusal import Refused, Status
from raven.topics import DataType

EVERY_SYMBOL = "*"
_MOST_SYMBOLS = 1000


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Ask for data; the fields are those of `SubscribeRequest`."""

    client_id: str = ""
    symbols: Sequence[str] = ()
    data_types: Sequence[int] = ()
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Ask for less; no symbols means every symbol, no data types every data type, no venue every venue."""

    client_id: str = ""
    symbols: Sequence[str] = ()
    data_types: Sequence[int] = ()
    venue: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Say "still here"; the first one with a client id also joins the stream to that client."""

    client_id: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """The fields of `HistoricalDataRequest`."""

    symbols: tuple[str, ...]
    data_types: tuple[int, ...]
    start_ms: int
    end_ms: int
    limit: int

    def checked(self) -> list[tuple[str, DataType]]:
        """Return symbols and types. Raises: Refused INVALID_ARGUMENT naming the field that is wrong."""
        if not self.symbols or len(self.symbols) > _MOST_SYMBOLS or not all(self.symbols):
            raise Refused(
                Status.INVALID_ARGUMENT, f"symbols has {len(self.symbols)} entries; name 1 to {_MOST_SYMBOLS} of them"
            )
        kinds = parse_data_types(self.data_types)
        if not kinds:
            raise Refused(Status.INVALID_ARGUMENT, "data_types is empty; name at least one, like TRADES")
        for name, value in (("start_time", self.start_ms), ("end_time", self.end_ms), ("limit", self.limit)):
            if value < 0:
                raise Refused(Status.INVALID_ARGUMENT, f"{name} is {value}; use 0 for none, or more")
        if self.end_ms and self.end_ms <= self.start_ms:
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"end_time {self.end_ms} is not after start_time {self.start_ms}; the range is [start, end), in ms",
            )
        symbols = dict.fromkeys(symbol.upper() for symbol in self.symbols)
        return [(symbol, kind) for symbol in symbols for kind in kinds]


@dataclass(frozen=True, slots=True)
class Answer:
    """What `SubscribeResponse` and `UnsubscribeResponse` carry."""

    success: bool
    message: str
    topics: tuple[str, ...]
    status: int = 0
    """gRPC status of what could not be had, 0 for none."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A subscribe request that passed every check that needs no look at the market."""

    client_id: str
    symbols: tuple[str, ...]
    """Upper case, each once; `*` stands for every configured symbol."""
    kinds: tuple[DataType, ...]
    filters: Filters

    @property
    def only_joins(self) -> bool:
        """Whether it names no topic: it then joins its stream to a client and sets the stream's options."""
        return not self.symbols and not self.kinds


def parse_subscribe(request: Subscribe, limits: Limits, default_depth: int = 20) -> Wish:
    """Check a subscribe request. A request without symbols and data types is returned as one that `only_joins`.

    Raises: Refused with a message that names the value, what is allowed, and what to do.
    """
    limits.check_client_id(request.client_id)
    limits.check_symbols(request.symbols)
    limits.check_filters(request.filters)
    if not request.symbols and request.data_types:
        raise Refused(
            Status.INVALID_ARGUMENT,
            "symbols is empty; name some, like 'BTCUSDT', or '*' for every symbol this server collects",
        )
    kinds = parse_data_types(request.data_types) if request.symbols else ()
    filters = parse_filters(request.filters, kinds, default_depth)
    if filters.after is not None and (len(request.symbols), len(kinds)) != (1, 1):
        raise Refused(
            Status.INVALID_ARGUMENT,
            f"filter 'after' belongs to one topic, and this request names {len(request.symbols)} symbols and "
            f"{len(kinds)} data types; send one request for each",
        )
    return Wish(request.client_id, tuple(dict.fromkeys(symbol.upper() for symbol in request.symbols)), kinds, filters)


@dataclass(frozen=True, slots=True)
class Named:
    """The topics that an unsubscribe request means; what is empty means all."""

    symbols: frozenset[str]
    """Upper case."""
    kinds: frozenset[int]
    venue: str


def parse_unsubscribe(request: Unsubscribe, limits: Limits) -> Named:
    """Check an unsubscribe request. Raises: Refused INVALID_ARGUMENT."""
    limits.check_client_id(request.client_id)
    limits.check_symbols(request.symbols)
    known = {kind.value for kind in DataType}
    for number in request.data_types:
        if number not in known:
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"data_types has {number}, which names nothing; leave data_types empty to unsubscribe from every kind",
            )
    symbols = (
        frozenset() if EVERY_SYMBOL in request.symbols else frozenset(symbol.upper() for symbol in request.symbols)
    )
    return Named(symbols, frozenset(request.data_types), request.venue)

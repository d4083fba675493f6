"""The modular dialect: which data types its kinds stand for, which differs from service to service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from raven.fanout.refusal import Refused, Status
from raven.topics import DataType, StreamKind

__all__ = ["SOURCE", "Dialect", "aggregator", "parse_kind"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a service offers under the kinds of the modular dialect."""

    kinds: Mapping[StreamKind, DataType]
    """What each kind stands for; others are not offered."""
    unspecified: tuple[DataType, ...]
    """What no kind stands for: `StartCollection` collects all of these, `Subscribe` streams the first."""

    def collected(self, kind: StreamKind) -> tuple[DataType, ...]:
        """Return what is collected when this kind is asked for. Raises: Refused UNIMPLEMENTED if it is not offered."""
        return self.unspecified if kind is StreamKind.UNSPECIFIED else (self.streamed(kind),)

    def streamed(self, kind: StreamKind) -> DataType:
        """Return what a subscriber to this kind is sent. Raises: Refused UNIMPLEMENTED if it is not offered."""
        if kind is StreamKind.UNSPECIFIED:
            return self.unspecified[0]
        if kind not in self.kinds:
            raise Refused(
                Status.UNIMPLEMENTED, f"{kind.name} is not offered by this service; it offers: {_list(self.kinds)}"
            )
        return self.kinds[kind]


def parse_kind(number: int) -> StreamKind:
    """Return the kind of a number on the wire. Raises: Refused INVALID_ARGUMENT when it names nothing."""
    try:
        return StreamKind(number)
    except ValueError:
        message = f"data_type is {number}, which is no StreamKind; expected one of {_list(StreamKind)}"
        raise Refused(Status.INVALID_ARGUMENT, message) from None


def _list(kinds: Iterable[StreamKind]) -> str:
    return ", ".join(f"{kind.name} ({kind.value})" for kind in kinds)


SOURCE = Dialect(
    {
        StreamKind.ORDERBOOK: DataType.ORDERBOOK,
        StreamKind.TRADE: DataType.TRADES,
        StreamKind.CANDLE: DataType.CANDLES_1M,
        StreamKind.FUNDING: DataType.FUNDING_RATES,
        StreamKind.LIQUIDATION: DataType.LIQUIDATIONS,
    },
    unspecified=(DataType.TRADES, DataType.ORDERBOOK),
)
"""What a service that hears a venue offers."""


def aggregator(data_type: DataType) -> Dialect:
    """Return what a service offers that makes bars of one kind: these, whether they are asked for by name or not."""
    return Dialect({StreamKind.CANDLE: data_type}, unspecified=(data_type,))

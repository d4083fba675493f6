"""The modular dialect: which data types its kinds stand for, which differs from service to service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raven.fanout.refusal import Refused, Status
from raven.topics import DataType, StreamKind

__all__ = ["SOURCE", "Dialect", "aggregator"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a service offers under the kinds of the modular dialect."""

    kinds: Mapping[StreamKind, DataType]
    """What each kind stands for; others are not offered."""
    unspecified: tuple[DataType, ...]
    """What no kind stands for: `StartCollection` collects all of these, `Subscribe` streams the first."""

    def collected(self, kind: int) -> tuple[DataType, ...]:
        """Return what is collected when this kind is asked for.

        Raises: Refused INVALID_ARGUMENT for a number that is no kind, UNIMPLEMENTED for one that is not offered.
        """
        return self.unspecified if kind == StreamKind.UNSPECIFIED else (self.streamed(kind),)

    def streamed(self, kind: int) -> DataType:
        """Return what a subscriber to this kind is sent. Raises: see `collected`."""
        if kind == StreamKind.UNSPECIFIED:
            return self.unspecified[0]
        offered = ", ".join(f"{one.name} ({one.value})" for one in self.kinds)
        try:
            known = StreamKind(kind)
        except ValueError:
            message = f"data_type is {kind}, which is no StreamKind; this service offers: {offered}"
            raise Refused(Status.INVALID_ARGUMENT, message) from None
        if known not in self.kinds:
            raise Refused(Status.UNIMPLEMENTED, f"{known.name} is not offered by this service; it offers: {offered}")
        return self.kinds[known]


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

"""What can be collected and subscribed to: the data types of the wire, and the name of one stream of one symbol."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum

from raven.errors import DataValidation

__all__ = ["Collected", "DataType", "StreamKind", "Topic"]


class DataType(IntEnum):
    """`raven.DataType` of `proto/market_data.proto`: 0 to 6 are the documented ones, ours continue from 100."""

    ORDERBOOK = 0
    """The best levels of both sides."""
    TRADES = 1
    """Every fill, or aggregate of fills, as the venue streams them."""
    CANDLES_1M = 2
    """Candles of one minute, by open time."""
    CANDLES_5M = 3
    """Candles of five minutes, by open time."""
    CANDLES_1H = 4
    """Candles of one hour, by open time."""
    FUNDING_RATES = 5
    """Mark price, index price and funding of perpetual futures."""
    WALLET_UPDATES = 6
    """Balances of an account."""
    QUOTES = 100
    """Best bid and ask as the venue sends them, faster than the book."""
    LIQUIDATIONS = 101
    """Forced orders; venues publish a sample, not totals."""
    TIME_BARS = 110
    """Bars made by Raven, cut by the clock; those of one, five and sixty minutes are `CANDLES_1M` and so on."""
    TICK_BARS = 111
    """Bars of so many trades."""
    VOLUME_BARS = 112
    """Bars of so much base volume."""
    QUOTE_VOLUME_BARS = 113
    """Bars of so much quote volume, also called dollar bars."""
    TICK_IMBALANCE_BARS = 114
    """Bars that end when buys outnumber sells, or the reverse, by more than expected."""
    VOLUME_IMBALANCE_BARS = 115
    """The same by base volume."""
    TICK_RUN_BARS = 116
    """Bars that end when one side alone has more trades than expected."""
    VOLUME_RUN_BARS = 117
    """The same by base volume."""
    VPIN_BARS = 118
    """Buckets of equal volume with their VPIN."""

    @classmethod
    def parse(cls, text: str) -> DataType:
        """Return the type of a name in any case, e.g. `orderbook`, or of its number.

        Raises: DataValidation for a name or number that is not in the contract.
        """
        try:
            return cls(int(text)) if text.strip().lstrip("-").isdigit() else cls[text.strip().upper()]
        except (KeyError, ValueError):
            known = [kind.name.lower() for kind in cls]
            near = get_close_matches(text.strip().lower(), known, 1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise DataValidation(f"unknown data type {text!r}; {meant}expected one of {', '.join(known)}") from None


class StreamKind(IntEnum):
    """`raven.StreamKind` of `proto/control.proto`: how the modular dialect numbers data types."""

    UNSPECIFIED = 0
    """What the service is there for."""
    ORDERBOOK = 1
    TRADE = 2
    CANDLE = 3
    """A bar, of whatever kind the service makes."""
    FUNDING = 4
    LIQUIDATION = 7
    OPEN_INTEREST = 8


@dataclass(frozen=True, slots=True, order=True)
class Topic:
    """One stream of records of one symbol at one venue; `depth` is the number of book levels, 0 for anything else."""

    venue: str
    symbol: str
    data_type: DataType
    depth: int = 0

    @property
    def name(self) -> str:
        """Its name to the outside, e.g. `binance_futures.BTCUSDT.TRADES`; depth is an option, not a name."""
        return f"{self.venue}.{self.symbol}.{self.data_type.name}"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def parse(cls, name: str) -> Topic:
        """Return the topic of a name as given by `name`.

        Raises: DataValidation when the name has not exactly the three parts `venue.symbol.data_type`.
        """
        parts = name.split(".")
        if len(parts) != 3 or not all(parts):
            raise DataValidation(f"topic {name!r} should read venue.SYMBOL.DATA_TYPE, as venue.BTCUSDT.TRADES")
        return cls(parts[0], parts[1], DataType.parse(parts[2]))


@dataclass(frozen=True, slots=True)
class Collected:
    """One topic that is collected now."""

    topic: Topic
    holders: AbstractSet[str]
    """Who wants it; nobody while it lingers."""
    status: str
    """`live`, or in one word why not: `connecting`, `waiting` (for the first record), `resyncing`, `stale`, `silent`,
    `refused`, `lingering` (nobody wants it any more), …
    """

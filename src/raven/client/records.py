"""What a subscription yields: one small immutable record per event.

Prices and quantities are floats in the units of the venue (quote currency; base currency or contracts), as the wire
carries them. Times are integers and say their unit: `exchange_ns` is when the venue says it happened, `recv_ns` when
the server received it, both nanoseconds since 1970. `sequence` counts by one per topic and server; `quality` says what
to trust.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from raven.records import Flags
from raven.topics import DataType

Level: TypeAlias = tuple[float, float]
"""Price and quantity."""
Side: TypeAlias = Literal["buy", "sell"]


class Record(msgspec.Struct, frozen=True, gc=False):
    """What every market record has."""

    venue: str
    """Where it comes from, e.g. `binance_futures`."""
    symbol: str
    """The venue's own symbol, e.g. `BTCUSDT`."""
    exchange_ns: int
    """When the venue says it happened, ns since 1970."""
    recv_ns: int
    """When the server received it, ns since 1970."""
    sequence: int
    """Per topic and server, by one."""
    flags: int
    """Quality bits as on the wire; `quality` names them."""

    @property
    def quality(self) -> Flags:
        """The quality flags: snapshot, stale, after gap, backfilled, resyncing, skipped; none set means all is well."""
        return Flags(self.flags)

    @property
    def is_trustworthy(self) -> bool:
        """Whether it is current and exact: neither stale nor from a book that is being resynced."""
        return not self.flags & (Flags.STALE | Flags.RESYNCING)


class Trade(Record, frozen=True, gc=False):
    """One fill, or one aggregate of fills, as the venue streams them."""

    price: float
    quantity: float
    side: Side
    """What the taker did."""
    trade_id: str
    """The venue's id, of the single trade or of the aggregate."""

    def __str__(self) -> str:
        """Show what happened; `repr` shows every field."""
        marks = f", {self.quality.name}" if self.flags else ""
        return f"Trade({self.symbol} {self.side} {self.quantity:g} @ {self.price}, id {self.trade_id}{marks})"


class OrderBook(Record, frozen=True, gc=False):
    """The best levels of both sides: always the whole state, never a change of it."""

    bids: tuple[Level, ...]
    """`(price, quantity)`, best (highest) first."""
    asks: tuple[Level, ...]
    """`(price, quantity)`, best (lowest) first."""
    update_id: int
    """The venue's id of the last update in it."""
    unproven_bids: int = 0
    """So many of the last bids lie beyond the prices that a snapshot proved: levels between them may be unknown."""
    unproven_asks: int = 0
    """The same for asks."""

    @property
    def best_bid(self) -> Level | None:
        """The highest bid, None when there is none."""
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask, None when there is none."""
        return self.asks[0] if self.asks else None

    @property
    def mid(self) -> float | None:
        """The middle of best bid and best ask, None when a side is empty."""
        return (self.bids[0][0] + self.asks[0][0]) / 2 if self.bids and self.asks else None

    @property
    def spread(self) -> float | None:
        """Best ask minus best bid, None when a side is empty."""
        return self.asks[0][0] - self.bids[0][0] if self.bids and self.asks else None

    def __str__(self) -> str:
        """Show the touch and how deep it goes; `repr` shows every level."""
        bid = "{1:g} @ {0}".format(*self.bids[0]) if self.bids else "none"
        ask = "{1:g} @ {0}".format(*self.asks[0]) if self.asks else "none"
        marks = f", {self.quality.name}" if self.flags else ""
        return f"OrderBook({self.symbol} bid {bid}, ask {ask}, {len(self.bids)}+{len(self.asks)} levels{marks})"


class Quote(Record, frozen=True, gc=False):
    """Best bid and ask as the venue sends them, faster than the book."""

    bid_price: float
    bid_quantity: float
    ask_price: float
    ask_quantity: float
    update_id: int


class Candle(Record, frozen=True, gc=False):
    """One bar, sent when it is over: the venue's own, or, with more fields, a `Bar` that Raven made of trades."""

    open_time_ms: int
    """Milliseconds since 1970."""
    interval: str
    """`1m`, `5m`, `1h`; of other bars the kind and its parameters, `tick_500`."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    """Base currency or contracts."""
    buy_ticks: int
    """Trades whose taker bought; 0 where the venue does not say."""
    sell_ticks: int
    total_ticks: int


class Bar(Candle, frozen=True, gc=False):
    """A candle that Raven made of trades. `docs/reference/bars.md` has the rules.

    A correction is a bar with the same `open_time_ms`, `first_trade_id` and `part` as the one it replaces, and a higher
    `revision`.
    """

    close_time_ms: int
    """The last millisecond that belongs to it, since 1970."""
    quote_volume: float
    """Sum of price times quantity."""
    vwap: float
    """Quote volume by volume; the last price when nothing was traded."""
    buy_volume: float
    """Volume whose taker bought."""
    sell_volume: float
    theta: float
    """What the rule summed up: the imbalance of imbalance bars, the VPIN of VPIN; else buys less sells."""
    threshold: float
    """What theta had to exceed; 0 for rules without one."""
    first_trade_id: int
    """The venue's id, 0 where trades have none."""
    last_trade_id: int
    complete: bool
    """It began and ended by its rule, and no trade is missing."""
    gap_count: int
    """Trades that may be missing from it."""
    revision: int
    """How often it was corrected."""
    part: int
    """How many bars its first trade was in before it: above 0 only where prints are split."""
    warming_up: bool
    """The averages of its rule still carry more of what was configured than of what was seen."""
    config_hash: int
    """Tells rules apart: kind and all parameters as a number."""

    def __str__(self) -> str:
        """Show what a chart shows; `repr` shows every field."""
        prices = f"{self.open} {self.high} {self.low} {self.close}"
        doubts = "" if self.complete else f", incomplete, {self.gap_count} trades missing"
        revised = f", revision {self.revision}" if self.revision else ""
        return f"Bar({self.symbol} {self.interval} {prices}, volume {self.volume:g}{doubts}{revised})"


class Funding(Record, frozen=True, gc=False):
    """Mark price and funding of a perpetual future."""

    rate: float
    """Of one funding period, as a fraction: 0.0001 is 1 basis point."""
    next_funding_ms: int
    """Milliseconds since 1970."""
    mark_price: float
    index_price: float
    """0 where the venue sends none."""


class Gap(Record, frozen=True, gc=False):
    """A hole in a topic, in the place where the missing records would have been."""

    data_type: DataType
    """What the topic carries."""
    count: int
    """Records lost; 0 means that nobody can know."""
    first_id: str
    """The venue's id of the first one lost, empty when unknown."""
    last_id: str
    reason: str
    """`slow_reader`, `venue_gap`, `reconnect`, `rejected`, `journal` or `upstream`."""
    repaired: bool
    """Whether what was missing has been delivered meanwhile."""


class Reconnected(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The connection to the server was lost and is back. What happened in between is missing from every topic."""

    address: str
    reason: str
    """Why the connection was lost."""
    downtime_s: float
    """Seconds from the loss to the first message after it."""
    attempts: int


Event: TypeAlias = Trade | OrderBook | Quote | Candle | Bar | Funding | Gap | Reconnected

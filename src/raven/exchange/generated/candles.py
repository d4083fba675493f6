"""Candles of one symbol: built trade by trade, closed by time, kept for REST.

Intervals of a minute and more are folded from one-minute candles when somebody asks for them first, so that an interval
nobody looks at costs nothing.
"""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from raven.exchange.instruments import Instrument, decimal_text
from raven.exchange.markets import INTERVALS_NS, Market
from raven.exchange.timeline import SECOND
from raven.exchange.wire.frames import KlineView, Trade

# The first Monday after 1970-01-01, a Thursday: weekly candles open on Mondays.
_WEEK_OFFSET_NS = 4 * 24 * 3600 * SECOND
_HISTORY = 1500


def candle_bounds(interval: str, time_ns: int) -> tuple[int, int]:
    """Return when the candle that holds a time opens, and when the next one does."""
    if interval == "1M":
        moment = datetime.fromtimestamp(time_ns // SECOND, UTC)
        first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
        following = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
        return int(first.timestamp()) * SECOND, int(following.timestamp()) * SECOND
    length = INTERVALS_NS[interval]
    offset = _WEEK_OFFSET_NS if interval == "1w" else 0
    opened = (time_ns - offset) // length * length + offset
    return opened, opened + length


@dataclass(slots=True)
class Candle:
    """One candle; volumes are exact integers (lots, and the product of written price and quantity units)."""

    open_ns: int
    close_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    quote: int = 0
    taker_volume: int = 0
    taker_quote: int = 0
    trades: int = 0
    first_id: int = -1
    last_id: int = -1

    def merge(self, other: "Candle") -> None:
        """Add a later candle to this one."""
        if not other.trades:
            return
        if not self.trades:
            self.first_id = other.first_id
            self.open = other.open
            self.high, self.low = other.high, other.low
        self.high, self.low, self.close = max(self.high, other.high), min(self.low, other.low), other.close
        self.volume += other.volume
        self.quote += other.quote
        self.taker_volume += other.taker_volume
        self.taker_quote += other.taker_quote
        self.trades += other.trades
        self.last_id = other.last_id


class CandleSeries:
    """The candles of one symbol and interval: the open one and the last closed ones."""

    def __init__(
        self, instrument: Instrument, interval: str, time_ns: int, price: int, history: int = _HISTORY
    ) -> None:
        self.instrument = instrument
        self.interval = interval
        self.closed: deque[Candle] = deque(maxlen=history)
        self.open = self._fresh(time_ns, price)
        if instrument.market is Market.COINM:
            # COIN-M counts contracts in `v` and the base asset in `q`, to eight digits.
            self._quote_factor: int = instrument.contract_size * 10 ** (8 + instrument.price_decimals)
        self._quote_decimals = instrument.price_decimals + instrument.quantity_decimals

    def add(self, trade: Trade) -> None:
        """Count a trade; earlier intervals are closed first."""
        if trade.time_ns >= self.open.close_ns:
            self.roll(trade.time_ns)
        candle = self.open
        price = trade.price
        if not candle.trades:
            candle.open = candle.high = candle.low = price
            candle.first_id = trade.trade_id
        elif price > candle.high:
            candle.high = price
        elif price < candle.low:
            candle.low = price
        candle.close = price
        candle.last_id = trade.trade_id
        candle.trades += 1
        candle.volume += trade.quantity
        quote = self.quote_of(price, trade.quantity)
        candle.quote += quote
        if not trade.taker_sells:
            candle.taker_volume += trade.quantity
            candle.taker_quote += quote

    def roll(self, time_ns: int) -> list[Candle]:
        """Close every candle that ended at or before a time and return them; intervals without trades count too."""
        ended: list[Candle] = []
        while time_ns >= self.open.close_ns:
            ended.append(self.open)
            self.closed.append(self.open)
            self.open = self._fresh(self.open.close_ns, self.open.close)
        return ended

    def fold(self, minutes: "CandleSeries") -> None:
        """Take over the history that one-minute candles hold."""
        for minute in (*minutes.closed, minutes.open):
            if minute.open_ns < self.open.open_ns:
                opened, closes = candle_bounds(self.interval, minute.open_ns)
                if not self.closed or self.closed[-1].open_ns != opened:
                    self.closed.append(Candle(opened, closes, minute.open, minute.high, minute.low, minute.close))
                self.closed[-1].merge(minute)
            else:
                self.open.merge(minute)

    def view(self, candle: Candle, closed: bool) -> KlineView:
        """Show a candle as a frame does."""
        quantity = self.instrument.quantity_text
        return KlineView(
            candle.open_ns,
            candle.close_ns,
            self.interval,
            candle.first_id,
            candle.last_id,
            candle.open,
            candle.close,
            candle.high,
            candle.low,
            quantity(candle.volume),
            candle.trades,
            closed,
            self.quote_text(candle.quote),
            quantity(candle.taker_volume),
            self.quote_text(candle.taker_quote),
        )

    def quote_text(self, quote: int) -> str:
        """Write a quote volume: eight digits on spot and COIN-M, all that occur on USD-M."""
        market = self.instrument.market
        if market is Market.COINM:
            return decimal_text(quote, 8)
        if market is Market.SPOT:
            return decimal_text(quote // 10 ** (self._quote_decimals - 8), 8)
        return decimal_text(quote, self._quote_decimals)

    def quote_of(self, price: int, quantity: int) -> int:
        """Return the exact quote volume of a fill (COIN-M: the base volume, cut at eight digits)."""
        if self.instrument.market is Market.COINM:
            return quantity * self._quote_factor // (price * self.instrument.tick_units)
        return price * self.instrument.tick_units * quantity * self.instrument.lot_units

    def _fresh(self, time_ns: int, price: int) -> Candle:
        opened, closes = candle_bounds(self.interval, time_ns)
        return Candle(opened, closes, price, price, price, price)

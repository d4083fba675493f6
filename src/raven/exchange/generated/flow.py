"""Who trades: an order-flow model that decides, order by order, what happens next to one symbol's book.

Arrivals excite further arrivals (a Hawkes process with an exponential kernel), so activity comes in bursts. Limit
orders land at a distance that follows a power law, cancellations prefer the touch, market orders have heavy-tailed
sizes and a side that persists, as a large order that is worked in pieces does. Every draw comes from one seeded
generator per symbol.
"""

import math
import random
from dataclasses import dataclass

from raven.exchange.generated.matching import ASK, BID, Fill, MatchingBook
from raven.exchange.instruments import Instrument
from raven.exchange.timeline import SECOND

# Share of arrivals that earlier arrivals cause, and how fast an arrival's influence fades. 0.7 makes counts per second
# vary ten times as much as those of independent arrivals, which is about what recordings of busy symbols show.
_BRANCHING = 0.7
_DECAY_PER_SECOND = 20.0
# One order in fourteen takes; recordings of BTCUSDT have about one fill for three changes of the best prices.
_MARKET_SHARE = 0.07
_SIDE_PERSISTENCE = 0.85
_SWEEP_SHARE = 0.02
_LIQUIDATION_SHARE = 0.002
_MAX_QUEUE = 40
# What informed traders believe the price should be wanders with this standard deviation per square root of a second,
# relative to the price: 5 basis points a minute, a third of a per cent an hour, as on a calm day of BTCUSDT.
_VOLATILITY = 0.00006
# The belief is drawn back to the opening price, so that a run of days neither reaches zero nor leaves the book's depth.
_REVERSION_PER_SECOND = 0.0001


@dataclass(slots=True)
class Action:
    """What one order did to the book."""

    touched: list[tuple[int, int]]
    """Changed levels, `(side, price)`."""
    fills: list[Fill]
    """Resting orders that were met, in order; empty unless the order took."""
    taker_sells: bool = False
    liquidation: bool = False
    requested: int = 0
    """Lots that a taking order asked for."""


class OrderFlow:
    """The stream of orders of one symbol."""

    def __init__(self, instrument: Instrument, seed: str, rate: float, levels: int) -> None:
        self._instrument = instrument
        self._chance = random.Random(seed)
        self._levels = levels
        self._base_rate = max(rate, 1e-6) * (1.0 - _BRANCHING)
        self._excitation = 0.0
        self._buying = self._chance.random() < 0.5
        self._span_ticks = 0
        self._belief = float(instrument.start_ticks)

    def fill_book(self, book: MatchingBook) -> None:
        """Give the book its opening depth: dense at the touch, thinner and with larger gaps further out."""
        chance = self._chance
        start = self._instrument.start_ticks
        for side in (BID, ASK):
            price = start if side == BID else start + 1
            direction = -1 if side == BID else 1
            for position in range(self._levels):
                if price < 1:
                    break
                for _ in range(1 + int(chance.random() * 2.2)):
                    book.sides[side].place(price, self._size(1.0 + position / 200))
                # Gaps grow with distance, but a cheap symbol must not run out of prices below the touch.
                gap = 1 + int(chance.expovariate(1.0) * min(1.0 + position / 40, start / self._levels / 4))
                price += direction * gap
            self._span_ticks = max(self._span_ticks, abs(price - start))

    def next_delay_ns(self) -> int:
        """Draw the time to the next order (thinning, after Ogata)."""
        chance = self._chance
        excitation = self._excitation
        waited = 0.0
        while True:
            bound = self._base_rate + excitation
            step = chance.expovariate(bound)
            waited += step
            excitation *= math.exp(-_DECAY_PER_SECOND * step)
            if chance.random() * bound <= self._base_rate + excitation:
                break
        self._excitation = excitation + _BRANCHING * _DECAY_PER_SECOND
        start = self._instrument.start_ticks
        self._belief += start * _VOLATILITY * math.sqrt(waited) * chance.gauss(0.0, 1.0)
        self._belief += (start - self._belief) * _REVERSION_PER_SECOND * waited
        return max(1, int(waited * SECOND))

    def act(self, book: MatchingBook, may_liquidate: bool) -> Action:
        """Let the next order arrive and change the book; say what changed."""
        chance = self._chance
        draw = chance.random()
        # Where the belief lies outside the spread, informed traders act: they take what is mispriced, makers step back
        # from it, and others follow with better prices.
        off = self._belief - book.asks.best, book.bids.best - self._belief
        if max(off) > 0.0 and draw < min(0.6, 0.05 + max(off) / 200):
            return self._correct(book, buying=off[0] > 0.0)
        draw = chance.random()
        if draw < _MARKET_SHARE:
            return self._take(book, may_liquidate and chance.random() < _LIQUIDATION_SHARE)
        side = BID if chance.random() < 0.5 else ASK
        book_side = book.sides[side]
        count = len(book_side.ranks)
        surplus = (count - self._levels) / self._levels
        if chance.random() < 0.5 - max(-0.4, min(0.4, 2.0 * surplus)):
            return self._place(book, side)
        if count < 8:
            return self._place(book, side)
        return self._cancel(book, side, surplus)

    def _size(self, factor: float = 1.0) -> int:
        lots = self._instrument.order_lots * factor
        return max(1, min(int(lots * 0.25 * self._chance.paretovariate(1.2)), int(lots * 100)))

    def _place(self, book: MatchingBook, side: int) -> Action:
        chance = self._chance
        own, spread = book.sides[side], book.spread_ticks
        draw = chance.random()
        deficit = 1.0 - len(own.ranks) / self._levels
        if deficit > 0.0 and chance.random() < min(0.6, 10.0 * deficit):
            # Orders concentrate at the touch; the depth behind it would slowly be cancelled away without these.
            distance = 1 + int(self._span_ticks * chance.random() ** 1.5)
        elif spread > 1 and draw < 0.6:
            # Makers close a spread around what they believe, never through the other side.
            shy = int(chance.expovariate(0.7))
            better = int(self._belief) - shy - own.best if side == BID else own.best - int(self._belief) - 1 - shy
            distance = -max(1, min(better, spread - 1))
        elif draw < 0.65:
            distance = 0
        else:
            distance = 1 + min(int(2.0 * (chance.random() ** -0.9 - 1.0)), self._span_ticks)
        price = own.best - distance if side == BID else own.best + distance
        price = max(1, price)
        queue = own.queues.get(price * own.sign)
        if queue is not None and len(queue) >= _MAX_QUEUE:
            own.cancel(price, int(chance.random() * len(queue)))
        else:
            own.place(price, self._size())
        return Action([(side, price)], [])

    def _cancel(self, book: MatchingBook, side: int, surplus: float) -> Action:
        chance = self._chance
        own = book.sides[side]
        position = 0 if surplus > 0.02 else len(own.ranks) - 1 - int(len(own.ranks) * chance.random() ** 4)
        price = own.ranks[position] * own.sign
        queue = own.queues[price * own.sign]
        own.cancel(price, int(chance.random() * len(queue)))
        return Action([(side, price)], [])

    def _correct(self, book: MatchingBook, *, buying: bool) -> Action:
        chance = self._chance
        draw = chance.random()
        own, other = (BID, ASK) if buying else (ASK, BID)
        if draw < 0.4:
            self._buying = buying
            return self._take(book, False)
        if draw < 0.7 and len(book.sides[other].ranks) > 8:
            price = book.sides[other].best
            book.sides[other].cancel(price, 0)
            return Action([(other, price)], [])
        step = min(1, book.spread_ticks - 1)
        price = max(1, book.sides[own].best + (step if buying else -step))
        book.sides[own].place(price, self._size())
        return Action([(own, price)], [])

    def _take(self, book: MatchingBook, liquidation: bool) -> Action:
        chance = self._chance
        if chance.random() >= _SIDE_PERSISTENCE:
            self._buying = chance.random() < 0.5
        side = ASK if self._buying else BID
        own = book.sides[side]
        sweeps = liquidation or chance.random() < _SWEEP_SHARE
        # Takers look at the depth before they send: most stay within the best few levels, a sweep goes further.
        visible = sum(own.totals[rank] for rank in own.ranks[-(20 if sweeps else 4) :])
        requested = max(1, min(self._size(10.0 if sweeps else 1.0), visible * 2 // 3))
        fills = own.take(requested)
        touched = list(dict.fromkeys((side, fill.price) for fill in fills))
        return Action(touched, fills, not self._buying, liquidation, requested)

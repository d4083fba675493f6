"""A matching book in exact integers: price-time priority, one queue of orders per price.

Trades, best prices and depth all come from this one book, so the streams of the generated market agree by construction.
"""

from bisect import bisect_left, insort
from typing import NamedTuple

BID = 0
"""The buyers' side."""
ASK = 1
"""The sellers' side."""


class Fill(NamedTuple):
    """One resting order met by a taker, wholly or in part."""

    price: int
    """Ticks."""
    quantity: int
    """Lots."""


class BookSide:
    """One side. A price is kept as its rank (itself for bids, its negative for asks), so the best is always last."""

    __slots__ = ("queues", "ranks", "sign", "totals")

    def __init__(self, side: int) -> None:
        self.sign = 1 if side == BID else -1
        self.ranks: list[int] = []
        self.totals: dict[int, int] = {}
        self.queues: dict[int, list[int]] = {}

    @property
    def best(self) -> int:
        """The best price in ticks. Raises: IndexError on an empty side."""
        return self.ranks[-1] * self.sign

    def place(self, price: int, quantity: int) -> None:
        """Append an order to the queue at a price."""
        rank = price * self.sign
        if rank in self.totals:
            self.totals[rank] += quantity
            self.queues[rank].append(quantity)
        else:
            insort(self.ranks, rank)
            self.totals[rank] = quantity
            self.queues[rank] = [quantity]

    def cancel(self, price: int, position: int) -> int:
        """Take an order out of the queue at a price and return its size."""
        rank = price * self.sign
        quantity = self.queues[rank].pop(position)
        left = self.totals[rank] - quantity
        if left:
            self.totals[rank] = left
        else:
            self._remove(rank)
        return quantity

    def take(self, quantity: int) -> list[Fill]:
        """Match a market order against this side, best price and oldest order first.

        What finds no counterpart is dropped, as an immediate-or-cancel order would be; the last order is never taken,
        so that there always is a market.
        """
        fills: list[Fill] = []
        while quantity:
            rank = self.ranks[-1]
            queue = self.queues[rank]
            if len(self.ranks) == 1 and self.totals[rank] <= quantity:
                break
            resting = queue[0]
            if resting > quantity:
                queue[0] = resting - quantity
                self.totals[rank] -= quantity
                fills.append(Fill(rank * self.sign, quantity))
                break
            quantity -= resting
            fills.append(Fill(rank * self.sign, resting))
            queue.pop(0)
            if queue:
                self.totals[rank] -= resting
            else:
                self._remove(rank)
        return fills

    def quantity(self, price: int) -> int:
        """Return how much rests at a price, 0 for nothing."""
        return self.totals.get(price * self.sign, 0)

    def levels(self, limit: int) -> list[tuple[int, int]]:
        """Return the best `limit` levels as `(price, quantity)`, best first."""
        sign, totals = self.sign, self.totals
        return [(rank * sign, totals[rank]) for rank in self.ranks[: -limit - 1 : -1]]

    def _remove(self, rank: int) -> None:
        if self.ranks[-1] == rank:
            self.ranks.pop()
        else:
            del self.ranks[bisect_left(self.ranks, rank)]
        del self.totals[rank]
        del self.queues[rank]


class MatchingBook:
    """Both sides of one symbol."""

    __slots__ = ("sides",)

    def __init__(self) -> None:
        self.sides = (BookSide(BID), BookSide(ASK))

    @property
    def bids(self) -> BookSide:
        """The buyers."""
        return self.sides[BID]

    @property
    def asks(self) -> BookSide:
        """The sellers."""
        return self.sides[ASK]

    @property
    def spread_ticks(self) -> int:
        """Best ask minus best bid; at least 1 by construction."""
        return self.sides[ASK].best - self.sides[BID].best

    def top(self) -> tuple[int, int, int, int]:
        """Return best bid, its quantity, best ask, its quantity."""
        bids, asks = self.sides
        bid_rank, ask_rank = bids.ranks[-1], asks.ranks[-1]
        return bid_rank, bids.totals[bid_rank], -ask_rank, asks.totals[ask_rank]

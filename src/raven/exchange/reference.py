"""A plain local book that follows the venue's documented rules, to compare a client's book with.

Slow and simple on purpose: decimal texts in, `decimal.Decimal` inside, nothing clever. It knows nothing of the
exchange.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from raven.exchange.truth import TrueBook


class OutOfSync(Exception):
    """An event does not follow the one before it; the book must be taken anew."""


class ReferenceBook:
    """One symbol's book from depth events and one depth answer, in any order of arrival.

    Spot: drop `u` <= L, then `U` must be at most one above the id reached. Futures: drop `u` < L, the first event must
    span L (or follow it by `pu`), then `pu` must be the previous `u`.
    """

    def __init__(self, symbol: str, *, is_futures: bool) -> None:
        self.symbol = symbol
        self.update_id = 0
        self._is_futures = is_futures
        self._sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
        self._early: list[Mapping[str, Any]] = []
        self._synced = False
        self._spanned = False

    def on_snapshot(self, body: str | bytes) -> None:
        """Take the depth answer. Raises: OutOfSync if the events that waited do not bridge it."""
        answer = json.loads(body)
        self.update_id = answer["lastUpdateId"]
        for side, levels in zip(self._sides, (answer["bids"], answer["asks"]), strict=True):
            side.clear()
            side.update((Decimal(price), Decimal(quantity)) for price, quantity in levels)
        self._synced, self._spanned = True, False
        early, self._early = self._early, []
        for event in early:
            self.on_event(event)

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take a depth event. Raises: OutOfSync when ids are missing."""
        if not self._synced:
            self._early.append(event)
            return
        if event["u"] < self.update_id or (event["u"] == self.update_id and not self._is_futures):
            return
        if not self._follows(event):
            raise OutOfSync(f"{self.symbol}: event {event['U']}..{event['u']} does not follow {self.update_id}")
        self._spanned = True
        for side, changes in zip(self._sides, (event["b"], event["a"]), strict=True):
            for price, quantity in changes:
                if Decimal(quantity):
                    side[Decimal(price)] = Decimal(quantity)
                else:
                    side.pop(Decimal(price), None)
        self.update_id = event["u"]

    def _follows(self, event: Mapping[str, Any]) -> bool:
        if not self._is_futures:
            return bool(event["U"] <= self.update_id + 1)
        if event["pu"] == self.update_id:
            return True
        return not self._spanned and bool(event["U"] <= self.update_id <= event["u"])

    def top(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Return best bid, its quantity, best ask, its quantity. Raises: ValueError on an empty side."""
        bids, asks = self._sides
        bid, ask = max(bids), min(asks)
        return bid, bids[bid], ask, asks[ask]

    def book(self) -> TrueBook:
        """Return the whole book in the form that `Exchange.book` has."""
        bids = tuple(sorted(self._sides[0].items(), reverse=True))
        return TrueBook(self.symbol, self.update_id, bids, tuple(sorted(self._sides[1].items())))

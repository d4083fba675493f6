"""The book of a recorded symbol, as the exchange would have it at that line of the recording."""

import json
from decimal import Decimal

from raven.exchange.truth import TrueBook


class ReplayedBook:
    """The book of one recorded symbol as far as the replay has come; kept as the texts of the recording."""

    def __init__(self, is_futures: bool) -> None:
        self._is_futures = is_futures
        self._sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self._head: dict[str, object] = {}
        self.update_id = 0
        self._waiting: list[bytes] = []
        """Diffs that have been sent and not applied: applied when somebody asks, or when they get many."""

    @property
    def is_known(self) -> bool:
        """Whether the recorded depth answer has been passed."""
        return bool(self._head)

    def start(self, snapshot: bytes) -> None:
        """Begin from a depth answer; diffs that were sent before it and are newer than it count."""
        body = json.loads(snapshot)
        self._sides = (dict(body.pop("bids")), dict(body.pop("asks")))
        self._head = body
        self.update_id = body["lastUpdateId"]
        self._apply()

    def start_anew(self, snapshot: bytes) -> None:
        """Take a later depth answer: the recorder lost its stream, so diffs are missing and the book is wrong.

        An answer older than what the book has taken already changes nothing: the book serves as well.
        """
        if json.loads(snapshot)["lastUpdateId"] > self.update_id:
            self.start(snapshot)

    def add(self, diff: bytes) -> None:
        """Take a diff that has been sent."""
        self._waiting.append(diff)
        if self.is_known and len(self._waiting) >= 500:
            self._apply()

    def _apply(self) -> None:
        waiting, self._waiting = self._waiting, []
        for raw in waiting:
            diff = json.loads(raw)
            if diff["u"] < self.update_id or (diff["u"] == self.update_id and not self._is_futures):
                continue
            for side, changes in zip(self._sides, (diff["b"], diff["a"]), strict=True):
                for price, quantity in changes:
                    if Decimal(quantity):
                        side[price] = quantity
                    else:
                        side.pop(price, None)
            self.update_id = diff["u"]
            self._head |= {"lastUpdateId": diff["u"]} | ({"E": diff["E"], "T": diff["T"]} if self._is_futures else {})

    def snapshot(self, limit: int) -> str:
        """Write a depth answer of this moment."""
        self._apply()
        bids, asks = self._sorted()
        answer = self._head | {"bids": bids[:limit], "asks": asks[:limit]}
        return json.dumps(answer, separators=(",", ":"))

    def truth(self, symbol: str) -> TrueBook:
        """Return the whole book, exact."""
        self._apply()
        bids, asks = self._sorted()
        return TrueBook(
            symbol,
            self.update_id,
            tuple((Decimal(p), Decimal(q)) for p, q in bids),
            tuple((Decimal(p), Decimal(q)) for p, q in asks),
        )

    def _sorted(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        bids = sorted(self._sides[0].items(), key=lambda level: -Decimal(level[0]))
        return bids, sorted(self._sides[1].items(), key=lambda level: Decimal(level[0]))

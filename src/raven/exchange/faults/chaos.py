"""Faults by chance, from a seed: the same seed strikes the same way at the same moments of the timeline."""

import random
from typing import TYPE_CHECKING

from raven.exchange.faults.fault import Fault
from raven.exchange.timeline import SECOND

if TYPE_CHECKING:
    from raven.exchange.server import Exchange

# Kind, weight, and what varies. Faults that end a connection or silence it are rarer than those of single events.
_REPERTOIRE: tuple[tuple[str, int], ...] = (
    ("drop", 6),
    ("duplicate", 6),
    ("reorder", 6),
    ("gap", 4),
    ("malformed", 6),
    ("delay", 4),
    ("silence", 2),
    ("slow_snapshot", 3),
    ("http_500", 3),
    ("truncated_snapshot", 2),
    ("stale_snapshot", 2),
    ("http_429", 1),
    ("disconnect", 3),
    ("reset", 2),
    ("half_open", 1),
)
_CLOSE_CODES = (1001, 1006, 1008, 1012)


class ChaosScript:
    """Draws faults for an exchange, one after the other, as long as it runs."""

    def __init__(self, exchange: "Exchange", seed: int, per_minute: float) -> None:
        self._exchange = exchange
        self._chance = random.Random(f"chaos:{seed}")
        self._rate = per_minute / 60.0

    def start(self) -> None:
        """Plan the first fault; each plans the next."""
        wait = self._chance.expovariate(self._rate)
        self._exchange.timeline.call_later(round(wait * SECOND), self._strike)

    def draw(self) -> Fault:
        """Draw the next fault."""
        chance = self._chance
        kind = chance.choices([kind for kind, _ in _REPERTOIRE], [weight for _, weight in _REPERTOIRE])[0]
        code = chance.choice(_CLOSE_CODES)
        count = chance.randint(2, 20) if kind == "gap" else 1
        seconds = round(chance.uniform(0.2, 3.0), 3)
        if kind == "silence":
            count, seconds = 0, round(chance.uniform(5.0, 20.0), 3)
        return Fault(kind, count=count, seconds=seconds, code=code)

    def _strike(self) -> None:
        self._exchange.inject(self.draw())
        self.start()

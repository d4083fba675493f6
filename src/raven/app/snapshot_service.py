"""Snapshots of order books: at an interval into the journal, and on demand from what the engine keeps for readers.

The journal stores; its collector takes the last state of each book in every `data_processing.snapshot_interval_ms`
(`journal.books_interval_ms` overrides it). On demand a snapshot is a copy of the latest published state: it takes less
than a microsecond, asks nobody and delays nobody.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from raven._core import Engine
from raven.errors import DataValidation
from raven.records import decimal

__all__ = ["BookSnapshot", "SnapshotMetrics", "SnapshotService"]

Instruments = Callable[[], Sequence[tuple[tuple[str, str], int]]]
"""Returns `((venue, symbol), engine handle)` of everything that is collected."""
Kept = Callable[[], Sequence[tuple[str, str, int, int]]]
"""Returns `(venue, symbol, states kept, receive time of the last)`; see `Journal.books`."""

_HEAD_WORDS = 5


@dataclass(frozen=True, slots=True)
class BookSnapshot:
    """The best levels of a book, at most 20 a side, exact."""

    venue: str
    symbol: str
    update_id: int
    """The exchange's id of the last change in it."""
    bids: Sequence[tuple[Decimal, Decimal]]
    """`(price, quantity)`, best first."""
    asks: Sequence[tuple[Decimal, Decimal]]


@dataclass(frozen=True, slots=True)
class SnapshotMetrics:
    """What a snapshot service has done."""

    snapshots_captured: int
    """In all."""
    on_demand: int
    """Of these: asked for by `capture_snapshot`."""
    kept: int
    """Of these: states that went into the journal."""


class SnapshotService:
    """Captures books of one engine. May be used from any thread."""

    def __init__(self, engine: Engine, instruments: Instruments, kept: Kept = list) -> None:
        self._engine = engine
        self._instruments = instruments
        self._kept = kept
        self._on_demand: Counter[tuple[str, str]] = Counter()

    def capture_snapshot(self, symbol: str, venue: str = "") -> BookSnapshot:
        """Return the latest published state of a book; without `venue` there must be one that has the symbol.

        Raises: DataValidation when there is none (yet).
        """
        found = [(name, number) for name, number in self._instruments() if name[1] == symbol and venue in ("", name[0])]
        if len(found) != 1:
            names = ", ".join(sorted(name for (name, _), _ in found)) or "no venue"
            raise DataValidation(f"{symbol} is collected from {names}; name one venue that it is collected from")
        (name, _), number = found[0]
        words = array("q", self._engine.snapshot(number))
        update_id, price_scale, quantity_scale, bids, asks = words[:_HEAD_WORDS]
        if not update_id:
            raise DataValidation(f"{symbol} at {name}: no book yet; its snapshot is on the way")
        self._on_demand[name, symbol] += 1
        levels = [
            (decimal(words[at], price_scale), decimal(words[at + 1], quantity_scale))
            for at in range(_HEAD_WORDS, _HEAD_WORDS + 2 * (bids + asks), 2)
        ]
        return BookSnapshot(name, symbol, update_id, levels[:bids], levels[bids:])

    def get_metrics(self) -> SnapshotMetrics:
        """Return what was captured so far."""
        kept, asked = sum(row[2] for row in self._kept()), self._on_demand.total()
        return SnapshotMetrics(kept + asked, asked, kept)

    def captured(self) -> list[tuple[str, str, int, int]]:
        """Return `(venue, symbol, snapshots, receive time of the newest kept state)`; see `raven.observe.snapshots`."""
        asked = [(venue, symbol, count, 0) for (venue, symbol), count in self._on_demand.items()]
        return [*self._kept(), *asked]

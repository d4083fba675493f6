"""Snapshots of order books: at an interval into the journal, and on demand from what the engine keeps for readers.

The journal stores; its collector takes the last state of each book in every `data_processing.snapshot_interval_ms`
(`journal.books_interval_ms` overrides it). On demand a snapshot is a copy of the latest published state: it asks
nobody and delays nobody. The engine takes 0.1 µs for it (`python benches/engine.py --only high-freq`).
"""

from __future__ import annotations

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
# An update id of 0.
_NO_BOOK = bytes(8)


class BookSnapshot:
    """The best levels of a book, at most 20 a side, exact; the levels are read when they are asked for."""

    __slots__ = ("_packed", "symbol", "venue")

    def __init__(self, venue: str, symbol: str, packed: bytes) -> None:
        """`packed` as `Engine.snapshot` returns it."""
        self.venue = venue
        self.symbol = symbol
        self._packed = packed

    @property
    def _words(self) -> memoryview[int]:
        return memoryview(self._packed).cast("q")

    @property
    def update_id(self) -> int:
        """The exchange's id of the last change in it."""
        return self._words[0]

    @property
    def bids(self) -> list[tuple[Decimal, Decimal]]:
        """`(price, quantity)`, best first."""
        return self._levels(0, self._words[3])

    @property
    def asks(self) -> list[tuple[Decimal, Decimal]]:
        """`(price, quantity)`, best first."""
        return self._levels(self._words[3], self._words[4])

    def _levels(self, first: int, count: int) -> list[tuple[Decimal, Decimal]]:
        words = self._words
        price_scale, quantity_scale = words[1], words[2]
        places = range(_HEAD_WORDS + 2 * first, _HEAD_WORDS + 2 * (first + count), 2)
        return [(decimal(words[at], price_scale), decimal(words[at + 1], quantity_scale)) for at in places]


@dataclass(frozen=True, slots=True)
class SnapshotMetrics:
    """What a snapshot service has done."""

    snapshots_captured: int
    """In all."""
    on_demand: int
    """Of these: asked for by `capture_snapshot`."""
    kept: int
    """Of these: states that went into the journal."""


@dataclass(slots=True)
class _Book:
    """A book that was asked for."""

    venue: str
    symbol: str
    number: int
    captured: int


class SnapshotService:
    """Captures books of one engine. May be used from any thread."""

    def __init__(self, engine: Engine, instruments: Instruments, kept: Kept = list) -> None:
        self._engine = engine
        self._instruments = instruments
        self._kept = kept
        self._books: dict[tuple[str, str], _Book] = {}

    def capture_snapshot(self, symbol: str, venue: str = "") -> BookSnapshot:
        """Return the latest published state of a book; without `venue` there must be one that has the symbol.

        Raises: DataValidation when there is none (yet).
        """
        book = self._books.get((symbol, venue)) or self._look_up(symbol, venue)
        try:
            packed = self._engine.snapshot(book.number)
        except KeyError:
            # It was dropped, and perhaps collected anew since: under another number.
            book = self._look_up(symbol, venue)
            packed = self._engine.snapshot(book.number)
        if packed.startswith(_NO_BOOK):
            raise DataValidation(f"{symbol} at {book.venue}: no book yet; its snapshot is on the way")
        book.captured += 1
        return BookSnapshot(book.venue, symbol, packed)

    def _look_up(self, symbol: str, venue: str) -> _Book:
        rows = self._instruments()
        found = [(name, number) for (name, other), number in rows if other == symbol and venue in ("", name)]
        if len(found) != 1:
            names = ", ".join(sorted(name for name, _ in found)) or "no venue"
            raise DataValidation(f"{symbol} is collected from {names}; name one venue that it is collected from")
        before = self._books.get((symbol, venue))
        book = self._books[symbol, venue] = _Book(found[0][0], symbol, found[0][1], before.captured if before else 0)
        return book

    def get_metrics(self) -> SnapshotMetrics:
        """Return what was captured so far."""
        kept, asked = sum(row[2] for row in self._kept()), sum(book.captured for book in list(self._books.values()))
        return SnapshotMetrics(kept + asked, asked, kept)

    def captured(self) -> list[tuple[str, str, int, int]]:
        """Return `(venue, symbol, snapshots, receive time of the newest kept state)`; see `raven.observe.snapshots`."""
        asked = [(book.venue, book.symbol, book.captured, 0) for book in list(self._books.values())]
        return [*self._kept(), *asked]

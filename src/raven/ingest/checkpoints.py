"""Depth answers for the capture alone, so that a playback can begin, or begin anew, without going far back.

Each book in turn is asked for once an hour; and all of them when frames were lost on their way to the disk, because a
playback has no book from there on until an answer comes. The engine hears nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from raven.clock import Clock
from raven.errors import RavenError
from raven.ingest.capture import Capture
from raven.ingest.feed import VenueFeed
from raven.observe import get_logger

__all__ = ["Checkpoints"]

log = get_logger("recorder")

_ROUND_S = 3600.0
_LOOK_EVERY_S = 1.0

Book = tuple[VenueFeed, str]
"""A feed and a symbol whose book it collects."""


class Checkpoints:
    """Asks. Lives on the ingest loop."""

    def __init__(
        self, capture: Capture, books: Callable[[], Sequence[Book]], clock: Clock, *, round_s: float = _ROUND_S
    ) -> None:
        self._capture = capture
        self._books = books
        self._clock = clock
        self._round_s = round_s

    async def run(self) -> None:
        """Work until cancelled."""
        clock, mended = self._clock, 0
        turns = self._turns()
        due = clock.monotonic() + self._pause_s
        lost = self._capture.lost
        while True:
            await clock.sleep(_LOOK_EVERY_S)
            before, lost = lost, self._capture.lost
            if lost != mended and lost == before:
                # The disk keeps up again: what is asked for now follows what was lost.
                mended = lost
                for feed, symbol in self._books():
                    await self._ask(feed, symbol)
            elif clock.monotonic() >= due:
                due = clock.monotonic() + self._pause_s
                turn = next(turns)
                if turn is not None:
                    await self._ask(*turn)

    @property
    def _pause_s(self) -> float:
        return self._round_s / max(1, len(self._books()))

    def _turns(self) -> Iterator[Book | None]:
        """Name one book after the other for ever; None while there is none."""
        while True:
            books = self._books()
            yield from books
            if not books:
                yield None

    async def _ask(self, feed: VenueFeed, symbol: str) -> None:
        try:
            await feed.capture_book(symbol)
        except RavenError as error:
            log.info("no answer for the capture", venue=feed.venue.name, symbol=symbol, reason=error.message)

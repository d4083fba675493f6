"""The engine as ingest uses it: what is decided about a symbol is told to the recorder first, with one time for both,
so that a capture gives the same records again.
"""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import Buffer

from raven._core import Engine
from raven.clock import Clock
from raven.ingest.capture import Capture

__all__ = ["EngineHost"]


class EngineHost:
    """The engine, together with what happens when it has something to tell. See `engine_port.BookEngine`."""

    def __init__(
        self,
        engine: Engine,
        on_events: Callable[[], None],
        capture: Capture,
        clock: Clock,
        on_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_doubt` is called before a frame is taken that comes at `doubt_from_ns` or later."""
        self.doubt_from_ns = 1 << 63
        """When a frame is so late that nobody knows whether the process stood still; wall clock, ns since 1970."""
        self._take_frame = engine.on_frame
        self._on_doubt = on_doubt
        self.open_connection = engine.open_connection
        self.close_connection = engine.close_connection
        self.last_seen = engine.last_seen
        self.enable_depth = engine.enable_depth
        self.handle_events = on_events
        self._engine = engine
        self._capture = capture
        self._clock = clock
        self._names: dict[int, tuple[str, str]] = {}
        self._venues: dict[int, str] = {}
        engine.record(capture.tap)

    def on_frame(self, connection: int, recv_ns: int, frame: Buffer) -> int:
        """Take one frame."""
        if recv_ns >= self.doubt_from_ns:
            self._on_doubt()
        return self._take_frame(connection, recv_ns, frame)

    def add_venue(self, name: str, rule: str) -> int:
        """Register a venue."""
        handle = self._engine.add_venue(name, rule)
        self._venues[handle] = name
        self._capture.venue(name, rule)
        return handle

    def add_instrument(
        self, venue: int, symbol: str, *, price_scale: int, quantity_scale: int, ring_bytes: int, needs_book: bool
    ) -> int:
        """Register a symbol."""
        name = self._venues[venue]
        self._capture.decided(
            name, "instrument", symbol=symbol, price_scale=price_scale, quantity_scale=quantity_scale, wanted=needs_book
        )
        number = self._engine.add_instrument(
            venue, symbol, price_scale=price_scale, quantity_scale=quantity_scale, ring_bytes=ring_bytes,
            needs_book=needs_book,
        )  # fmt: skip
        self._names[number] = name, symbol
        return number

    def remove_instrument(self, instrument: int) -> None:
        """Forget a symbol."""
        name, symbol = self._names.pop(instrument)
        self._capture.decided(name, "dropped", symbol=symbol)
        self._engine.remove_instrument(instrument)

    def want_book(self, instrument: int, wanted: bool) -> None:
        """Take diffs of a symbol from now on, or ignore them."""
        name, symbol = self._names[instrument]
        self._capture.decided(name, "book", symbol=symbol, wanted=wanted)
        self._engine.want_book(instrument, wanted)

    def on_snapshot(self, instrument: int, recv_ns: int, body: Buffer, *, limit: int) -> int:
        """Take one REST depth answer."""
        return self._engine.on_snapshot(instrument, recv_ns, body, limit=limit)

    def desync(self, instrument: int, reason: str, *, book: bool = True) -> None:
        """Declare a book untrusted; without `book` only note that the connection of its other streams was lost."""
        name, symbol = self._names[instrument]
        now_ns = self._clock.time_ns()
        self._capture.decided(name, "desync", now_ns, symbol=symbol, reason=reason, book=book)
        self._engine.desync(instrument, reason, book=book, at_ns=now_ns)

    def mark_stale(self, instrument: int, stale: bool) -> None:
        """Flag a book whose stream is silent."""
        name, symbol = self._names[instrument]
        now_ns = self._clock.time_ns()
        self._capture.decided(name, "stale", now_ns, symbol=symbol, stale=stale)
        self._engine.mark_stale(instrument, stale, at_ns=now_ns)

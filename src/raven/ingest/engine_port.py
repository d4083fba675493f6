"""What ingest uses of the native engine; `EngineHost` in `thread.py` is the real one."""

from __future__ import annotations

from typing import Protocol

from typing_extensions import Buffer

__all__ = ["BookEngine"]


class BookEngine(Protocol):
    """The engine with its events: names as in `raven._core.Engine`."""

    def on_frame(self, connection: int, recv_ns: int, frame: Buffer) -> int:
        """Take one frame."""

    def on_snapshot(self, instrument: int, recv_ns: int, body: Buffer, *, limit: int) -> int:
        """Take one REST depth answer."""

    def open_connection(self, venue: int) -> int:
        """Register a connection."""

    def close_connection(self, connection: int) -> None:
        """Forget one."""

    def desync(self, instrument: int, reason: str, *, book: bool = True) -> None:
        """Declare a book untrusted; without `book` only note that the connection of its other streams was lost."""

    def mark_stale(self, instrument: int, stale: bool) -> None:
        """Flag a book whose stream is silent."""

    def last_seen(self, instrument: int) -> tuple[int, int, int, int, int, int]:
        """When the last event of each kind came, ns."""

    def handle_events(self) -> None:
        """Act on what the engine has to tell."""

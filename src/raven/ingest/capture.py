"""What ingest tells a recorder. This one forgets it; `raven.ingest.recorder` writes it down."""

from __future__ import annotations

from raven._core import Tap

__all__ = ["Capture"]


class Capture:
    """Hears on the ingest thread what goes over the wire and what is decided because of it. Never waits."""

    tap: Tap | None = None
    """Where the engine copies every frame to."""

    @property
    def lost(self) -> int:
        """Messages that there was no room for, so far."""
        return 0

    def venue(self, name: str, rule: str) -> None:
        """A venue is collected from; `rule` as in `Engine.add_venue`."""

    def opening(self, connection: int, venue: str, category: str, url: str) -> None:
        """A connection is about to be opened; frames may come from now on."""

    def sent(self, connection: int, message: bytes) -> None:
        """A message of ours went out."""

    def changed_over(self, connection: int) -> None:
        """The frames that come now had been held back."""

    def closed(self, connection: int, reason: str) -> None:
        """A connection has ended, or could not be opened."""

    def answered(self, venue: str, recv_ns: int, path: str, body: bytes) -> None:
        """A REST request was answered."""

    def decided(self, venue: str, what: str, at_ns: int | None = None, **fields: str | int | bool) -> None:
        """The engine is told something about a symbol; `what` and `fields` as in `raven.recording.notes`."""

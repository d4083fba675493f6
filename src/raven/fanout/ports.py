"""What fan-out needs from the rest of the house: someone who collects, and someone who owns the streams.

Both are called from the asyncio loop only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from raven.topics import DataType


class Collector(Protocol):
    """Whoever starts and stops the collection of a symbol; references are counted by holder.

    A holder is an opaque name (one per stream, one per standing interest). Holding the same topic twice counts once,
    so every method may be called again safely.
    """

    def venues(self) -> Sequence[str]:
        """Name the configured venues, the preferred one first."""

    def symbols(self, venue: str) -> Sequence[str]:
        """Name the symbols configured for a venue (what `*` means)."""

    async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
        """Say whether the venue lists the symbol and has this kind of data for it; may fetch the venue's list the
        first time.
        """

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        """Hold a topic for `holder`, starting its collection if nobody held it, and return the topic's id in the hub.

        Returns as soon as the topic exists, not when its first record arrives. `depth` is how many levels a book must
        carry; 0 for other kinds. Asking again with another depth may return another topic.
        Raises: Unobtainable, or a RavenError (retryable: UNAVAILABLE, else NOT_FOUND), with a message for the
        subscriber. Cancelling it leaves nothing held.
        """

    async def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None:
        """Let go of a topic; the last holder to leave ends the stream after the linger time. Unknown holders are
        ignored.
        """

    async def release_all(self, holder: str) -> None:
        """Let go of everything that `holder` holds."""


class Streams(Protocol):
    """Whoever delivers: `raven._core.GrpcServer` is one. Every method answers False when the stream has gone."""

    def attach(
        self,
        stream_id: int,
        topic_id: int,
        *,
        depth: int = 0,
        conflate_ms: int = 0,
        overflow: str = "gap",
        from_latest: bool = True,
    ) -> bool:
        """Let a stream read a topic; attaching again changes the options and keeps the cursor.

        Raises: KeyError when the topic has ended.
        """

    def detach(self, stream_id: int, topic_id: int) -> bool:
        """Stop a stream's reading of a topic."""

    def configure_stream(self, stream_id: int, *, batch: int = 1, heartbeat_ms: int = 0) -> bool:
        """Set what concerns the stream as a whole."""

    def close_stream(self, stream_id: int, code: int, message: str) -> bool:
        """End a stream with a status after what it has been sent so far."""

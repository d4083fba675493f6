"""What fan-out needs from the rest of the house: someone who collects, and someone who owns the streams.

Both are called from the asyncio loop only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from raven.topics import Collected, DataType, StreamKind, Topic

if TYPE_CHECKING:
    from raven._core import Encoded


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

    def collected(self) -> Sequence[Collected]:
        """List what is collected now, and who holds it."""


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """What is collected of one symbol, as `Control.ListCollections` tells it."""

    symbol: str
    venue: str
    status: str
    """That of the topic which is in the worst state, see `Collected.status`."""
    subscribers: int
    """Who wants it, control itself not counted: clients, services of this process, configuration."""
    data_types: tuple[DataType, ...] = ()


class ControlPlane(Protocol):
    """Whoever starts and stops collections by hand, on behalf of `ravenctl` and other services.

    Every method may be called again safely. `venue` empty means the service's first venue; what a kind stands for is
    the service's to say. Raises: Refused, Unobtainable or RavenError with a message that helps whoever asked.
    """

    async def start(self, symbol: str, venue: str, kind: StreamKind) -> str:
        """Collect a symbol until it is stopped, whoever listens; say what was begun."""

    async def stop(self, symbol: str, venue: str, kind: StreamKind) -> str:
        """Let go of what `start` held, of every kind when unspecified; what clients hold goes on. Say what happened."""

    async def stop_all(self) -> str:
        """Let go of everything that `start` held; say what that was."""

    def collections(self) -> Sequence[CollectionRow]:
        """List what is collected, by venue and symbol, whoever wanted it."""


class Past(Protocol):
    """What was published of one topic, oldest first. Its methods block: they are called on threads, one at a time."""

    def pieces(self) -> Iterator[Encoded]:
        """Read what is there and was not read yet, as messages; everything published before the call is there."""

    @property
    def last_sequence(self) -> int | None:
        """Sequence of the newest record of this very topic that was read; 0 for none yet, None if it is not kept: a
        deeper tier of a book, say. Raises: RavenError when that cannot be told.
        """


class History(Protocol):
    """Whoever remembers what was published."""

    def past(self, topic: Topic, topic_id: int, start_ns: int, depth: int) -> Past:
        """Begin to read what happened of a topic from a moment on; `topic_id` is the one it has now.

        Raises: RavenError for the subscriber.
        """


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

    def resume(
        self, stream_id: int, topic_id: int, after: int, *, depth: int = 0, conflate_ms: int = 0, overflow: str = "gap"
    ) -> bool:
        """Let a stream read a topic from right behind the record with sequence `after`; False when that has gone."""

    def take_up(
        self,
        stream_id: int,
        topic_id: int,
        after: int,
        recv_ns: int,
        *,
        depth: int = 0,
        conflate_ms: int = 0,
        overflow: str = "gap",
    ) -> bool:
        """Let a stream read a topic from right behind the record with this sequence and receive time, or from behind a
        mark that says what is missing. Raises: KeyError when the topic has ended.
        """

    def push(self, stream_id: int, frames: Encoded, timeout_seconds: float) -> bool:
        """Send messages before whatever else is on its way; blocks while too many wait.

        Raises: TimeoutError when the client takes nothing.
        """

    def detach(self, stream_id: int, topic_id: int) -> bool:
        """Stop a stream's reading of a topic."""

    def configure_stream(self, stream_id: int, *, batch: int = 1, heartbeat_ms: int = 0) -> bool:
        """Set what concerns the stream as a whole."""

    def close_stream(self, stream_id: int, code: int, message: str) -> bool:
        """End a stream with a status after what it has been sent so far."""

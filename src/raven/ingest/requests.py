"""What one connection was asked to carry, and what the venue said to it.

Requests go out in batches; the venue answers each one by its number. A batch that is refused is cut in halves and asked
for again until the stream that spoils it is known by name, so that one bad symbol costs only itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import NamedTuple, Protocol

from raven.clock import Clock
from raven.ingest.connection import batches
from raven.observe import get_logger
from raven.ports import Venue

__all__ = ["StreamRequests"]

log = get_logger("ingest")


class Sender(Protocol):
    """What is used of a connection."""

    async def send(self, message: bytes) -> None:
        """Send a message within the venue's limit."""


class _Request(NamedTuple):
    is_subscribe: bool
    names: Sequence[str]
    sent_at: float


class StreamRequests:
    """SUBSCRIBE and UNSUBSCRIBE of one connection."""

    def __init__(self, connection: Sender, venue: Venue, clock: Clock) -> None:
        self.refused: dict[str, str] = {}
        """Streams that the venue refused, with its words."""
        self._connection = connection
        self._venue = venue
        self._clock = clock
        self._asked: dict[str, None] = {}
        self._again: list[str] = []
        self._halves: list[Sequence[str]] = []
        self._unanswered: dict[int, _Request] = {}
        self._numbers = count(1)

    async def bring_in_line(self, wanted: Mapping[str, None]) -> None:
        """Ask for what is wanted and not carried yet, and call off the rest.

        Raises: NetworkTimeout when the connection was lost.
        """
        size = self._venue.limits.streams_per_message
        again, self._again = set(self._again), []
        gone = [name for name in self._asked if name not in wanted or name in again]
        for name in [*gone, *(name for name in self.refused if name not in wanted)]:
            self._asked.pop(name, None)
            self.refused.pop(name, None)
        for names in batches(gone, size):
            await self._ask(names, is_subscribe=False)
        new = [name for name in wanted if name not in self._asked]
        self._asked.update(dict.fromkeys(new))
        halves, self._halves = self._halves, []
        for names in [*batches(new, size), *halves]:
            still = [name for name in names if name in wanted]
            if still:
                await self._ask(still, is_subscribe=True)

    def ask_again(self, names: Iterable[str]) -> None:
        """Call these off and ask for them anew, the next time things are brought in line."""
        self._again += [name for name in names if name in self._asked]

    async def _ask(self, names: Sequence[str], *, is_subscribe: bool) -> None:
        number = next(self._numbers)
        write = self._venue.subscribe if is_subscribe else self._venue.unsubscribe
        await self._connection.send(write(number, names))
        self._unanswered[number] = _Request(is_subscribe, names, self._clock.monotonic())

    def on_reply(self, raw: bytes) -> bool:
        """Take an answer of the venue. Returns: whether something has to be brought in line because of it."""
        reply = self._venue.reply(raw)
        number = reply.request_id
        if number is None and reply.error and self._unanswered:
            # Errors may come without their number; a venue answers in order.
            number = next(iter(self._unanswered))
        request = self._unanswered.pop(number, None) if number is not None else None
        if not reply.error:
            return False
        if request is None or not request.is_subscribe:
            log.warning("request refused", venue=self._venue.name, reason=reply.error, every_s=1)
            return False
        if len(request.names) > 1:
            middle = len(request.names) // 2
            self._halves += [request.names[:middle], request.names[middle:]]
            return True
        name = request.names[0]
        self.refused[name] = reply.error
        log.error("stream refused", venue=self._venue.name, stream=name, reason=reply.error, next="check the symbol")
        return False

    @property
    def is_settled(self) -> bool:
        """Whether every request was answered and nothing is left to be asked."""
        return not self._unanswered and not self._halves

    @property
    def oldest_unanswered_at(self) -> float | None:
        """When the request was sent that waits longest for its answer (monotonic seconds)."""
        return min((request.sent_at for request in self._unanswered.values()), default=None)

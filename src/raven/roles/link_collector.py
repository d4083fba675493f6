"""What another service collects, collected through a link: for roles that keep or pass on what they hear."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from raven._core import Hub
from raven.clock import Clock, SystemClock
from raven.fanout import Status, Unobtainable
from raven.observe import get_logger
from raven.ports import Link
from raven.topics import Collected, DataType, Topic

__all__ = ["LinkCollector"]

log = get_logger("collections")


@dataclass(slots=True)
class _Held:
    topic_id: int
    depth: int
    holders: set[str] = field(default_factory=set)
    lingering: asyncio.Task[None] | None = None


class LinkCollector:
    """A `raven.fanout.Collector` over a link; lives on one loop."""

    def __init__(
        self,
        link: Link,
        venue: str,
        types: Sequence[DataType],
        *,
        hub: Hub | None = None,
        symbols: Sequence[str] = (),
        linger_s: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        """`types` are the kinds that it has, `symbols` those that it is configured to have at all times. `hub` is where
        its topics are, when it is not that of the link.
        """
        self.hub = hub or link.hub
        self.types = tuple(types)
        self._link = link
        self._venue = venue
        self._symbols = tuple(symbols)
        self._linger_s = linger_s
        self._clock = clock or SystemClock()
        self._held: dict[Topic, _Held] = {}
        # One start or end of a topic at a time; a lock is there as long as somebody uses it.
        self._locks: WeakValueDictionary[Topic, asyncio.Lock] = WeakValueDictionary()

    # --- who wants what ---------------------------------------------------------------------------------------------

    def venues(self) -> Sequence[str]:
        """Name the venue."""
        return [self._venue]

    def symbols(self, venue: str) -> Sequence[str]:
        """Name the configured symbols."""
        return self._symbols if venue == self._venue else ()

    async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
        """Say yes: `acquire` says what there is instead of a kind, and the upstream whether it has the symbol."""
        return venue == self._venue

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        """See `raven.fanout.Collector`."""
        topic = Topic(venue, symbol.upper(), data_type)
        if data_type not in self.types:
            kinds = ", ".join(kind.name for kind in self.types)
            raise Unobtainable(f"this service has no {data_type.name}; it has {kinds}", Status.NOT_FOUND)
        async with self._lock(topic):
            held = self._held.get(topic)
            if held is None or depth > held.depth:
                topic_id = await self._begin(topic, depth)
                if held is None:
                    held = self._held[topic] = _Held(topic_id, depth)
                    log.info("collecting", topic=topic.name)
                else:
                    # The deeper wish stands in for the one before it.
                    await self._end(topic)
                    held.topic_id, held.depth = topic_id, depth
            held.holders.add(holder)
            if held.lingering is not None:
                held.lingering.cancel()
                held.lingering = None
            return held.topic_id

    async def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None:
        """See `raven.fanout.Collector`."""
        topic = Topic(venue, symbol.upper(), data_type)
        held = self._held.get(topic)
        if held is None or holder not in held.holders:
            return
        held.holders.remove(holder)
        if not held.holders:
            held.lingering = asyncio.get_running_loop().create_task(self._linger(topic), name=f"{topic.name} lingers")

    async def release_all(self, holder: str) -> None:
        """See `raven.fanout.Collector`."""
        for topic in [topic for topic, held in self._held.items() if holder in held.holders]:
            await self.release(holder, topic.venue, topic.symbol, topic.data_type)

    async def stop(self) -> None:
        """End the waits of what lingers."""
        waits = [held.lingering for held in self._held.values() if held.lingering is not None]
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _linger(self, topic: Topic) -> None:
        await self._clock.sleep(self._linger_s)
        async with self._lock(topic):
            held = self._held.get(topic)
            if held is None or held.holders:
                return
            del self._held[topic]
            await self._end(topic)
            log.info("no longer collecting", topic=topic.name)

    async def _begin(self, topic: Topic, depth: int) -> int:
        """Have a topic; return its id in `hub`."""
        return await self._link.acquire(topic.venue, topic.symbol, topic.data_type, depth)

    async def _end(self, topic: Topic) -> None:
        """Have a topic no more."""
        await self._link.release(topic.venue, topic.symbol, topic.data_type)

    def _lock(self, topic: Topic) -> asyncio.Lock:
        return self._locks.setdefault(topic, asyncio.Lock())

    # --- what is there ----------------------------------------------------------------------------------------------

    def collected(self) -> Sequence[Collected]:
        """See `raven.fanout.Collector`."""
        return [
            Collected(topic, frozenset(held.holders), self._status(topic, held)) for topic, held in self._held.items()
        ]

    def is_held(self, topic: Topic) -> bool:
        """Whether somebody wants a topic, or wanted it just now; from any thread."""
        return topic in self._held

    def _status(self, topic: Topic, held: _Held) -> str:
        if not held.holders:
            return "lingering"
        if not self._link.status().connected:
            return "connecting"
        try:
            return "live" if self._is_live(topic, held.topic_id) else "waiting"
        except KeyError:
            return "connecting"

    def _is_live(self, topic: Topic, topic_id: int) -> bool:
        """Whether anything has come. Raises: KeyError when the topic has ended."""
        return self.hub.head(topic_id) > 0

"""`local:NAME`: the upstream runs in this process, so its topics are read where they are."""

from __future__ import annotations

from raven._core import Hub
from raven.errors import DataValidation, NetworkTimeout, RavenError
from raven.fanout import Collector, Status, Unobtainable
from raven.ports import LinkStatus
from raven.topics import DataType, Topic

__all__ = ["LocalLink"]


class LocalLink:
    """Counts who wants what, and holds it at the upstream's collector.

    `name` is the upstream's, `hub` and `collector` are its own, `holder` is who the collector thinks it is.
    """

    def __init__(self, name: str, hub: Hub, collector: Collector, *, holder: str = "link") -> None:
        self.hub = hub
        self._address = f"local:{name}"
        self._collector = collector
        self._holder = holder
        self._wishes: dict[Topic, int] = {}
        self._ids: dict[Topic, int] = {}
        self._trouble = ""

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Let go of everything."""
        self._wishes.clear()
        self._ids.clear()
        try:
            await self._collector.release_all(self._holder)
        except RavenError as error:
            # Whoever collects has stopped before us: nothing is held any more.
            self._trouble = error.message

    async def acquire(self, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        """See `Link`."""
        topic = Topic(venue, symbol.upper(), data_type)
        # Counted before anything is awaited, so that somebody else's release meanwhile does not take it from us.
        self._wishes[topic] = self._wishes.get(topic, 0) + 1
        try:
            topic_id = await self._collector.acquire(self._holder, venue, topic.symbol, data_type, depth)
        except BaseException as error:
            await self.release(venue, symbol, data_type)
            raise self._explained(error) from None
        self._ids[topic] = topic_id
        self._trouble = ""
        return topic_id

    async def release(self, venue: str, symbol: str, data_type: DataType) -> None:
        """See `Link`."""
        topic = Topic(venue, symbol.upper(), data_type)
        wishes = self._wishes.pop(topic, 0)
        if wishes > 1:
            self._wishes[topic] = wishes - 1
        elif wishes:
            self._ids.pop(topic, None)
            await self._collector.release(self._holder, venue, topic.symbol, data_type)

    def _explained(self, error: BaseException) -> BaseException:
        """Return what `acquire` raises for what the collector raised, and note what may pass."""
        if isinstance(error, Unobtainable):
            is_final = error.status is Status.NOT_FOUND
            error = DataValidation(error.message) if is_final else NetworkTimeout(error.message)
        if isinstance(error, RavenError) and error.retryable:
            self._trouble = error.message
        return error

    def counters(self) -> dict[str, int]:
        """Nothing is counted: records are read where they were written."""
        return {}

    def status(self) -> LinkStatus:
        """See `Link`. It is connected as long as the topics that it gave out are there, whatever else cannot be had."""
        there = {row[0] for row in self.hub.topics()} if self._ids else set()
        ended = [topic.name for topic, topic_id in self._ids.copy().items() if topic_id not in there]
        trouble = f"{self._address} has ended {', '.join(ended)}; ask for it again" if ended else self._trouble
        return LinkStatus(self._address, not ended, trouble)

"""What is collected is decided by who wants it: configuration, operators and subscribers all hold references.

The first holder of a (venue, symbol, data type) starts its streams; when the last one has left they end after a linger
time. Lives on the ingest loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from raven._core import Engine, Hub
from raven.clock import Clock
from raven.errors import ConfigurationError, DataValidation, InternalError
from raven.ingest.engine_host import EngineHost
from raven.ingest.feed import VenueFeed
from raven.ingest.settings import IngestSettings
from raven.instruments import Instrument
from raven.observe import get_logger
from raven.topics import DataType, Topic

__all__ = ["CONFIGURED", "CONFIGURED_TYPES", "Collections"]

log = get_logger("collections")

CONFIGURED = "configuration"
"""The holder that never leaves."""
CONFIGURED_TYPES = (DataType.ORDERBOOK, DataType.TRADES, DataType.QUOTES)
"""What is collected of a configured symbol before anybody asks."""
_LIST_WAIT_S = 5.0


@dataclass(slots=True)
class _Collection:
    topic: Topic
    holders: set[str] = field(default_factory=set)
    lingering: asyncio.Task[None] | None = None


class Collections:
    """References and what follows from them."""

    def __init__(
        self,
        engine: Engine | EngineHost,
        hub: Hub,
        feeds: Mapping[str, VenueFeed],
        settings: IngestSettings,
        ring_bytes: int,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._hub = hub
        self._feeds = feeds
        self._settings = settings
        self._ring_bytes = ring_bytes
        self._clock = clock
        self._collections: dict[Topic, _Collection] = {}
        self._instruments: dict[tuple[str, str], int] = {}
        self._names: dict[int, tuple[str, str]] = {}

    # --- references ---------------------------------------------------------------------------------------------

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        """Hold a collection and return the hub's topic id; for a book, of the tier that has `depth` levels.

        `symbol` is the venue's own; see `resolve`.
        Raises: ConfigurationError for a venue that is not configured, DataValidation for a symbol or data type that
        the venue does not have, or when too much is collected already.
        """
        feed = self.feed(venue)
        symbol = symbol.upper()
        topic = Topic(venue, symbol, data_type)
        if topic not in self._collections:
            await feed.look_up(symbol, _LIST_WAIT_S)
        # Looked at again: somebody else may have started it while we waited for the list.
        if topic not in self._collections:
            self._check(feed, topic)
            self._start(feed, topic)
        collection = self._collections[topic]
        collection.holders.add(holder)
        if collection.lingering is not None:
            collection.lingering.cancel()
            collection.lingering = None
        try:
            return self._topic_id(topic, depth)
        except BaseException:
            self.release(holder, venue, symbol, data_type)
            raise

    def _topic_id(self, topic: Topic, depth: int) -> int:
        if topic.data_type is DataType.ORDERBOOK and depth > 0:
            return self._engine.enable_depth(self._instruments[topic.venue, topic.symbol], depth)
        topic_id = self._hub.find(topic.venue, topic.symbol, topic.data_type)
        if topic_id is None:
            raise InternalError(f"the engine has no topic {topic}, though it collects it")
        return topic_id

    async def resolve(self, venue: str, text: str) -> Instrument:
        """Return the instrument that a symbol or name means on a venue; fetches the venue's list if it must.

        Raises: ConfigurationError for a venue that is not configured, DataValidation naming the nearest symbols.
        """
        feed = self.feed(venue)
        await feed.look_up(text, _LIST_WAIT_S)
        return feed.listed.resolve(text)

    async def matching(self, venue: str, pattern: str) -> list[Instrument]:
        """Return what a pattern means on a venue: everything that trades there and may be collected, as listed now."""
        feed = self.feed(venue)
        await feed.wait_listed(_LIST_WAIT_S)
        return feed.listed.matching(pattern)

    async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
        """Say whether a venue lists a symbol and has this kind of data for it; without a list it is believed to.

        Raises: ConfigurationError for a venue that is not configured.
        """
        feed = self.feed(venue)
        await feed.look_up(symbol.upper(), _LIST_WAIT_S)
        is_listed = not feed.listed or symbol.upper() in feed.listed
        return is_listed and bool(feed.venue.streams(symbol.upper(), data_type))

    def offers_at_once(self, venue: str, symbol: str, data_type: DataType) -> bool:
        """Say whether it is known already that a venue has this; False: unknown, ask `offers`. From any thread.

        Raises: ConfigurationError for a venue that is not configured.
        """
        feed = self.feed(venue)
        return symbol.upper() in feed.listed and bool(feed.venue.streams(symbol.upper(), data_type))

    def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None:
        """Let go of a collection; unknown holders are ignored."""
        collection = self._collections.get(Topic(venue, symbol.upper(), data_type))
        if collection is None or holder not in collection.holders:
            return
        collection.holders.remove(holder)
        if not collection.holders:
            collection.lingering = asyncio.get_running_loop().create_task(self._linger(collection))

    def release_all(self, holder: str) -> None:
        """Let go of everything that a holder holds."""
        for topic in [topic for topic, collection in self._collections.items() if holder in collection.holders]:
            self.release(holder, topic.venue, topic.symbol, topic.data_type)

    async def _linger(self, collection: _Collection) -> None:
        await self._clock.sleep(self._settings.linger_s)
        if not collection.holders:
            self._end(collection.topic)

    def stop(self) -> None:
        """End the waits of what lingers; what is collected stays as it is."""
        for collection in self._collections.values():
            if collection.lingering is not None:
                collection.lingering.cancel()

    # --- starting and ending ------------------------------------------------------------------------------------

    def feed(self, venue: str) -> VenueFeed:
        """Return a configured venue. Raises: ConfigurationError."""
        feed = self._feeds.get(venue)
        if feed is None:
            known = ", ".join(self._feeds) or "none"
            raise ConfigurationError(f"venue {venue!r} is not collected here; configured are: {known} (feeds.venues)")
        return feed

    def _check(self, feed: VenueFeed, topic: Topic) -> None:
        feed.listed.resolve(topic.symbol)
        if not feed.venue.streams(topic.symbol, topic.data_type):
            raise DataValidation(f"{topic.venue} has no {topic.data_type.name} for {topic.symbol}")
        if len(self._collections) >= self._settings.max_topics:
            raise DataValidation(f"{len(self._collections)} topics are collected already, the most this server takes")

    def _start(self, feed: VenueFeed, topic: Topic) -> None:
        instrument = self._instrument(feed, topic.symbol)
        if topic.data_type is DataType.ORDERBOOK:
            self._engine.want_book(instrument, True)
        self._collections[topic] = _Collection(topic)
        feed.add(topic.symbol, instrument, topic.data_type)
        log.info("collecting", topic=topic.name)

    def _instrument(self, feed: VenueFeed, symbol: str) -> int:
        key = feed.venue.name, symbol
        known = self._instruments.get(key)
        if known is not None:
            return known
        listed = feed.listed.resolve(symbol)
        number = self._engine.add_instrument(
            feed.handle,
            symbol,
            price_scale=listed.price_scale,
            quantity_scale=listed.quantity_scale,
            ring_bytes=self._ring_bytes,
            needs_book=False,
        )
        self._instruments[key] = number
        self._names[number] = key
        return number

    def _end(self, topic: Topic) -> None:
        self._collections.pop(topic, None)
        feed = self._feeds[topic.venue]
        feed.remove(topic.symbol, topic.data_type)
        key = topic.venue, topic.symbol
        instrument = self._instruments[key]
        if topic.data_type is DataType.ORDERBOOK:
            self._engine.want_book(instrument, False)
            self._engine.desync(instrument, "resubscribed")
            feed.snapshots.forget(instrument)
        if not any((other.venue, other.symbol) == key for other in self._collections):
            del self._instruments[key], self._names[instrument]
            self._engine.remove_instrument(instrument)
        log.info("no longer collecting", topic=topic.name)

    # --- for others -----------------------------------------------------------------------------------------------

    def name_of(self, instrument: int) -> tuple[str, str]:
        """Return venue and symbol of an engine handle; empty when it is not collected any more."""
        return self._names.get(instrument, ("", ""))

    def instruments(self) -> Mapping[tuple[str, str], int]:
        """Return the engine handle of every (venue, symbol) that is collected."""
        return self._instruments

    def topics(self) -> dict[Topic, int]:
        """Return what is collected and by how many holders."""
        return {topic: len(collection.holders) for topic, collection in self._collections.copy().items()}

    def holders(self) -> dict[Topic, frozenset[str]]:
        """Return what is collected and who holds it; from any thread."""
        return {topic: frozenset(one.holders.copy()) for topic, one in self._collections.copy().items()}

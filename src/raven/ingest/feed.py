"""One venue: its streams spread over connections, its snapshots, its watchdog, its list of symbols."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from raven.clock import Clock
from raven.errors import RateLimited, RavenError
from raven.ingest.budgets import Budgets
from raven.ingest.capture import Capture
from raven.ingest.engine_port import BookEngine
from raven.ingest.rest import RestClient
from raven.ingest.settings import IngestSettings, VenuePlan
from raven.ingest.shard import Shard, ShardContext
from raven.ingest.snapshots import SnapshotQueue
from raven.ingest.watchdog import Watch, Watchdog
from raven.instruments import Instrument, Listing, Selection
from raven.observe import get_logger, record_connected, record_disconnected
from raven.ports import Stream, Venue
from raven.resilience.backoff import Backoff
from raven.resilience.pacing import Pacer
from raven.topics import DataType

__all__ = ["VenueFeed"]

log = get_logger("ingest")

_FIVE_MINUTES_S = 300.0
# A symbol that is not on the list may have been listed since. Asking anew costs weight, and reading the answer of a
# large venue holds the loop for some 0.1 s, so it happens on demand only.
_LIST_AGAIN_S = 60.0


class VenueFeed:
    """Everything that runs for one venue. Lives on the ingest loop."""

    def __init__(
        self,
        venue: Venue,
        handle: int,
        engine: BookEngine,
        settings: IngestSettings,
        plan: VenuePlan,
        clock: Clock,
        budgets: Budgets,
        capture: Capture | None = None,
    ) -> None:
        limits, capture = venue.limits, capture or Capture()
        self.venue = venue
        self.handle = handle
        """The engine's handle of the venue."""
        self.shards: list[Shard] = []
        self._plan = plan
        self.listed = self._listing({})
        """What the venue has; empty until its list could be fetched. Replaced and never changed, so other threads may
        read it."""
        weight = plan.request_weight_per_minute or limits.request_weight_per_minute
        self._settings = settings
        self._clock = clock
        self._fixed_weight = bool(plan.request_weight_per_minute)
        self._rest = RestClient(venue, budgets.of(venue, weight), timeout_s=settings.snapshot_timeout_s)
        self.snapshots = SnapshotQueue(venue, engine, self._rest, settings, clock, capture)
        attempts = plan.connections_per_five_minutes or limits.connections_per_five_minutes
        self._context = ShardContext(
            venue=venue,
            venue_handle=handle,
            engine=engine,
            settings=settings,
            clock=clock,
            attempts=Pacer(attempts, _FIVE_MINUTES_S, clock),
            messages_per_second=plan.messages_per_second or limits.messages_per_second,
            on_connected=self._on_connected,
            on_lost=self._on_lost,
            capture=capture,
        )
        self._streams_per_connection = plan.streams_per_connection or limits.streams_per_connection
        self._engine = engine
        self._capture = capture
        self._homes: dict[str, Shard] = {}
        self._symbols: dict[str, tuple[str, int, DataType]] = {}
        """Stream name → symbol, engine handle, data type."""
        self._shards_of: dict[str, tuple[Shard, ...]] = {}
        """Symbol → the shards of its streams; replaced and never changed, so other threads may read it."""
        self._watches: list[Watch] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._listed_once = asyncio.Event()
        self._list_wanted = asyncio.Event()
        self._gave_up_waiting = False
        self._listed_at = 0.0
        self.watchdog = Watchdog(self.watches, engine, settings, clock, venue.name)

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        for work, name in (
            (self.snapshots.run(), "snapshots"), (self.watchdog.run(), "watchdog"), (self._keep_listing(), "listing"),
        ):  # fmt: skip
            self._spawn(work, f"{name} {self.venue.name}")

    async def stop(self) -> None:
        """End all connections and tasks."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._rest.close()

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_listing(self) -> None:
        backoff = Backoff(1.0, 300.0)
        while True:
            self._list_wanted.clear()
            try:
                body = await self._rest.get(self.venue.instruments_request())
                instruments, weight = self.venue.instruments(body)
                self.listed = self._listing(instruments)
                if weight and not self._fixed_weight:
                    self._rest.budget.set_weight_per_minute(weight)
                self._listed_once.set()
                self._gave_up_waiting = False
                backoff.attempts = 0
                log.info("symbols listed", venue=self.venue.name, symbols=len(self.listed))
            except RavenError as error:
                pause = max(backoff.next(), error.retry_after_s if isinstance(error, RateLimited) else 0.0)
                log.warning(
                    "symbols not listed", venue=self.venue.name, reason=error.message, retry_in_s=round(pause, 1)
                )
                await self._clock.sleep(pause)
                continue
            self._listed_at = self._clock.monotonic()
            await self._list_wanted.wait()

    def _listing(self, instruments: Mapping[str, Instrument]) -> Listing:
        plan = self._plan
        return Listing(self.venue.name, instruments, plan.overrides, Selection(plan.include, plan.exclude))

    async def look_up(self, text: str, seconds: float) -> None:
        """Make sure that the list is known and, when it lacks a symbol or name, not older than a minute; wait so
        long.
        """
        await self.wait_listed(seconds)
        if not self.listed or self.listed.known_as(text) in self.listed:
            return
        if self._clock.monotonic() - self._listed_at < _LIST_AGAIN_S:
            return
        self._listed_once.clear()
        self._list_wanted.set()
        await self.wait_listed(seconds)

    async def wait_listed(self, seconds: float) -> None:
        """Wait until the venue's symbols are known; or give up, and who comes then does not wait any more."""
        if self._listed_once.is_set() or self._gave_up_waiting:
            return
        waits = [asyncio.ensure_future(self._listed_once.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._listed_once.is_set() and not self._gave_up_waiting:
            self._gave_up_waiting = True
            log.warning("collecting without the list of symbols", venue=self.venue.name, waited_s=seconds)

    async def until_listed(self) -> None:
        """Wait until the venue's symbols are known, however long that takes."""
        await self._listed_once.wait()

    # --- streams ----------------------------------------------------------------------------------------------------

    async def capture_book(self, symbol: str) -> None:
        """Ask for a book for the capture alone. Raises: see `RestClient.get`."""
        request = self.venue.depth_request(symbol, self._settings.snapshot_levels)
        body = await self._rest.get(request)
        self._capture.answered(self.venue.name, self._clock.time_ns(), request.path, body)

    def add(self, symbol: str, instrument: int, data_type: DataType) -> None:
        """Start the streams of a data type."""
        for stream in self.venue.streams(symbol, data_type):
            if stream.name not in self._homes:
                self._symbols[stream.name] = symbol, instrument, data_type
                shard = self._shard_for(stream)
                self._homes[stream.name] = shard
                shard.add([stream.name])
                self._note_shards(symbol)
                if shard.is_connected:
                    record_connected(self.venue.name, [symbol], shard.url)

    def remove(self, symbol: str, data_type: DataType) -> None:
        """End the streams of a data type."""
        for stream in self.venue.streams(symbol, data_type):
            shard = self._homes.pop(stream.name, None)
            self._symbols.pop(stream.name, None)
            self.watchdog.forget(stream.name)
            if shard is not None:
                shard.remove([stream.name])
        self._note_shards(symbol)

    def _note_shards(self, symbol: str) -> None:
        self._watches = None
        every = (stream for kind in DataType for stream in self.venue.streams(symbol, kind))
        shards = {self._homes[stream.name]: None for stream in every if stream.name in self._homes}
        if shards:
            self._shards_of[symbol] = tuple(shards)
        else:
            self._shards_of.pop(symbol, None)

    def _shard_for(self, stream: Stream) -> Shard:
        for shard in self.shards:
            if shard.category == stream.category and len(shard.streams) < self._streams_per_connection:
                return shard
        shard = Shard(self._context, stream.category)
        self.shards.append(shard)
        self._spawn(shard.run(), f"{self.venue.name} {stream.category} {len(self.shards)}")
        return shard

    def watches(self) -> Sequence[Watch]:
        """Return every stream that should be speaking; a list of its own, whatever is added or removed later."""
        if self._watches is None:
            rows = self._symbols.items()
            self._watches = [Watch(name, *row, self._homes[name]) for name, row in rows]
        return self._watches

    def is_connected(self, symbol: str) -> bool:
        """Whether all streams of a symbol are being received; called from other threads, too."""
        shards = self._shards_of.get(symbol, ())
        return bool(shards) and all(shard.is_connected for shard in shards)

    def stream_trouble(self, symbol: str, data_type: DataType) -> str:
        """Say in one word why the streams of a data type do not speak, empty when they do; from any thread."""
        names = [stream.name for stream in self.venue.streams(symbol, data_type)]
        for name in names:
            shard = self._homes.get(name)
            if shard is None or not shard.is_connected:
                return "connecting"
            if name in shard.refused:
                return "refused"
        return "silent" if any(name in self.watchdog.silent for name in names) else ""

    # --- what happens -----------------------------------------------------------------------------------------------

    def shard_of(self, connection: int) -> Shard | None:
        """Return the shard that an engine connection belongs to."""
        return next((shard for shard in self.shards if shard.owns(connection)), None)

    def _symbols_on(self, shard: Shard) -> set[str]:
        return {self._symbols[name][0] for name in shard.streams if name in self._symbols}

    def _on_connected(self, shard: Shard) -> None:
        record_connected(self.venue.name, self._symbols_on(shard), shard.url)
        for name in shard.streams:
            self.watchdog.begin_anew(name)

    def _on_lost(self, shard: Shard, reason: str, retry_in_s: float | None) -> None:
        pause = None if retry_in_s is None else round(retry_in_s, 1)
        record_disconnected(self.venue.name, self._symbols_on(shard), _word(reason), pause)
        log.info("connection lost", venue=self.venue.name, url=shard.url, reason=reason)
        books: dict[int, bool] = {}
        for name in shard.streams:
            if name in self._symbols:
                _, instrument, data_type = self._symbols[name]
                books[instrument] = books.get(instrument, False) or data_type is DataType.ORDERBOOK
        for instrument, has_book in books.items():
            if has_book:
                # An answer under way belongs to the stream that was lost.
                self.snapshots.forget(instrument)
            self._engine.desync(instrument, "reconnect", book=has_book)

    def status(self) -> list[dict[str, Any]]:
        """Describe every connection, for people."""
        now = self._clock.monotonic()
        return [
            {
                "url": shard.url,
                "category": shard.category,
                "connected": shard.is_connected,
                "connected_s": None if shard.connected_since is None else round(now - shard.connected_since, 1),
                "streams": len(shard.streams),
                "refused": dict(shard.refused),
                "silent": sorted(self.watchdog.silent & shard.streams.keys()),
                "reconnects": shard.reconnects,
                "rotations": shard.rotations,
                "last_error": shard.last_error,
            }
            for shard in self.shards
        ]


def _word(reason: str) -> str:
    """Return one of a few words for a metric's label."""
    words = {
        "venue closed": "venue_closed",
        "not answered": "no_answer",
        "rotated": "planned",
        "stopped": "planned",
        "no stream": "planned",
        "silent": "silence",
        "cannot connect": "unreachable",
        "message too long": "message_too_long",
    }
    return next((word for start, word in words.items() if start in reason), "lost")


def with_options(venue: Venue, options: Mapping[str, str]) -> Venue:
    """Return a venue with single facts replaced (a recording that has other streams than the live venue)."""
    return replace(venue, **options) if options else venue  # type: ignore[type-var]

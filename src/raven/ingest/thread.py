"""The ingest thread: its own event loop, the engine, every venue's feed. The rest of the program talks to it through
`Ingest`, whose coroutines run on the caller's loop and whose readings may be taken from any thread.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import uvloop

from raven._core import Engine, Hub
from raven.clock import Clock, SystemClock
from raven.errors import InternalError
from raven.ingest.budgets import Budgets
from raven.ingest.capture import Capture
from raven.ingest.checkpoints import Checkpoints
from raven.ingest.collections import CONFIGURED, CONFIGURED_TYPES, Collections
from raven.ingest.engine_host import EngineHost
from raven.ingest.feed import VenueFeed, with_options
from raven.ingest.quarantine import Quarantine
from raven.ingest.settings import EngineSettings, IngestSettings, VenuePlan
from raven.instruments import Instrument, is_pattern, plain
from raven.observe import get_logger, record_error, record_loop
from raven.ports import Venue
from raven.resilience.bans import Bans
from raven.topics import Collected, DataType, Topic

__all__ = ["Ingest"]

log = get_logger("ingest")

Result = TypeVar("Result")

_LAG_CHECK_S = 1.0
# A process that stood still for so long (a paused machine, a debugger) may have missed what the venue sent, so every
# book is taken anew.
_PAUSED_S = 10.0
_STOP_S = 5.0


class Ingest:
    """Collects from venues into a hub."""

    def __init__(
        self,
        hub: Hub,
        venues: Sequence[tuple[Callable[..., Venue], VenuePlan]],
        *,
        settings: IngestSettings | None = None,
        engine: EngineSettings | None = None,
        clock: Clock | None = None,
        capture: Capture | None = None,
    ) -> None:
        self.settings = settings or IngestSettings()
        options = asdict(engine or EngineSettings())
        ring_bytes = options.pop("ring_bytes")
        self.hub = hub
        self.engine = Engine(hub, **options)
        self.feeds: dict[str, VenueFeed] = {}
        self.plans = [plan for _, plan in venues]
        self._configured = {
            plan.name: tuple(plain(text) for text in plan.symbols if not is_pattern(text)) for plan in self.plans
        }
        """What is collected at all times, by the venue's symbols; guessed until the venue's list is known."""
        self._factories = venues
        self._clock = clock or SystemClock()
        self._capture = capture or Capture()
        self._host = EngineHost(self.engine, self._on_events, self._capture, self._clock, self._look_for_pause)
        self._beat_at = self._clock.monotonic()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="raven-ingest", daemon=True)
        self._stopped = False
        self._failure: BaseException | None = None
        self._background: set[asyncio.Task[None]] = set()
        # Asked by health from the first moment, before there is a thread.
        self.collections = Collections(self._host, hub, self.feeds, self.settings, ring_bytes, self._clock)
        self.quarantine = Quarantine(self.settings.state_dir, self.settings.quarantine_max_bytes, self._clock)

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the thread and the configured collections; returns before anything is connected."""
        self._thread.start()
        await self.call(self._begin())

    async def stop(self) -> None:
        """End all connections, then the thread. Safe to call twice."""
        if self._stopped or not self._thread.is_alive():
            return
        self._stopped = True
        await self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, _STOP_S)
        await asyncio.to_thread(self.quarantine.close)

    async def watch(self) -> None:
        """Wait until the thread has ended, which it does only in `stop`.

        Raises: InternalError when it ended by itself.
        """
        await asyncio.to_thread(self._thread.join)
        if not self._stopped:
            raise InternalError(f"the ingest thread ended: {self._failure!r}") from self._failure

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        if self.settings.cpu is not None and hasattr(os, "sched_setaffinity"):
            try:
                os.sched_setaffinity(0, {self.settings.cpu})
            except OSError as error:
                log.warning("not pinned", cpu=self.settings.cpu, reason=str(error))
        if self.settings.busy_poll:
            self._loop.call_soon(self._spin)
        try:
            self._loop.run_forever()
        except BaseException as error:
            # A panic of the engine must be seen by `watch`.
            self._failure = error
            raise
        finally:
            self._loop.close()

    def _spin(self) -> None:
        # A callback that is always due keeps the loop from sleeping in the kernel.
        self._loop.call_soon(self._spin)

    async def _begin(self) -> None:
        bans_file = None if self.settings.state_dir is None else self.settings.state_dir / "bans.json"
        budgets = Budgets(self.settings.budget_share, self._clock, Bans(self._clock, bans_file))
        host = self._host
        for factory, plan in self._factories:
            venue = with_options(factory(ws_url=plan.ws_url, rest_url=plan.rest_url), plan.options)
            handle = host.add_venue(venue.name, venue.sequence_rule)
            self.feeds[venue.name] = VenueFeed(
                venue, handle, host, self.settings, plan, self._clock, budgets, self._capture
            )
        for feed in self.feeds.values():
            feed.start()
        for plan in self.plans:
            self._spawn(self._collect_configured(plan), f"configured symbols of {plan.name}")
        self._spawn(self._watch_lag(), "ingest lag")
        if self._capture.tap is not None:
            self._spawn(Checkpoints(self._capture, self._collected_books, self._clock).run(), "checkpoints")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _collected_books(self) -> list[tuple[VenueFeed, str]]:
        topics = self.collections.topics()
        return [(self.feeds[one.venue], one.symbol) for one in topics if one.data_type is DataType.ORDERBOOK]

    async def _collect_configured(self, plan: VenuePlan) -> None:
        feed = self.feeds[plan.name]
        while True:
            symbols = await self._configured_symbols(plan)
            is_guess = not feed.listed
            for gone in set(self._configured[plan.name]).difference(symbols):
                for data_type in CONFIGURED_TYPES:
                    self.collections.release(CONFIGURED, plan.name, gone, data_type)
            self._configured[plan.name] = tuple(symbols)
            for symbol in symbols:
                await self._collect_symbol(plan.name, symbol)
            if not is_guess:
                return
            # Without the venue's list a name is a guess, and a pattern stands for nothing.
            await feed.until_listed()

    async def _collect_symbol(self, venue: str, symbol: str) -> None:
        for data_type in CONFIGURED_TYPES:
            try:
                await self.collections.acquire(CONFIGURED, venue, symbol, data_type)
            except Exception as error:
                # A wrong symbol in the configuration must not keep the others from being collected.
                record_error(error, f"collecting {symbol} from {venue}")
                break

    async def _configured_symbols(self, plan: VenuePlan) -> list[str]:
        """Return the venue's symbols for what the configuration names, each once, without what cannot be had."""
        found: dict[str, None] = {}
        for text in plan.symbols:
            try:
                if is_pattern(text):
                    matches = await self.collections.matching(plan.name, text)
                    log.info("symbols chosen", venue=plan.name, pattern=text, symbols=len(matches))
                    found |= dict.fromkeys(one.symbol for one in matches)
                else:
                    one = await self.collections.resolve(plan.name, text)
                    if one.factor > 1:
                        log.info(
                            "a unit of several", venue=plan.name, symbol=one.symbol, name=one.name, factor=one.factor
                        )
                    found[one.symbol] = None
            except Exception as error:
                record_error(error, f"collecting {text} from {plan.name}")
        return list(found)

    async def _watch_lag(self) -> None:
        clock = self._clock
        self._beat()
        while True:
            due = clock.monotonic() + _LAG_CHECK_S
            await clock.sleep(_LAG_CHECK_S)
            late_s = max(0.0, clock.monotonic() - due)
            record_loop("ingest", late_s, len(asyncio.all_tasks()))
            self._look_for_pause()

    def _look_for_pause(self) -> None:
        """Take every book anew if the process stood still.

        Called every second, and before a frame that comes after a longer silence of this loop: what waited in sockets
        meanwhile is read before anything else, and must not be shown as if it had just happened.
        """
        late_s = self._clock.monotonic() - self._beat_at - _LAG_CHECK_S
        self._beat()
        if late_s > _PAUSED_S:
            log.warning("ingest stood still", seconds=round(late_s, 1), next="every book is taken anew")
            for _, instrument in self.instruments():
                self._host.desync(instrument, "paused")

    def _beat(self) -> None:
        self._beat_at = self._clock.monotonic()
        self._host.doubt_from_ns = self._clock.time_ns() + round((_LAG_CHECK_S + _PAUSED_S) * 1e9)

    async def _end(self) -> None:
        background = list(self._background)
        for task in background:
            task.cancel()
        self.collections.stop()
        await asyncio.gather(*background, return_exceptions=True)
        await asyncio.gather(*(feed.stop() for feed in self.feeds.values()))

    async def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the ingest loop and wait for it on the caller's.

        Raises: InternalError after `stop`, and whatever the coroutine raises.
        """
        if not self._thread.is_alive():
            work.close()
            raise InternalError("the ingest thread does not run")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    # --- collections, from any loop ---------------------------------------------------------------------------------

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        """See `Collections.acquire`."""
        return await self.call(self.collections.acquire(holder, venue, symbol, data_type, depth))

    def venues(self) -> Sequence[str]:
        """Name the venues, the preferred one first."""
        return [plan.name for plan in self.plans]

    def symbols(self, venue: str) -> Sequence[str]:
        """Name the symbols that are configured for a venue, as the venue writes them."""
        return self._configured.get(venue, ())

    def known_as(self, venue: str, text: str) -> str:
        """Return the venue's symbol for a symbol or name as far as it is known now; see `Listing.known_as`."""
        feed = self.feeds.get(venue)
        return plain(text) if feed is None else feed.listed.known_as(text)

    async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
        """Say whether a venue lists a symbol and has this kind of data for it.

        Raises: ConfigurationError for a venue that is not configured.
        """
        # A thousand clients that subscribe at once ask this for each of their topics: no hop to the other thread.
        if self.collections.offers_at_once(venue, symbol, data_type):
            return True
        return await self.call(self.collections.offers(venue, symbol, data_type))

    async def resolve(self, venue: str, text: str) -> Instrument:
        """Return the instrument that a symbol or name means on a venue; see `Collections.resolve`."""
        listed = self.collections.feed(venue).listed
        # As above: what is on the list needs no hop.
        if listed.known_as(text) in listed:
            return listed.resolve(text)
        return await self.call(self.collections.resolve(venue, text))

    async def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None:
        """See `Collections.release`."""
        await self.call(_run_now(lambda: self.collections.release(holder, venue, symbol, data_type)))

    async def release_all(self, holder: str) -> None:
        """See `Collections.release_all`."""
        await self.call(_run_now(lambda: self.collections.release_all(holder)))

    def collected(self) -> list[Collected]:
        """List what is collected, sorted; the status says what the engine and the connections know."""
        holders = sorted(self.collections.holders().items())
        return [Collected(topic, held_by, self._status_of(topic, held_by)) for topic, held_by in holders]

    def _status_of(self, topic: Topic, holders: frozenset[str]) -> str:
        if not holders:
            return "lingering"
        trouble = self.feeds[topic.venue].stream_trouble(topic.symbol, topic.data_type)
        if trouble:
            return trouble
        topic_id = self.hub.find(topic.venue, topic.symbol, topic.data_type)
        instrument = self.collections.instruments().get((topic.venue, topic.symbol))
        try:
            if topic.data_type is DataType.ORDERBOOK and instrument is not None:
                state = self.engine.state(instrument)
                return "live" if state == "synced" else state
            return "live" if topic_id is not None and self.hub.head(topic_id) else "waiting"
        except KeyError:
            return "lingering"  # It was removed since the list was taken.

    # --- what the engine has to tell ----------------------------------------------------------------------------------

    def _on_events(self) -> None:
        for event, connection, instrument, reason, number, raw in self.engine.take_events():
            venue, symbol = self.collections.name_of(instrument)
            match event:
                case "resync":
                    self._on_resync(venue, symbol, instrument, reason)
                case "synced":
                    log.info("book in sync", venue=venue, symbol=symbol, update_id=number)
                    if venue:
                        self.feeds[venue].snapshots.synced(instrument)
                case "rejected":
                    self.quarantine.keep(venue or self._venue_of(connection), symbol, reason, number, raw)
                case "gap":
                    log.warning("trades missing", venue=venue, symbol=symbol, missing=number, every_s=1)
                case "control":
                    self._on_control(connection, reason, raw)
                case "overflow":
                    log.error("engine events lost", lost=number, next="counters stay exact, see /metrics")

    def _on_resync(self, venue: str, symbol: str, instrument: int, reason: str) -> None:
        if venue:
            if reason not in ("start", "snapshot_too_old"):
                log.warning("book out of sync", venue=venue, symbol=symbol, reason=reason, next="snapshot")
            self.feeds[venue].snapshots.request(instrument, symbol, reason)

    def _on_control(self, connection: int, reason: str, raw: bytes) -> None:
        for feed in self.feeds.values():
            shard = feed.shard_of(connection)
            if shard is None:
                continue
            if reason == "reply":
                shard.on_reply(connection, raw)
            else:
                log.warning("venue announces its end", venue=feed.venue.name, notice=reason, next="rotate")
                shard.rotate()

    def _venue_of(self, connection: int) -> str:
        return next((name for name, feed in self.feeds.items() if feed.shard_of(connection)), "")

    # --- readings, from any thread ------------------------------------------------------------------------------------

    def status(self) -> dict[str, list[dict[str, Any]]]:
        """Describe every connection of every venue."""
        return {name: feed.status() for name, feed in list(self.feeds.items())}

    def waiting_books(self) -> dict[str, dict[str, float]]:
        """Return the symbols of every venue that wait for a snapshot, with the seconds until it may be expected."""
        return {name: feed.snapshots.waiting() for name, feed in list(self.feeds.items())}

    def instruments(self) -> list[tuple[tuple[str, str], int]]:
        """Return `((venue, symbol), engine handle)` of everything that is collected, sorted."""
        return sorted(dict(self.collections.instruments()).items())

    def is_connected(self, venue: str, symbol: str) -> bool:
        """Whether all streams of a symbol are being received."""
        feed = self.feeds.get(venue)
        return feed is not None and feed.is_connected(symbol)

    def books(self) -> list[tuple[str, str, str]]:
        """Return `(venue, symbol, state)` of every book that is collected; states as in `Engine.state`."""
        wanted = {
            (topic.venue, topic.symbol) for topic in self.collections.topics() if topic.data_type is DataType.ORDERBOOK
        }
        return [(venue, symbol, state) for venue, symbol, state, _ in self.counters() if (venue, symbol) in wanted]

    def counters(self) -> list[tuple[str, str, str, dict[str, int]]]:
        """Return `(venue, symbol, state, counters)` of every symbol that is collected."""
        rows = []
        for (venue, symbol), instrument in self.instruments():
            try:
                rows.append((venue, symbol, self.engine.state(instrument), self.engine.counters(instrument)))
            except KeyError:
                continue  # It was removed since the list was taken.
        return rows


async def _run_now(work: Callable[[], Result]) -> Result:
    return work()

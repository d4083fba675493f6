"""One connection's worth of streams: connect, subscribe, serve, rotate, and after a loss begin again, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raven.clock import Clock
from raven.errors import NetworkTimeout
from raven.ingest.capture import Capture
from raven.ingest.connection import Connection, SocketRules
from raven.ingest.engine_port import BookEngine
from raven.ingest.requests import StreamRequests
from raven.ingest.settings import IngestSettings
from raven.observe import get_logger
from raven.observe.metrics import record_error
from raven.ports import Venue
from raven.resilience.backoff import Backoff
from raven.resilience.pacing import Pacer

__all__ = ["Shard", "ShardContext"]

log = get_logger("ingest")

# A rotation that failed is tried again soon: the old connection still has some minutes.
ROTATE_AGAIN_S = 60.0
# Venues answer within milliseconds; one that does not answer a request has lost it, or us.
_ANSWER_WITHIN_S = 10.0
# How long both connections of a rotation have to deliver side by side. Two sockets of one venue run milliseconds apart;
# what is held of the new one meanwhile covers this time, so nothing can fall between them.
_OVERLAP_S = 0.5


@dataclass(frozen=True, slots=True)
class ShardContext:
    """What the shards of one venue share."""

    venue: Venue
    venue_handle: int
    engine: BookEngine
    settings: IngestSettings
    clock: Clock
    attempts: Pacer
    """Connection attempts, for the whole venue: limits are per address."""
    messages_per_second: float
    on_connected: Callable[[Shard], None]
    on_lost: Callable[[Shard, str, float | None], None]
    capture: Capture = field(default_factory=Capture)


@dataclass(frozen=True, slots=True)
class _Link:
    connection: Connection
    requests: StreamRequests


class Shard:
    """The streams of one category that share a connection."""

    def __init__(self, context: ShardContext, category: str) -> None:
        self.category = category
        self.streams: dict[str, None] = {}
        """Streams that are wanted, in the order they were asked for."""
        self.connected_since: float | None = None
        self.reconnects = 0
        self.rotations = 0
        self.last_error = ""
        self._context = context
        self._link: _Link | None = None
        self._links: dict[int, _Link] = {}
        """Open connections by engine handle: two while one replaces the other."""
        self._changed = asyncio.Event()
        self._rotate = asyncio.Event()
        self._backoff = Backoff(context.settings.reconnect_delay_s, context.settings.max_reconnect_delay_s)

    # --- what is wanted -----------------------------------------------------------------------------------------

    def add(self, names: Iterable[str]) -> None:
        """Want more streams."""
        self.streams.update(dict.fromkeys(names))
        self._changed.set()

    def remove(self, names: Iterable[str]) -> None:
        """Want these no longer."""
        for name in names:
            self.streams.pop(name, None)
        self._changed.set()

    def resubscribe(self, names: Iterable[str]) -> None:
        """End streams and start them again on the same connection."""
        if self._link is not None:
            self._link.requests.ask_again(names)
            self._changed.set()

    def rotate(self) -> None:
        """Replace the connection by a new one without a gap."""
        self._rotate.set()

    def reconnect(self, reason: str) -> None:
        """Give the connection up and take a new one."""
        if self._link is not None:
            self._link.connection.close(reason)

    def owns(self, handle: int) -> bool:
        """Whether an engine connection handle is one of this shard's."""
        return handle in self._links

    def on_reply(self, handle: int, raw: bytes) -> None:
        """Take the venue's answer to a request on one of the connections."""
        link = self._links.get(handle)
        if link is not None and link.requests.on_reply(raw):
            self._changed.set()

    @property
    def refused(self) -> Mapping[str, str]:
        """Streams that the venue refused, with its words."""
        return {} if self._link is None else self._link.requests.refused

    @property
    def is_connected(self) -> bool:
        """Whether its streams are being received."""
        return self._link is not None

    @property
    def url(self) -> str:
        """Where it connects to."""
        return self._context.venue.connection_url(self.category)

    # --- what it does -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the streams flowing until cancelled."""
        clock = self._context.clock
        try:
            while True:
                while not self.streams:
                    self._changed.clear()
                    await self._changed.wait()
                began = clock.monotonic()
                try:
                    reason = await self._serve(await self._open())
                except NetworkTimeout as error:
                    reason = error.message
                except Exception as error:
                    # A bug here must not end the feed of these streams for ever.
                    record_error(error, f"connection to {self.url}")
                    reason = f"{type(error).__name__}: {error}"
                self._backoff.held(clock.monotonic() - began)
                pause = self._backoff.next() if self.streams else None
                self._lost(reason, pause)
                if pause is not None:
                    self.reconnects += 1
                    await clock.sleep(pause)
        finally:
            self._drop_all("stopped")

    async def _open(self, *, held: bool = False) -> _Link:
        context = self._context
        await context.attempts.take()
        handle = context.engine.open_connection(context.venue_handle)
        context.capture.opening(handle, context.venue.name, self.category, self.url)
        settings = context.settings
        rules = SocketRules(settings.connect_timeout_s, settings.max_frame_bytes, context.venue.is_reply)
        # Our pongs count as messages of ours: one per second is kept back for them.
        pacer = Pacer(max(1.0, context.messages_per_second - 1.0), 1.0, context.clock)
        try:
            connection = await Connection.open(
                self.url, context.engine, handle, context.engine.handle_events, rules, pacer, held=held,
                capture=context.capture,
            )  # fmt: skip
        except BaseException:
            context.engine.close_connection(handle)
            context.capture.closed(handle, "not opened")
            raise
        link = _Link(connection, StreamRequests(connection, context.venue, context.clock))
        self._links[handle] = link
        return link

    def _drop(self, link: _Link, reason: str) -> None:
        link.connection.close(reason)
        if self._links.pop(link.connection.handle, None) is not None:
            self._context.engine.close_connection(link.connection.handle)
            self._context.capture.closed(link.connection.handle, reason)

    def _drop_all(self, reason: str) -> None:
        for link in list(self._links.values()):
            self._drop(link, reason)

    async def _serve(self, link: _Link) -> str:
        """Serve streams until the connection is lost or nothing is wanted any more; return why."""
        clock = self._context.clock
        self._link = link
        self.connected_since = clock.monotonic()
        self.last_error = ""
        self._context.on_connected(self)
        rotate_at = self.connected_since + self._life_s
        while True:
            self._changed.clear()
            await link.requests.bring_in_line(self.streams)
            if not self.streams:
                link.connection.close("no stream is wanted")
            oldest = link.requests.oldest_unanswered_at
            until = rotate_at if oldest is None else min(rotate_at, oldest + _ANSWER_WITHIN_S)
            await self._wait(link.connection.closed, until - clock.monotonic())
            now, oldest = clock.monotonic(), link.requests.oldest_unanswered_at
            if link.connection.closed.done():
                return link.connection.closed.result()
            if oldest is not None and now >= oldest + _ANSWER_WITHIN_S:
                return f"a request was not answered within {_ANSWER_WITHIN_S:g} s"
            if self._rotate.is_set() or now >= rotate_at:
                self._rotate.clear()
                new = await self._replace(link)
                rotate_at = clock.monotonic() + (ROTATE_AGAIN_S if new is link else self._life_s)
                link = self._link = new

    @property
    def _life_s(self) -> float:
        return self._context.venue.limits.max_age_s - self._context.settings.rotate_early_s

    async def _wait(self, closed: asyncio.Future[str], seconds: float) -> None:
        """Wait until something changes, a rotation is asked for, the connection is lost, or the time has passed."""
        reasons = self._changed.wait(), self._rotate.wait(), self._context.clock.sleep(seconds)
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(reason) for reason in reasons]
        try:
            await asyncio.wait({closed, *waits}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # --- rotation -------------------------------------------------------------------------------------------------

    async def _replace(self, old: _Link) -> _Link:
        """Open the next connection, wait until it delivers what the old one does, then change over; return who stays.

        What the new one brings is held back until the old one is closed, and then handed over from half a second
        before that moment on: the engine drops what it knows, and the rest follows without a hole. Feeding both at
        once would let the faster one run ahead, and the slower one's events would look late.
        """
        try:
            new = await self._open(held=True)
        except NetworkTimeout as error:
            return self._keep(old, error.message)
        reason = "no answer to its requests"
        try:
            if await self._delivers(new, old):
                self._drop(old, "rotated")
                new.connection.let_go()
                self.connected_since = self._context.clock.monotonic()
                self.rotations += 1
                self.last_error = ""
                log.info("rotated", venue=self._context.venue.name, url=self.url, streams=len(self.streams))
                return new
        except NetworkTimeout as error:
            reason = error.message
        self._drop(new, "rotation failed")
        return self._keep(old, reason)

    def _keep(self, old: _Link, reason: str) -> _Link:
        self.last_error = f"rotation failed: {reason}"
        log.warning("rotation failed", venue=self._context.venue.name, reason=reason, retry_s=ROTATE_AGAIN_S)
        return old

    async def _delivers(self, new: _Link, old: _Link) -> bool:
        """Wait until the new connection carries everything; False when it does not in time or was lost.

        Streams that happen to be quiet are waited for until the overlap ends, as long as every request was accepted.
        """
        clock = self._context.clock
        deadline = clock.monotonic() + self._context.settings.overlap_s
        settled_at: float | None = None
        while clock.monotonic() < deadline:
            if not new.requests.is_settled or settled_at is None:
                await new.requests.bring_in_line(self.streams)
                settled_at = clock.monotonic() if new.requests.is_settled else None
            if new.connection.closed.done():
                return False
            if old.connection.closed.done():
                return True
            if settled_at is not None and clock.monotonic() >= settled_at + _OVERLAP_S and new.connection.has_held:
                return True
            await clock.sleep(0.05)
        return settled_at is not None

    def _lost(self, reason: str, retry_in_s: float | None) -> None:
        was_connected = self._link is not None
        self._link, self.connected_since = None, None
        self._drop_all(reason)
        self.last_error = reason
        if was_connected:
            self._context.on_lost(self, reason, retry_in_s)
        else:
            log.warning(
                "not connected",
                venue=self._context.venue.name,
                reason=reason,
                attempts=self._backoff.attempts,
                retry_in_s=None if retry_in_s is None else round(retry_in_s, 1),
                check="the network, and ws_url of this venue in the configuration",
            )

"""One connection's worth of streams: connect, subscribe, serve, rotate, and after a loss begin again, for ever."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from raven.clock import Clock
from raven.errors import NetworkTimeout
from raven.ingest.connection import Connection, batches
from raven.ingest.engine_port import BookEngine
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
    on_lost: Callable[[Shard, str], None]


class Shard:
    """The streams of one category that share a connection."""

    def __init__(self, context: ShardContext, category: str) -> None:
        self.category = category
        self.streams: dict[str, None] = {}
        """Streams that are wanted, in the order they were asked for."""
        self.refused: dict[str, str] = {}
        """Streams that the venue refused, with its words."""
        self.connected_since: float | None = None
        self.reconnects = 0
        self.last_error = ""
        self._context = context
        self._subscribed: dict[str, None] = {}
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self._rotate = asyncio.Event()
        self._request_ids = itertools.count(1)
        self._unanswered: dict[int, tuple[str, Sequence[str]]] = {}
        self._backoff = Backoff(context.settings.reconnect_delay_s, context.settings.max_reconnect_delay_s)
        self._handles: set[int] = set()

    # --- what is wanted -----------------------------------------------------------------------------------------

    def add(self, names: Iterable[str]) -> None:
        """Want more streams."""
        self.streams.update(dict.fromkeys(names))
        self._changed.set()

    def remove(self, names: Iterable[str]) -> None:
        """Want these no longer."""
        for name in names:
            self.streams.pop(name, None)
            self.refused.pop(name, None)
        self._changed.set()

    def resubscribe(self, names: Iterable[str]) -> None:
        """End streams and start them again on the same connection."""
        connection = self._connection
        again = [name for name in names if name in self._subscribed]
        if connection is not None and again:
            self._subscribed = {name: None for name in self._subscribed if name not in again}
            self._tell(connection, "unsubscribe", again)
            self._changed.set()

    def rotate(self) -> None:
        """Replace the connection by a new one without a gap."""
        self._rotate.set()

    def reconnect(self, reason: str) -> None:
        """Give the connection up and take a new one."""
        if self._connection is not None:
            self._connection.close(reason)

    def owns(self, handle: int) -> bool:
        """Whether an engine connection handle is one of this shard's."""
        return handle in self._handles

    @property
    def is_connected(self) -> bool:
        """Whether its streams are being received."""
        return self._connection is not None

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
                    await self._wait_for_change()
                began = clock.monotonic()
                try:
                    reason = await self._serve(await self._connect())
                except NetworkTimeout as error:
                    reason = error.message
                except Exception as error:
                    # A bug here must not end the feed of these streams for ever.
                    record_error(error, f"connection to {self.url}")
                    reason = f"{type(error).__name__}: {error}"
                self._lost(reason)
                self._backoff.held(clock.monotonic() - began)
                if self.streams:
                    self.reconnects += 1
                    await clock.sleep(self._backoff.next())
        finally:
            if self._connection is not None:
                self._connection.close("stopped")

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        if not self.streams:
            await self._changed.wait()

    async def _connect(self) -> Connection:
        context = self._context
        await context.attempts.take()
        handle = context.engine.open_connection(context.venue_handle)
        self._handles.add(handle)
        try:
            return await Connection.open(
                self.url,
                context.engine,
                handle,
                context.engine.handle_events,
                timeout_s=context.settings.connect_timeout_s,
                max_frame_bytes=context.settings.max_frame_bytes,
            )
        except BaseException:
            self._forget(handle)
            raise

    def _forget(self, handle: int) -> None:
        self._handles.discard(handle)
        self._context.engine.close_connection(handle)

    async def _serve(self, connection: Connection) -> str:
        """Serve streams until the connection is lost or nothing is wanted any more; return why."""
        clock, settings = self._context.clock, self._context.settings
        self._take_over(connection)
        rotate_at = clock.monotonic() + self._context.venue.limits.max_age_s - settings.rotate_early_s
        pacer = Pacer(self._context.messages_per_second, 1.0, clock)
        while True:
            self._changed.clear()
            await self._send_changes(connection, pacer)
            if not self.streams:
                connection.close("no stream is wanted")
            reasons = self._changed.wait(), self._rotate.wait(), clock.sleep(rotate_at - clock.monotonic())
            waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(reason) for reason in reasons]
            try:
                await asyncio.wait({connection.closed, *waits}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if connection.closed.done():
                return connection.closed.result()
            if self._rotate.is_set() or clock.monotonic() >= rotate_at:
                self._rotate.clear()
                old = connection
                connection, pacer = await self._replace(old)
                rotated = connection is not old
                life = self._context.venue.limits.max_age_s - settings.rotate_early_s
                rotate_at = clock.monotonic() + (life if rotated else ROTATE_AGAIN_S)

    def _take_over(self, connection: Connection) -> None:
        self._connection = connection
        self._subscribed = {}
        self._unanswered.clear()
        self.connected_since = self._context.clock.monotonic()
        self.last_error = ""
        self._context.on_connected(self)

    async def _replace(self, old: Connection) -> tuple[Connection, Pacer]:
        """Open the next connection, wait until it delivers, then let the old one go.

        Meanwhile both feed the engine, which drops what comes twice by id.
        """
        clock, settings = self._context.clock, self._context.settings
        pacer = Pacer(self._context.messages_per_second, 1.0, clock)
        try:
            new = await self._connect()
        except NetworkTimeout as error:
            log.warning("rotation failed", venue=self._context.venue.name, reason=error.message, retry_s=ROTATE_AGAIN_S)
            return old, pacer
        self._connection, self._subscribed = new, {}
        await self._send_changes(new, pacer)
        deadline = clock.monotonic() + settings.overlap_s
        # As many frames as streams: most have spoken on the new socket. Quiet ones get the deadline.
        while new.frames < len(self.streams) and clock.monotonic() < deadline and not new.closed.done():
            await clock.sleep(0.05)
        old.close("rotated")
        self._forget(old.handle)
        self.connected_since = clock.monotonic()
        log.info("rotated", venue=self._context.venue.name, url=self.url, streams=len(self.streams))
        return new, pacer

    async def _send_changes(self, connection: Connection, pacer: Pacer) -> None:
        """Bring what is subscribed in line with what is wanted, within the message limit."""
        size = self._context.venue.limits.streams_per_message
        gone = [name for name in self._subscribed if name not in self.streams]
        for names in batches(gone, size):
            await connection.send(self._request("unsubscribe", names), pacer)
        for name in gone:
            del self._subscribed[name]
        new = [name for name in self.streams if name not in self._subscribed]
        for names in batches(new, size):
            self._subscribed.update(dict.fromkeys(names))
            await connection.send(self._request("subscribe", names), pacer)

    def _request(self, what: str, names: Sequence[str]) -> bytes:
        number = next(self._request_ids)
        self._unanswered[number] = what, names
        venue = self._context.venue
        return venue.subscribe(number, names) if what == "subscribe" else venue.unsubscribe(number, names)

    def _tell(self, connection: Connection, what: str, names: Sequence[str]) -> None:
        """Send one request from outside the serving task."""
        pacer = Pacer(self._context.messages_per_second, 1.0, self._context.clock)
        task = asyncio.ensure_future(connection.send(self._request(what, names), pacer))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def on_reply(self, raw: bytes) -> None:
        """Take the venue's answer to one of our requests."""
        reply = self._context.venue.reply(raw)
        what, names = self._unanswered.pop(reply.request_id or -1, ("", ()))
        if not reply.error:
            return
        self.last_error = reply.error
        if what == "subscribe":
            self.refused.update(dict.fromkeys(names, reply.error))
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        log.error("request refused", venue=self._context.venue.name, request=what, streams=shown, reason=reply.error)

    def _lost(self, reason: str) -> None:
        if self._connection is not None:
            self._forget(self._connection.handle)
        was_connected = self.connected_since is not None
        self._connection, self.connected_since = None, None
        self._subscribed = {}
        self.last_error = reason
        if was_connected or self.reconnects == 0:
            self._context.on_lost(self, reason)
        else:
            log.info(
                "still not connected", venue=self._context.venue.name, reason=reason, attempts=self._backoff.attempts
            )

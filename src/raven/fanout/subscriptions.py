"""Who hears what: turns requests into demand on the collector and into cursors on the server.

Runs on one asyncio loop, so nothing here needs a thread lock. Requests of one client act in the order they came;
requests of different clients never wait for each other, however long a symbol takes to start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any

from raven.clock import Clock, SystemClock
from raven.errors import RavenError
from raven.fanout.answers import ending, subscribed, unsubscribed
from raven.fanout.clients import Client, Held, Roster, Stream
from raven.fanout.filters import Delivery
from raven.fanout.limits import Limits
from raven.fanout.locate import Failures, Found, locate
from raven.fanout.names import names_of
from raven.fanout.past import PastSender, attach, take_up
from raven.fanout.ports import Collector, History, Streams
from raven.fanout.refusal import Refused, Status, Unobtainable, unobtainable
from raven.fanout.requests import (
    Answer,
    Heartbeat,
    Named,
    Subscribe,
    Unsubscribe,
    Wish,
    parse_subscribe,
    parse_unsubscribe,
)
from raven.instruments import is_symbol
from raven.observe.logs import get_logger
from raven.topics import Topic

log = get_logger("fanout")

# A stream that has sent two heartbeats promises more of them; three missed at the documented 30 s and it is gone.
HEARTBEAT_TIMEOUT_S = 90.0
# How long a client's standing interest outlives its last stream or call: long enough for a restart of the client.
INTEREST_TTL_S = 60.0
# How long one topic may take to start before its subscriber is told so.
START_TIMEOUT_S = 10.0


class Fanout:
    """Subscriptions of every client of one server."""

    def __init__(
        self,
        collector: Collector,
        streams: Streams,
        *,
        limits: Limits | None = None,
        default_depth: int = 20,
        heartbeat_timeout_s: float = HEARTBEAT_TIMEOUT_S,
        interest_ttl_s: float = INTEREST_TTL_S,
        start_timeout_s: float = START_TIMEOUT_S,
        history: History | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._collector = collector
        self._streams = streams
        self._limits = limits or Limits()
        self._default_depth = default_depth
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._interest_ttl_s = interest_ttl_s
        self._start_timeout_s = start_timeout_s
        self._clock = clock or SystemClock()
        self._now = self._clock.monotonic
        self._tasks: set[asyncio.Task[None]] = set()
        self._past = PastSender(streams, history, self._refuse)
        self.roster = Roster(self._limits)

    # ── unary calls ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def subscribe(self, request: Subscribe) -> Answer:
        """Register a client's standing interest; it flows into the client's streams, open now or later.

        The answer is `success = false` when some topic cannot be had; the others are subscribed all the same.
        Raises: Refused when the request is at fault; nothing was done then.
        """
        wish = parse_subscribe(request, self._limits, self._default_depth)
        if wish.only_joins:
            raise Refused(
                Status.INVALID_ARGUMENT,
                "symbols and data_types are empty; name at least one symbol, like 'BTCUSDT' (or '*'), and one data "
                "type",
            )
        self._require_client_id(wish.client_id, "Subscribe")
        client = self.roster.enlist(wish.client_id, self._now())
        self._begin(client)
        try:
            async with client.lock:
                return await self._add_standing(client, wish)
        finally:
            self._end(client)

    async def unsubscribe(self, request: Unsubscribe) -> Answer:
        """Drop topics from a client's standing interest and from all its streams; empty lists mean all.

        Raises: Refused when the request is at fault.
        """
        named = parse_unsubscribe(request, self._limits)
        self._require_client_id(request.client_id, "Unsubscribe")
        client = self.roster.find(request.client_id)
        if client is None:
            return Answer(
                False,
                f"client {request.client_id!r} is not known to this server; it has nothing to unsubscribe from",
                (),
            )
        self._begin(client)
        try:
            async with client.lock:
                gone = self._named(client.topics(), named)
                for topic in gone & client.standing.keys():
                    del client.standing[topic]
                    await self._release(client.holder, topic)
                for stream in list(client.streams.values()):
                    await self._drop(stream, gone)
                held = client.topics()
        finally:
            self._end(client)
        return unsubscribed(client.client_id, gone, held)

    # ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def stream_opened(self, stream_id: int, peer: str) -> None:
        """Take note of a stream; it is sent nothing until it says what it wants or who it is."""
        self.roster.open(stream_id, peer, self._now())

    def stream_message(self, stream_id: int, request: Subscribe | Unsubscribe | Heartbeat) -> None:
        """Act on a message of a stream, after the messages it sent before. What cannot be done ends the stream with a
        status.
        """
        stream = self.roster.stream(stream_id)
        if stream is None:
            return
        stream.last_message_at = self._now()
        if isinstance(request, Heartbeat):
            stream.heartbeats += 1
            if stream.client is not None and request.client_id in ("", stream.client.client_id):
                return
        if stream.pending >= self._limits.max_pending_requests:
            self._refuse(
                stream,
                Status.RESOURCE_EXHAUSTED,
                f"{stream.pending} requests of this stream wait for an earlier one; send fewer, larger requests",
            )
            return
        stream.pending += 1
        self._spawn(self._handle(stream, request), stream.tasks)

    def stream_closed(self, stream_id: int, reason: str) -> None:
        """Forget a stream that has ended and let go of what it held."""
        stream = self.roster.close(stream_id, self._now())
        if stream is not None:
            log.debug("stream closed", stream=stream_id, peer=stream.peer, reason=reason, topics=len(stream.held))
            self._spawn(self._clean_up(stream), self._tasks)

    def refuse_stream(self, stream_id: int, status: Status, message: str) -> None:
        """End a stream with a status (a message that could not be read)."""
        stream = self.roster.stream(stream_id)
        if stream is not None:
            self._refuse(stream, status, message)

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def expire(self) -> None:
        """End streams that stopped their heartbeats and forget clients that have gone; call it about once a second."""
        now = self._now()
        for stream in self.roster.streams:
            silent_s = now - stream.last_message_at
            if stream.heartbeats >= 2 and silent_s >= self._heartbeat_timeout_s and not stream.closed:
                self._refuse(
                    stream,
                    Status.DEADLINE_EXCEEDED,
                    f"no heartbeat for {silent_s:.0f} s after {stream.heartbeats} of them; a stream that sends "
                    "heartbeats must send "
                    f"one at least every {self._heartbeat_timeout_s:.0f} s",
                )
        for client in self.roster.idle(now, self._interest_ttl_s):
            self.roster.forget(client)
            log.info("standing interest expired", client=client.client_id, topics=len(client.standing))
            await self._release_all(client.holder)

    async def run(self, interval_s: float = 1.0) -> None:
        """Expire what is due until cancelled."""
        while True:
            try:
                await self.expire()
            except Exception:
                log.exception("expiring clients failed; trying again", next_s=interval_s)
            await self._clock.sleep(interval_s)

    async def close(self) -> None:
        """Forget every client and let go of everything; the server has ended the streams before."""
        for stream in self.roster.streams:
            self.stream_closed(stream.stream_id, "the server stops")
        for client in self.roster:
            self.roster.forget(client)
            await self._release_all(client.holder)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._past.close()

    def symbols_of(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return what to look for in the past: a symbol is itself, a name is what every venue calls it."""
        names, venues = names_of(self._collector), self._collector.venues()
        found = {
            symbol: None
            for text in texts
            for symbol in ({text.upper()} if is_symbol(text) else sorted({names.known_as(one, text) for one in venues}))
        }
        return tuple(found)

    def party_of(self, holder: str) -> str:
        """Return who stands behind a holder: the streams of a client and its standing interest are one party."""
        kind, _, number = holder.partition(":")
        stream = self.roster.stream(int(number)) if kind == "stream" else None
        return stream.client.holder if stream is not None and stream.client is not None else holder

    def stats(self) -> dict[str, int]:
        """Count: clients, streams, topics (distinct, over all clients), subscriptions (cursors)."""
        streams = list(self.roster.streams)
        topics: set[Topic] = set()
        for client in self.roster:
            topics |= client.topics()
        return {
            "clients": len(self.roster),
            "streams": len(streams),
            "topics": len(topics),
            "subscriptions": sum(len(stream.held) for stream in streams),
        }

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _require_client_id(self, client_id: str, method: str) -> None:
        if not client_id:
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"client_id is empty; {method} acts on the StreamMarketData streams that carry the same client_id. "
                "Without an id, "
                "send the request inside the stream",
            )

    def _begin(self, client: Client) -> None:
        if client.pending >= self._limits.max_pending_requests:
            raise Refused(
                Status.RESOURCE_EXHAUSTED,
                f"{client.pending} requests of client {client.client_id!r} wait for an earlier one; send fewer, "
                "larger requests",
            )
        client.pending += 1

    def _end(self, client: Client) -> None:
        client.pending -= 1
        client.idle_since = self._now()
        if not client.pending and not client.streams and not client.standing:
            self.roster.forget(client)

    async def _handle(self, stream: Stream, request: Subscribe | Unsubscribe | Heartbeat) -> None:
        try:
            async with stream.lock:
                if stream.closed:
                    return
                if isinstance(request, Subscribe):
                    await self._subscribe_stream(stream, request)
                elif isinstance(request, Unsubscribe):
                    named = parse_unsubscribe(request, self._limits)
                    client = await self._join(stream, request.client_id)
                    async with client.lock:
                        await self._drop(stream, self._named(stream.held, named))
                else:
                    self._limits.check_client_id(request.client_id)
                    await self._join(stream, request.client_id)
        except (Refused, Unobtainable) as refusal:
            self._refuse(stream, refusal.status, refusal.message)
        except Exception:
            log.exception("a stream's request failed", stream=stream.stream_id, peer=stream.peer)
            self._refuse(stream, Status.INTERNAL, "the server failed on this request; its log has the details")
        finally:
            stream.pending -= 1

    async def _subscribe_stream(self, stream: Stream, request: Subscribe) -> None:
        wish = parse_subscribe(request, self._limits, self._default_depth)
        client = await self._join(stream, wish.client_id)
        async with client.lock:
            self._configure(stream, wish.filters.batch, wish.filters.heartbeat_ms)
            if wish.only_joins:
                if not client.standing:
                    raise Refused(
                        Status.INVALID_ARGUMENT,
                        f"symbols and data_types are empty and client {client.client_id!r} has no standing interest "
                        "to join; name at "
                        "least one symbol, like 'BTCUSDT' (or '*'), and one data type",
                    )
                return
            found = await self._locate(wish, client)
            failures = found.failures or await self._hold_all(stream, found.topics)
            if failures:
                # A stream has no answer to put this in, and saying nothing would be a silent hole.
                raise ending(failures)

    async def _join(self, stream: Stream, client_id: str) -> Client:
        now = self._now()
        joined = self.roster.join(stream, client_id, now)
        client = stream.client
        assert client is not None, "join leaves every stream with a client"
        if joined and client.standing:
            async with client.lock:
                self._configure(stream, client.batch, client.heartbeat_ms)
                failures = await self._hold_all(stream, client.standing)
            if failures:
                raise ending(failures)
        return client

    async def _add_standing(self, client: Client, wish: Wish) -> Answer:
        found = await self._locate(wish, client)
        ids = await self._acquire_all(client.holder, found.topics, found.failures)
        obtained = {topic: delivery for topic, delivery in found.topics.items() if topic in ids}
        client.standing.update(obtained)
        client.batch = client.batch if wish.filters.batch is None else wish.filters.batch
        client.heartbeat_ms = client.heartbeat_ms if wish.filters.heartbeat_ms is None else wish.filters.heartbeat_ms
        for stream in list(client.streams.values()):
            self._configure(stream, wish.filters.batch, wish.filters.heartbeat_ms)
            lost = await self._hold_all(stream, obtained)
            if lost:
                refusal = ending(lost)
                self._refuse(stream, refusal.status, refusal.message)
        answer = subscribed(client.client_id, obtained, found.failures, len(client.streams), self._interest_ttl_s)
        return replace(answer, message="; ".join((answer.message, *found.notes)))

    async def _locate(self, wish: Wish, client: Client) -> Found:
        found = await locate(self._collector, wish, self._start_timeout_s)
        held = client.topics()
        self._limits.check_topics(client.client_id, len(held), len(found.topics.keys() - held))
        return found

    def _named(self, topics: Iterable[Topic], named: Named) -> set[Topic]:
        """Return those of the topics that an unsubscribe request means."""
        names = names_of(self._collector)
        wanted = {
            venue: {names.known_as(venue, text) for text in named.symbols}
            for venue in {topic.venue for topic in topics}
        }
        return {
            topic
            for topic in topics
            if (not named.symbols or topic.symbol in wanted[topic.venue])
            and (not named.kinds or topic.data_type in named.kinds)
            and named.venue in ("", topic.venue)
        }

    async def _hold_all(self, stream: Stream, topics: Mapping[Topic, Delivery]) -> Failures:
        """Let a stream read topics; what it reads already gets the new options and keeps its place."""
        failures: Failures = {}
        ids = await self._acquire_all(stream.holder, topics, failures)
        for topic, topic_id in ids.items():
            if stream.closed:
                await self._release(stream.holder, topic)
                continue
            previous = stream.held.get(topic)
            if previous is not None and previous.topic_id != topic_id:
                self._streams.detach(stream.stream_id, previous.topic_id)
            try:
                self._attach(stream, topic, topic_id, topics[topic])
            except KeyError:
                stream.held.pop(topic, None)
                await self._release(stream.holder, topic)
                failures[topic.name] = Unobtainable(f"{topic} has just ended; subscribe again", Status.UNAVAILABLE)
        return failures

    def _attach(self, stream: Stream, topic: Topic, topic_id: int, delivery: Delivery) -> None:
        held, before = Held(topic_id, delivery), stream.held.get(topic)
        stream.held[topic] = held
        if delivery.start_ns is not None and before is None:
            self._spawn(self._past.send(stream, topic, held, delivery.start_ns), stream.tasks)
            return
        if delivery.after is not None and before is None:
            if not take_up(self._streams, stream, held, delivery.after):
                # Gone, or the topic went round its ring each time: what is missing would not be told.
                self._refuse(stream, Status.UNAVAILABLE, f"{topic} moves too fast to be taken up again; connect again")
            return
        attach(self._streams, stream, topic, held)

    async def _acquire_all(self, holder: str, topics: Mapping[Topic, Delivery], failures: Failures) -> dict[Topic, int]:
        """Acquire topics side by side; what fails is added to `failures`."""
        outcomes = await asyncio.gather(*(self._acquire(holder, topic, topics[topic].depth) for topic in topics))
        ids: dict[Topic, int] = {}
        for topic, outcome in zip(topics, outcomes, strict=True):
            if isinstance(outcome, Unobtainable):
                failures[str(topic)] = outcome
            else:
                ids[topic] = outcome
        return ids

    async def _acquire(self, holder: str, topic: Topic, depth: int) -> int | Unobtainable:
        try:
            async with asyncio.timeout(self._start_timeout_s):
                return await self._collector.acquire(holder, topic.venue, topic.symbol, topic.data_type, depth)
        except Unobtainable as refusal:
            return refusal
        except RavenError as error:
            return unobtainable(error)
        except TimeoutError:
            await self._release(holder, topic)
            late = f"{topic} did not start within {self._start_timeout_s:g} s; ask again, the server's log says more"
            return Unobtainable(late, Status.UNAVAILABLE)
        except Exception:
            log.exception("a topic could not be started", topic=str(topic), holder=holder)
            return Unobtainable(f"{topic} could not be started; the server's log has the details", Status.INTERNAL)

    async def _drop(self, stream: Stream, topics: set[Topic]) -> None:
        for topic in topics & stream.held.keys():
            self._streams.detach(stream.stream_id, stream.held.pop(topic).topic_id)
            await self._release(stream.holder, topic)

    async def _release(self, holder: str, topic: Topic) -> None:
        try:
            await self._collector.release(holder, topic.venue, topic.symbol, topic.data_type)
        except RavenError as error:
            log.warning("a topic could not be let go", topic=topic.name, holder=holder, reason=error.message)

    async def _release_all(self, holder: str) -> None:
        try:
            await self._collector.release_all(holder)
        except RavenError as error:
            # Whoever collects has stopped before us: nothing is held any more.
            log.debug("nothing left to let go", holder=holder, reason=error.message)

    def _configure(self, stream: Stream, batch: int | None, heartbeat_ms: int | None) -> None:
        if batch is None and heartbeat_ms is None:
            return
        stream.batch = stream.batch if batch is None else batch
        stream.heartbeat_ms = stream.heartbeat_ms if heartbeat_ms is None else heartbeat_ms
        self._streams.configure_stream(stream.stream_id, batch=stream.batch, heartbeat_ms=stream.heartbeat_ms)

    def _refuse(self, stream: Stream, status: Status, message: str) -> None:
        if stream.closed:
            return
        # No further request of it is acted upon; the server reports `stream_closed` once it has ended.
        stream.closed = True
        who = stream.client.client_id if stream.client else ""
        log.info(
            "stream ended", stream=stream.stream_id, peer=stream.peer, client=who, status=status.name, reason=message
        )
        self._streams.close_stream(stream.stream_id, status, message)

    async def _clean_up(self, stream: Stream) -> None:
        for task in stream.tasks:
            task.cancel()
        await asyncio.gather(*stream.tasks, return_exceptions=True)
        await self._release_all(stream.holder)

    def _spawn(self, work: Coroutine[Any, Any, None], owner: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        owner.add(task)
        task.add_done_callback(owner.discard)

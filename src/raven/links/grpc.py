"""`grpc://HOST:PORT`: the upstream is another process; its topics come over one stream into a hub of our own.

    acquire, release ──► Subscribe, Unsubscribe (calls, which are answered)
                              └─► StreamMarketData ──► Inlet ──► hub

Frames go to the native `Inlet` as they are, one call each. It publishes them, sees from the upstream's sequences what
is missing, and says so in the topic. After a lost connection every topic is taken up behind its last record (filter
`after`), from the upstream's ring as far as that goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from raven._core import Hub, Inlet
from raven.client.errors import is_final
from raven.client.settings import Settings
from raven.clock import Clock, SystemClock
from raven.errors import DataValidation, NetworkTimeout, RavenError
from raven.observe.logs import get_logger
from raven.ports import LinkStatus
from raven.proto import subscription_pb2 as wire
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.resilience.backoff import Backoff
from raven.resilience.finishing import to_the_end
from raven.resilience.positions import Position, Positions
from raven.topics import DataType, Topic

__all__ = ["GrpcLink"]

log = get_logger("links")

END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it
STREAM = "/raven.MarketDataService/StreamMarketData"
# A restart of the upstream takes about a second, so the first attempts are close.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
# How long the upstream may take to accept a stream, to answer a question (it gives a symbol 10 s to start), and to take
# note that we go.
_CONNECT_TIMEOUT_S, _ANSWER_TIMEOUT_S, _GOODBYE_TIMEOUT_S = 5.0, 15.0, 2.0
# The upstream breaks any silence by a heartbeat; a stream that misses so many of them has hung.
_HEARTBEAT_S, _HEARTBEATS_MISSED = 1.0, 5
# How often the upstream is asked again for what it refused.
_ASK_AGAIN_S = 2.0
# Frames as large as the server makes them: one call into the native code each.
_BATCH = 4096
# What the server sends of a book when nothing is said.
_DEPTH = 20
# Questions under way at a time; the server takes 64 of one client.
_QUESTIONS = 16
# How often it is noted how far everything was heard.
_KEEP_S = 1.0
# More troubles than these in one sentence help nobody.
_TROUBLES_TOLD = 3


@dataclass(slots=True, eq=False)
class _Wish:
    """A topic that is wanted here, and what the upstream has been told of it."""

    topic: Topic
    count: int = 0
    depth: int = 0
    asked: tuple[str, int] | None = None
    """The connection, by its client id, on which it was last asked for, and with which depth."""
    trouble: str = ""
    """Why it could not be had on this connection; it is asked for again."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One question at a time."""


class GrpcLink:
    """One upstream server. `name` is what it sees as its client, with a suffix for each connection; `token` and
    `credentials` are those of `raven.connect`.

    `ring_bytes` bounds what a topic keeps for readers that are behind; deep books get more. With `positions` topics go
    on where they were after a restart of ours, too.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str = "link",
        token: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        ring_bytes: int = 1_048_576,
        positions: Positions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.hub = Hub()
        self._inlet = Inlet(self.hub)
        self._settings = Settings(
            address=address.removeprefix("grpc:").removeprefix("//"),
            client_id=name,
            timeout_s=_CONNECT_TIMEOUT_S,
            reconnect=True,
            token=token,
            credentials=credentials,
            read_ahead_bytes=None,
        )
        self._ring_bytes = ring_bytes
        self._positions = positions
        self._keeping: asyncio.Task[None] | None = None
        self._clock = clock or SystemClock()
        self._wishes: dict[Topic, _Wish] = {}
        self._questions = asyncio.Semaphore(_QUESTIONS)
        self._task: asyncio.Task[None] | None = None
        self._stub: Any = None
        self._client_id = ""
        """Of the connection that is there; empty when none is."""
        self._has_heartbeats = False
        """The upstream was told on this connection to send them: it is with the first topic that it grants."""
        self._heartbeats_due = 0
        self._trouble = "not started"
        self._lag_s = 0.0

    # ── the port ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """See `Link`."""
        if self._task is None:
            self._trouble = f"connecting to {self._settings.address}"
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._run(), name=f"link {self._settings.address}")
            if self._positions is not None:
                self._keeping = loop.create_task(self._keep(self._positions), name="positions of a link")

    async def stop(self) -> None:
        """See `Link`. The upstream is told, so that it does not collect for us any longer."""
        task, self._task = self._task, None
        if self._client_id:
            await self._forget(self._client_id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._keeping is not None and self._positions is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
            await asyncio.to_thread(self._positions.finish, self._heard())
        for topic in self._wishes:
            self._inlet.close(topic.venue, topic.symbol, topic.data_type)
        self._wishes.clear()
        self._trouble = "stopped"

    async def acquire(self, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        """See `Link`."""
        topic = Topic(venue, symbol.upper(), data_type)
        depth = (depth or _DEPTH) if data_type is DataType.ORDERBOOK else 0
        topic_id = self._inlet.open(venue, topic.symbol, data_type, depth=depth, ring_bytes=self._ring_bytes)
        wish = self._wishes.setdefault(topic, _Wish(topic))
        # Counted before anything is awaited, so that somebody else's release meanwhile does not take it from us.
        wish.count += 1
        former_depth, wish.depth = wish.depth, max(wish.depth, depth)
        try:
            await self._settle(wish)
        except BaseException:
            wish.depth = former_depth
            await self.release(venue, symbol, data_type)
            raise
        return topic_id

    async def release(self, venue: str, symbol: str, data_type: DataType) -> None:
        """See `Link`."""
        wish = self._wishes.get(Topic(venue, symbol.upper(), data_type))
        if wish is None or wish.count == 0:
            return
        wish.count -= 1
        if wish.count > 0:
            return
        try:
            await self._settle(wish)
        except RavenError as error:
            log.warning("an upstream was not told", topic=wish.topic.name, reason=error.message)
        if wish.count == 0 and self._wishes.get(wish.topic) is wish:
            del self._wishes[wish.topic]
            self._inlet.close(venue, wish.topic.symbol, data_type)
            if self._positions is not None:
                self._positions.forget(wish.topic)

    def status(self) -> LinkStatus:
        """See `Link`."""
        address = f"grpc://{self._settings.address}"
        if not self._client_id:
            return LinkStatus(address, False, self._trouble, self._lag_s)
        troubles = [f"{wish.topic}: {wish.trouble}" for wish in list(self._wishes.values()) if wish.trouble]
        told = "; ".join(troubles[:_TROUBLES_TOLD])
        if len(troubles) > _TROUBLES_TOLD:
            told += f"; and {len(troubles) - _TROUBLES_TOLD} more"
        return LinkStatus(address, True, told and f"{told}; asking again", self._lag_s)

    def counters(self) -> dict[str, int]:
        """See `Link`."""
        return self._inlet.counters()

    # ── how far ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _heard(self) -> dict[Topic, Position]:
        return {topic: self._position(topic) for topic in self._wishes}

    def _position(self, topic: Topic) -> Position:
        return Position(*(self._inlet.position(topic.venue, topic.symbol, topic.data_type) or (0, 0)))

    async def _keep(self, positions: Positions) -> None:
        while True:
            await self._clock.sleep(_KEEP_S)
            if positions.note(self._clock.monotonic(), self._heard()):
                await to_the_end(positions.write)

    # ── the connection ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        """Hear the upstream for as long as the link lives; what ends a connection is told and tried again."""
        backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, stable_s=_ANSWER_TIMEOUT_S)
        former = ""
        while True:
            since = self._clock.monotonic()
            reason = ""
            try:
                await self._hear(former)
            except* NetworkTimeout as lost:
                reason = _first(lost)
            except* Exception as failed:
                log.exception("a link failed", upstream=self._settings.address)
                reason = _first(failed)
            finally:
                former, self._client_id = self._client_id or former, ""
            backoff.held(self._clock.monotonic() - since)
            self._trouble = f"{self._settings.address} cannot be heard ({reason}); trying again"
            log.warning("an upstream cannot be heard", upstream=self._settings.address, reason=reason)
            await self._clock.sleep(backoff.next())

    async def _hear(self, former: str) -> None:
        """Connect once and publish what comes until the connection ends.

        `former` is the client id of the connection before. Raises: NetworkTimeout, alone or in a group.
        """
        client_id = f"{self._settings.client_id}-{secrets.token_hex(4)}"
        async with self._settings.aio_channel() as channel:
            # Without a reader of answers they stay bytes.
            stream: Any = channel.stream_stream(STREAM, wire.SubscriptionRequest.SerializeToString, None)
            call = stream(metadata=self._settings.metadata())
            await _greet(call, client_id)
            self._stub = MarketDataServiceStub(channel)  # type: ignore[no-untyped-call]
            self._client_id, self._trouble = client_id, ""
            self._has_heartbeats, self._heartbeats_due = False, 0
            log.info("an upstream is heard", upstream=self._settings.address, topics=len(self._wishes))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                group.create_task(self._ask_for_all(former))
                await self._publish(call)

    async def _publish(self, call: Any) -> None:
        """Hand frames over until there are no more. Raises: NetworkTimeout with the reason why there are none."""
        while (frame := await _read(call)) is not END:
            self._heartbeats_due = 0
            now_ns = self._clock.time_ns()
            if self._inlet.on_frame(now_ns, frame):
                self._lag_s = max(0, now_ns - self._inlet.newest_recv_ns) / 1e9
        raise NetworkTimeout("it ended the stream")

    async def _watch(self) -> None:
        """Raises: NetworkTimeout when the upstream says nothing, not even a heartbeat.

        Heartbeats are counted, so that nobody takes it for silence when it is this process that was not running.
        """
        while self._heartbeats_due < _HEARTBEATS_MISSED:
            await self._clock.sleep(_HEARTBEAT_S)
            self._heartbeats_due += self._has_heartbeats
        raise NetworkTimeout(f"no sign of it for {_HEARTBEATS_MISSED * _HEARTBEAT_S:g} s")

    async def _ask_for_all(self, former: str) -> None:
        """Ask for everything that is wanted, and again for what is refused."""
        await self._ask_for_missing()
        if former:
            # If it is the same server still, it keeps for a while what it was asked for on the lost connection.
            await self._forget(former)
        while True:
            await self._clock.sleep(_ASK_AGAIN_S)
            await self._ask_for_missing()

    async def _ask_for_missing(self) -> None:
        await asyncio.gather(*(self._try_to_settle(wish) for wish in list(self._wishes.values())))

    async def _try_to_settle(self, wish: _Wish) -> None:
        try:
            await self._settle(wish)
        except RavenError as error:
            if error.message != wish.trouble:
                log.warning("an upstream refuses a topic", topic=wish.topic.name, reason=error.message)
            wish.trouble = error.message

    # ── what is wanted ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _settle(self, wish: _Wish) -> None:
        """Tell the upstream what is wanted of a topic, if it does not know and is there.

        Raises: DataValidation, NetworkTimeout.
        """
        async with wish.lock:
            client_id = self._client_id
            if not client_id:
                return
            if wish.count > 0:
                if wish.asked != (client_id, wish.depth) or wish.trouble:
                    await self._subscribe(wish, client_id)
            elif wish.asked is not None and wish.asked[0] == client_id:
                await self._unsubscribe(wish, client_id)

    async def _subscribe(self, wish: _Wish, client_id: str) -> None:
        # On a lost connection, since an `Unsubscribe` forgets it.
        topic, was_heard = wish.topic, wish.asked is not None
        filters = {"venue": topic.venue, "batch": str(_BATCH), "heartbeat_ms": str(round(1000 * _HEARTBEAT_S))}
        if topic.data_type is DataType.ORDERBOOK:
            filters["depth"] = str(wish.depth)
        here = self._position(topic) if was_heard else Position()
        before = self._positions.get(topic) if self._positions is not None else Position()
        if here.sequence or before.sequence:
            filters["after"] = "{}@{}".format(*(here if here.sequence else before))
        elif was_heard and not wish.trouble:
            # It was to come and nothing came: what is missing since, nobody knows.
            self._inlet.mark_unknown(topic.venue, topic.symbol, topic.data_type, self._clock.time_ns())
        # From now on the upstream may hold it, whatever becomes of the answer.
        wish.asked = (client_id, wish.depth)
        answer = await self._ask(
            "Subscribe",
            wire.SubscribeRequest(
                client_id=client_id,
                symbols=[topic.symbol],
                data_types=[topic.data_type.value],  # type: ignore[list-item]  # numbers are what the wire has
                filters=filters,
            ),
        )
        if not answer.success:
            is_passing = answer.status == grpc.StatusCode.UNAVAILABLE.value[0]
            raise (NetworkTimeout if is_passing else DataValidation)(answer.message)
        if topic.name not in answer.subscribed_topics:
            names = ", ".join(answer.subscribed_topics)
            raise DataValidation(f"{self._settings.address} knows {topic} as {names}; ask for it by that symbol")
        wish.trouble, self._has_heartbeats = "", self._has_heartbeats or client_id == self._client_id

    async def _unsubscribe(self, wish: _Wish, client_id: str) -> None:
        topic, wish.asked, wish.trouble = wish.topic, None, ""
        await self._ask(
            "Unsubscribe",
            wire.UnsubscribeRequest(
                client_id=client_id,
                symbols=[topic.symbol],
                data_types=[topic.data_type.value],  # type: ignore[list-item]  # numbers are what the wire has
                venue=topic.venue,
            ),
        )

    async def _forget(self, client_id: str) -> None:
        """Let the upstream drop everything that was asked for under a client id."""
        with contextlib.suppress(NetworkTimeout, DataValidation, TimeoutError):
            async with asyncio.timeout(_GOODBYE_TIMEOUT_S):
                await self._ask("Unsubscribe", wire.UnsubscribeRequest(client_id=client_id))

    async def _ask(self, method: str, request: Any) -> Any:
        """Raises: DataValidation when the upstream means no, NetworkTimeout when another time may do."""
        try:
            async with self._questions:
                call = getattr(self._stub, method)
                return await call(request, timeout=_ANSWER_TIMEOUT_S, metadata=self._settings.metadata())
        except grpc.aio.AioRpcError as error:
            reason = f"{self._settings.address}: {error.details() or error.code().name}"
            if is_final(error.code(), reconnecting=True):
                raise DataValidation(reason) from None
            raise NetworkTimeout(reason) from None
        except (grpc.aio.UsageError, asyncio.CancelledError):
            # A channel that closes takes its questions with it, which looks like a cancelled task but is none.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise NetworkTimeout(f"the connection to {self._settings.address} was lost") from None


async def _greet(call: Any, client_id: str) -> None:
    """Open a stream and say whose it is. Raises: NetworkTimeout when nobody is there or we are not let in."""
    hello = wire.SubscriptionRequest(heartbeat=wire.HeartbeatRequest(client_id=client_id))
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await call.write(hello)
            await call.initial_metadata()
    except TimeoutError:
        raise NetworkTimeout(f"it did not accept a stream within {_CONNECT_TIMEOUT_S:g} s") from None
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        raise NetworkTimeout(await _why(call)) from None
    if call.done():
        raise NetworkTimeout(await _why(call))


async def _read(call: Any) -> Any:
    """Read a frame, `END` for none. Raises: NetworkTimeout with the status that the stream ended with."""
    try:
        return await call.read()
    except grpc.aio.AioRpcError:
        raise NetworkTimeout(await _why(call)) from None


async def _why(call: Any) -> str:
    """Return the status of a call that has ended, in words."""
    code, details = await call.code(), await call.details()
    if details and "; last error: " in details:
        # What precedes the reason is the address and another code.
        details = details.rpartition(": ")[2]
    return f"{code.name}: {details}" if details else str(code.name)


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    """Say what the first of several exceptions says."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first.message if isinstance(first, RavenError) else f"{type(first).__name__}: {first}"

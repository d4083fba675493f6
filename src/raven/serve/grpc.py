"""gRPC: hands the native server's requests to fan-out, and fan-out's answers to the native server.

One thread blocks in `GrpcServer.next_call` and passes each call to the asyncio loop; everything else runs on that loop.
No market data goes through here: once a stream is attached to a topic, Rust drains the topic's ring into the stream.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from raven.errors import RavenError
from raven.fanout import (
    NO_HISTORY,
    ControlPlane,
    Dialect,
    Fanout,
    Question,
    Refused,
    Status,
    Streams,
    Unobtainable,
    dialect,
)
from raven.fanout.refusal import unobtainable
from raven.observe.logs import get_logger
from raven.observe.metrics import record_error, record_response
from raven.serve import messages

if TYPE_CHECKING:
    from raven._core import Encoded

log = get_logger("serve")

# The thread leaves `next_call` this often to see whether it should end.
POLL_S = 0.25
# Calls handed to the loop and not finished. When the loop falls behind, calls wait in the native queue,
# which is bounded.
MAX_CALLS_UNDER_WAY = 4096


class NativeCall(Protocol):
    """A request as the native server hands it over: `raven._core.Call`."""

    @property
    def call_id(self) -> int:
        """0 when no answer is expected."""

    @property
    def method(self) -> str:
        """The name of a unary call, or `stream_opened`, `stream_message`, `stream_request`, `stream_closed`."""

    @property
    def stream_id(self) -> int:
        """0 for unary calls."""

    @property
    def peer(self) -> str:
        """The client's address."""

    @property
    def payload(self) -> bytes:
        """The serialized request, or the reason of `stream_closed`."""


class NativeServer(Streams, Protocol):
    """What this module uses of `raven._core.GrpcServer`."""

    def start(self) -> int:
        """Bind and serve; return the port."""

    def next_call(self, timeout_seconds: float) -> NativeCall | None:
        """Wait for a request; None when none came in time or the server has stopped."""

    def reply(self, call_id: int, payload: bytes) -> None:
        """Answer a call."""

    def fail(self, call_id: int, code: int, message: str) -> None:
        """Answer a call with a status."""

    def reply_piece(self, call_id: int, frames: Encoded, timeout_seconds: float) -> bool:
        """Send a part of an answer; False when the client has gone. Raises: TimeoutError when it takes nothing."""

    def set_serving(self, serving: bool) -> None:
        """Set what the health service says."""

    def stats(self) -> dict[str, int]:
        """Count what was served."""

    def streams(self) -> list[tuple[int, str, int, int, int, int]]:
        """List open streams: id, peer, topics, messages sent, messages lost, lag."""

    def drain(self, timeout_seconds: float) -> bool:
        """Stop accepting, send what is there, end every stream with UNAVAILABLE."""


class Historian(Protocol):
    """Whoever answers for the past: `raven.serve.history.JournalHistory` is one."""

    async def answer(self, question: Question, call_id: int, answers: NativeServer) -> int:
        """Send what is asked for, piece by piece; return how many records that were. Raises: Refused."""


class GrpcFace:
    """`MarketDataService`, `MarketData` and `Control` over one native server and one fan-out.

    `spoken` says what the kinds of `MarketData` stand for; without a control plane, `Control` is not served.
    `on_response(method, seconds, status)` is called for every unary call that was answered; it must return at once.
    """

    def __init__(
        self,
        server: NativeServer,
        fanout: Fanout,
        *,
        history: Historian | None = None,
        control: ControlPlane | None = None,
        spoken: Dialect = dialect.SOURCE,
        on_response: Callable[[str, float, str], None] = record_response,
    ) -> None:
        self._history = history
        self._control = control
        self._dialect = spoken
        self._server = server
        self._fanout = fanout
        self._on_response = on_response
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._room = threading.BoundedSemaphore(MAX_CALLS_UNDER_WAY)
        self._tasks: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> int:
        """Open the port and take requests; return the port. Health says SERVING from now on, unless told otherwise.

        Raises: OSError with the address when the port cannot be had.
        """
        self._loop = asyncio.get_running_loop()
        self.port = self._server.start()
        self._expiry = self._loop.create_task(self._fanout.run(), name="fanout expiry")
        self._thread = threading.Thread(target=self._take_calls, name="grpc calls", daemon=True)
        self._thread.start()
        log.info("gRPC is served", port=self.port)
        return self.port

    def set_serving(self, serving: bool) -> None:
        """Set what gRPC health checking answers."""
        self._server.set_serving(serving)

    async def drain(self, timeout_s: float = 5.0) -> bool:
        """Stop accepting, send what the rings hold, end every stream with UNAVAILABLE; True when all ended in time.

        Calls that are under way are answered first, within half of the time. Safe to call twice.
        """
        if self._thread is None:
            return True
        self._server.set_serving(False)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s / 2)
        for task in self._tasks:
            task.cancel()
        done = await asyncio.to_thread(self._server.drain, timeout_s)
        self._stopping.set()
        thread, self._thread = self._thread, None
        await asyncio.to_thread(thread.join, 2 * POLL_S + 1)
        if self._expiry is not None:
            self._expiry.cancel()
        await self._fanout.close()
        stats = self._server.stats()
        log.info("gRPC has stopped", in_time=done, messages=stats.get("messages", 0), lost=stats.get("lost", 0))
        return done

    def stats(self) -> dict[str, int]:
        """Count: the native server's counters and, with the prefix `fanout_`, those of fan-out."""
        return self._server.stats() | {f"fanout_{key}": value for key, value in self._fanout.stats().items()}

    def clients(self) -> list[dict[str, Any]]:
        """Describe who is subscribed: one entry per client, with its streams, their lag and losses (records)."""
        native = {row[0]: row for row in self._server.streams()}
        described = []
        for client in self._fanout.roster:
            streams = []
            for stream in client.streams.values():
                _, peer, _, sent, lost, lag = native.get(stream.stream_id, (0, stream.peer, 0, 0, 0, 0))
                topics = sorted(topic.name for topic in stream.held)
                streams.append({"peer": peer, "topics": topics, "sent": sent, "lost": lost, "lag": lag})
            standing = sorted(topic.name for topic in client.standing)
            described.append({"client_id": client.client_id, "standing": standing, "streams": streams})
        return described

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_calls(self) -> None:
        assert self._loop is not None, "start sets the loop before it starts the thread"
        while not self._stopping.is_set():
            try:
                call = self._server.next_call(POLL_S)
                if call is None:
                    continue
                while not self._room.acquire(timeout=POLL_S):
                    if self._stopping.is_set():
                        return
                self._loop.call_soon_threadsafe(self._on_call, call)
            except RuntimeError as closed:
                # The loop has been closed under us: the program ends without having drained.
                log.warning("gRPC requests are no longer taken", reason=str(closed))
                return
            except Exception as error:
                record_error(error, "taking gRPC requests")
                time.sleep(POLL_S)

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_call(self, call: NativeCall) -> None:
        """Begin to act on a call. Calls of one stream arrive here in order, and fan-out keeps that order."""
        try:
            if call.method == "stream_opened":
                self._fanout.stream_opened(call.stream_id, call.peer)
            elif call.method in ("stream_message", "stream_request"):
                self._on_message(call)
            elif call.method == "stream_closed":
                self._fanout.stream_closed(call.stream_id, call.payload.decode("utf-8", "replace"))
            else:
                task = asyncio.get_running_loop().create_task(self._answer(call))
                self._tasks.add(task)
                task.add_done_callback(self._on_answered)
                return
        except Exception as error:
            record_error(error, f"gRPC {call.method} of stream {call.stream_id}")
        self._room.release()

    def _on_answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()

    def _on_message(self, call: NativeCall) -> None:
        try:
            if call.method == "stream_request":
                request: messages.Said = messages.parse_stream_request(call.payload, self._dialect)
            else:
                request = messages.parse_stream_message(call.payload)
        except Refused as refusal:
            self._fanout.refuse_stream(call.stream_id, refusal.status, refusal.message)
            return
        self._fanout.stream_message(call.stream_id, request)

    async def _answer(self, call: NativeCall) -> None:
        started = time.perf_counter()
        status = "OK"
        try:
            self._server.reply(call.call_id, await self._respond(call))
        except Refused as refusal:
            status = refusal.status.name
            self._server.fail(call.call_id, refusal.status, refusal.message)
        except asyncio.CancelledError:
            status = Status.UNAVAILABLE.name
            self._server.fail(call.call_id, Status.UNAVAILABLE, "the server stops; connect again")
            raise
        except Exception as error:
            status = Status.INTERNAL.name
            record_error(error, f"gRPC {call.method}")
            why = f"the server failed on this {call.method}; its log has the details"
            self._server.fail(call.call_id, Status.INTERNAL, why)
        finally:
            self._on_response(call.method, time.perf_counter() - started, status)

    async def _respond(self, call: NativeCall) -> bytes:
        match call.method:
            case "Subscribe":
                return messages.subscribe_response(await self._fanout.subscribe(messages.parse_subscribe(call.payload)))
            case "Unsubscribe":
                return messages.unsubscribe_response(
                    await self._fanout.unsubscribe(messages.parse_unsubscribe(call.payload))
                )
            case "GetHistoricalData":
                return await self._answer_history(messages.parse_question(call.payload), call.call_id)
        if self._control is None:
            raise Refused(Status.UNIMPLEMENTED, f"{call.method} is not served here: this service collects nothing")
        try:
            return await self._respond_to_control(call, self._control)
        except Unobtainable as refusal:
            raise Refused(refusal.status, refusal.message) from refusal
        except RavenError as error:
            raise Refused(unobtainable(error).status, error.message) from error

    async def _respond_to_control(self, call: NativeCall, control: ControlPlane) -> bytes:
        match call.method:
            case "StartCollection":
                return messages.control_response(await control.start(*messages.parse_control(call.payload)))
            case "StopCollection":
                return messages.control_response(await control.stop(*messages.parse_control(call.payload)))
            case "StopAllCollections":
                return messages.control_response(await control.stop_all())
            case "ListCollections":
                return messages.collections_response(control.collections())
        raise Refused(Status.UNIMPLEMENTED, f"{call.method} is not served here")

    async def _answer_history(self, question: Question, call_id: int) -> bytes:
        """Send history piece by piece; what is returned ends the answer."""
        if self._history is None:
            raise Refused(Status.UNIMPLEMENTED, NO_HISTORY)
        question = replace(question, symbols=self._fanout.symbols_of(question.symbols))
        await self._history.answer(question, call_id, self._server)
        return b""

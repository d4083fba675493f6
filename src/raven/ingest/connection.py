"""One socket to a venue: frames go straight into the engine, everything else is told to its owner.

The hot path is `on_ws_frame`: stamp the time, hand the memoryview over, look at one bit of the answer. It calls nothing
else and makes no object of its own: a call more per frame costs a tenth of what all of it takes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time_ns
from typing import Protocol
from urllib.parse import urlsplit

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from typing_extensions import Buffer

from raven._core import EVENTS_PENDING
from raven.errors import NetworkTimeout
from raven.ingest.capture import Capture
from raven.observe import get_logger, record_error
from raven.resilience.pacing import Pacer

__all__ = ["Connection", "FrameEngine", "SocketRules", "batches"]

log = get_logger("ingest")

# Looked up once: these are read for every frame.
_TEXT = WSMsgType.TEXT
_EVENTS_PENDING = EVENTS_PENDING
# A half-open connection says nothing for ever: after this much silence we ask, and hang up without an answer. Both are
# longer than the pause between two events of a live connection, so in practice no ping of ours is ever sent.
_ASK_AFTER_S = 10.0
_ANSWER_WITHIN_S = 10.0
# A frame that is too long for the engine is quarantined by it; one that is too long for memory ends the connection.
_FRAME_FACTOR = 4
# A connection that is held keeps the last frames only, so that letting it go is quick.
_HELD_NS = 500_000_000
_HELD_BYTES = 16 * 1024 * 1024


class FrameEngine(Protocol):
    """What a connection uses of `raven._core.Engine`."""

    def on_frame(self, connection: int, recv_ns: int, frame: Buffer) -> int:
        """Take one frame."""


@dataclass(frozen=True, slots=True)
class SocketRules:
    """What holds for one connection."""

    connect_timeout_s: float
    """For TCP, TLS and the WebSocket handshake together."""
    max_frame_bytes: int
    is_reply: Callable[[memoryview], bool]
    """Whether a frame is an answer and no data (see `raven.ports.Venue.is_reply`)."""


class Connection(WSListener):
    """A connected WebSocket. Create it with `open`."""

    def __init__(
        self,
        engine: FrameEngine,
        handle: int,
        on_events: Callable[[], None],
        rules: SocketRules,
        pacer: Pacer,
        url: str,
        capture: Capture,
    ) -> None:
        self.url = url
        self.handle = handle
        self.frames = 0
        """Data frames so far; while the connection is held, answers are not counted."""
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why it ended, once it has."""
        self._on_frame = engine.on_frame
        self._on_events = on_events
        self._rules = rules
        self._limit_bytes = rules.max_frame_bytes * _FRAME_FACTOR
        self._pacer = pacer
        self._capture = capture
        self._transport: WSTransport | None = None
        self._parts: bytearray | None = None
        self._held: deque[tuple[int, bytes]] | None = None
        self._held_bytes = 0
        self._close_reason = ""

    @classmethod
    async def open(
        cls,
        url: str,
        engine: FrameEngine,
        handle: int,
        on_events: Callable[[], None],
        rules: SocketRules,
        pacer: Pacer,
        *,
        held: bool = False,
        capture: Capture | None = None,
    ) -> Connection:
        """Connect; with `held`, keep frames back until `let_go`. `pacer` is the venue's limit of our messages.

        Raises: NetworkTimeout saying what failed, retryable.
        """
        timeout_s = rules.connect_timeout_s
        # System certificates; compression is not offered, so a venue cannot send it.
        tls = ssl.create_default_context() if urlsplit(url).scheme == "wss" else None

        def listener() -> Connection:
            connection = cls(engine, handle, on_events, rules, pacer, url, capture or Capture())
            connection._held = deque() if held else None
            return connection

        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await ws_connect(
                    listener,
                    url,
                    ssl_context=tls,
                    websocket_handshake_timeout=timeout_s,
                    enable_auto_pong=True,
                    enable_auto_ping=True,
                    auto_ping_idle_timeout=_ASK_AFTER_S,
                    auto_ping_reply_timeout=_ANSWER_WITHIN_S,
                    max_frame_size=rules.max_frame_bytes * _FRAME_FACTOR,
                    max_redirects=0,
                )
        except (OSError, WSError, TimeoutError, asyncio.IncompleteReadError) as error:
            reason = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
            raise NetworkTimeout(f"{url}: cannot connect: {reason or type(error).__name__}") from error
        if not isinstance(connection, cls):
            raise NetworkTimeout(f"{url}: cannot connect: the venue hung up before it answered the handshake")
        return connection

    async def send(self, message: bytes) -> None:
        """Send a text frame, within the venue's message limit. Raises: NetworkTimeout when the socket has gone."""
        await self._pacer.take()
        if self._transport is None or self._transport.is_disconnected or self.closed.done():
            raise NetworkTimeout(f"{self.url}: the connection was lost before a request could be sent")
        self._transport.send(WSMsgType.TEXT, message)
        self._capture.sent(self.handle, message)

    def let_go(self) -> None:
        """Hand over what was held, in order, and from now on every frame as it comes."""
        held, self._held = self._held, None
        self._capture.changed_over(self.handle)
        for recv_ns, frame in held or ():
            self._feed(recv_ns, frame)

    def close(self, reason: str) -> None:
        """End it from our side."""
        self._close_reason = self._close_reason or reason
        if self._transport is not None:
            self._transport.disconnect(False)

    # --- called by picows ---------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport, and learn when and why it ends."""
        self._transport = transport
        ending = asyncio.ensure_future(transport.wait_disconnected())
        ending.add_done_callback(self._on_ended)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame."""
        recv_ns = time_ns()
        if frame.msg_type is _TEXT and frame.fin and self._held is None:
            self.frames += 1
            try:
                if self._on_frame(self.handle, recv_ns, frame.get_payload_as_memoryview()) & _EVENTS_PENDING:
                    self._on_events()
            except Exception as error:
                # A bug that one frame brings out must not end the connection: the next one would bring it out again.
                record_error(error, f"a frame of {self.url}")
        elif frame.msg_type == WSMsgType.TEXT and frame.fin:
            self._on_data(recv_ns, frame.get_payload_as_memoryview())
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._on_part(recv_ns, frame)
        elif frame.msg_type == WSMsgType.CLOSE:
            body = frame.get_payload_as_bytes()
            code, words = body[:2], body[2:].decode("utf-8", "replace")
            number = int.from_bytes(code, "big") if code else "without a code"
            self._close_reason = self._close_reason or f"venue closed {number} {words}".strip()
            transport.send(WSMsgType.CLOSE, code)
            transport.disconnect()

    def _on_ended(self, ending: asyncio.Future[None]) -> None:
        error = None if ending.cancelled() else ending.exception()
        why = str(error.args[-1]) if error is not None and error.args else ""
        if not self.closed.done():
            self.closed.set_result(self._close_reason or why or "lost")

    def _on_data(self, recv_ns: int, payload: memoryview) -> None:
        if self._held is not None and not self._rules.is_reply(payload):
            self._hold(recv_ns, bytes(payload))
        else:
            self._feed(recv_ns, payload)

    def _feed(self, recv_ns: int, payload: Buffer) -> None:
        self.frames += 1
        try:
            if self._on_frame(self.handle, recv_ns, payload) & _EVENTS_PENDING:
                self._on_events()
        except Exception as error:
            record_error(error, f"a frame of {self.url}")

    def _hold(self, recv_ns: int, payload: bytes) -> None:
        held = self._held
        assert held is not None
        held.append((recv_ns, payload))
        self._held_bytes += len(payload)
        while held and (held[0][0] < recv_ns - _HELD_NS or self._held_bytes > _HELD_BYTES):
            self._held_bytes -= len(held.popleft()[1])

    @property
    def has_held(self) -> bool:
        """Whether data came that is kept back."""
        return bool(self._held)

    def _on_part(self, recv_ns: int, frame: WSFrame) -> None:
        """Put a message together that comes in several frames: rare, but allowed."""
        if self._parts is None:
            self._parts = bytearray()
        self._parts += frame.get_payload_as_memoryview()
        if len(self._parts) > self._limit_bytes:
            log.warning("message too long", url=self.url, bytes=len(self._parts), limit=self._limit_bytes)
            self._parts = None
            if self._transport is not None:
                self._transport.send_close(WSCloseCode.MESSAGE_TOO_BIG)
            self.close("message too long")
        elif frame.fin:
            whole, self._parts = self._parts, None
            self._on_data(recv_ns, memoryview(bytes(whole)))


def batches(names: Sequence[str], size: int) -> list[Sequence[str]]:
    """Cut a list into pieces of at most `size`."""
    return [names[start : start + size] for start in range(0, len(names), size)]

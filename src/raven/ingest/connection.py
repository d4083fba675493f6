"""One socket to a venue: frames go straight into the engine, everything else is told to its owner.

The hot path is `_on_data`: stamp the time, hand the memoryview over, look at one bit of the answer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from time import time_ns
from typing import Protocol
from urllib.parse import urlsplit

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from raven._core import EVENTS_PENDING
from raven.errors import NetworkTimeout
from raven.observe import get_logger
from raven.resilience.pacing import Pacer

__all__ = ["Connection", "FrameEngine"]

log = get_logger("ingest")


class FrameEngine(Protocol):
    """What a connection uses of `raven._core.Engine`."""

    def on_frame(self, connection: int, recv_ns: int, frame: memoryview) -> int:
        """Take one frame."""


class Connection(WSListener):
    """A connected WebSocket. Create it with `open`."""

    def __init__(
        self, engine: FrameEngine, handle: int, on_events: Callable[[], None], max_frame_bytes: int, url: str
    ) -> None:
        self.url = url
        self.handle = handle
        self.frames = 0
        """Data frames so far."""
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why it ended, once it has."""
        self._engine = engine
        self._on_events = on_events
        self._max_frame_bytes = max_frame_bytes
        self._transport: WSTransport | None = None
        self._parts: bytearray | None = None
        self._close_reason = ""

    @classmethod
    async def open(
        cls,
        url: str,
        engine: FrameEngine,
        handle: int,
        on_events: Callable[[], None],
        *,
        timeout_s: float,
        max_frame_bytes: int,
    ) -> Connection:
        """Connect.

        Raises: NetworkTimeout saying what failed, retryable.
        """
        parts = urlsplit(url)
        tls = ssl.create_default_context() if parts.scheme == "wss" else None
        try:
            async with asyncio.timeout(timeout_s):
                _, listener = await ws_connect(
                    lambda: cls(engine, handle, on_events, max_frame_bytes, url),
                    url,
                    ssl_context=tls,
                    websocket_handshake_timeout=timeout_s,
                    enable_auto_pong=True,
                    # Beyond the limit of the engine, which quarantines what is merely too long for it.
                    max_frame_size=max_frame_bytes * 4,
                    max_redirects=0,
                )
        except (OSError, WSError, TimeoutError, asyncio.IncompleteReadError) as error:
            reason = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
            raise NetworkTimeout(f"{url}: cannot connect: {reason or type(error).__name__}") from error
        assert isinstance(listener, cls)
        return listener

    async def send(self, message: bytes, pacer: Pacer) -> None:
        """Send a text frame, within the venue's message limit. Raises: NetworkTimeout when the socket has gone."""
        await pacer.take()
        if self._transport is None or self.closed.done():
            raise NetworkTimeout(f"{self.url}: the connection was lost before a request could be sent")
        self._transport.send(WSMsgType.TEXT, message)

    def close(self, reason: str) -> None:
        """End it from our side."""
        self._close_reason = self._close_reason or reason
        if self._transport is not None:
            self._transport.disconnect(False)

    # --- called by picows ---------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame."""
        if frame.msg_type == WSMsgType.TEXT and frame.fin:
            self._on_data(frame.get_payload_as_memoryview())
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._on_part(frame)
        elif frame.msg_type == WSMsgType.CLOSE:
            words = (frame.get_close_message() or b"").decode("utf-8", "replace")
            code = frame.get_close_code()
            self._close_reason = self._close_reason or f"venue closed {code} {words}".strip()
            transport.send_close(code)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Tell the owner."""
        if not self.closed.done():
            self.closed.set_result(self._close_reason or "lost")

    def _on_data(self, payload: memoryview) -> None:
        recv_ns = time_ns()
        self.frames += 1
        if self._engine.on_frame(self.handle, recv_ns, payload) & EVENTS_PENDING:
            self._on_events()

    def _on_part(self, frame: WSFrame) -> None:
        """Put a message together that comes in several frames: rare, but allowed."""
        if self._parts is None:
            self._parts = bytearray()
        self._parts += frame.get_payload_as_memoryview()
        if len(self._parts) > self._max_frame_bytes * 4:
            log.warning("message too long", url=self.url, bytes=len(self._parts), limit=self._max_frame_bytes * 4)
            self._parts = None
            if self._transport is not None:
                self._transport.send_close(WSCloseCode.MESSAGE_TOO_BIG)
            self.close("message too long")
        elif frame.fin:
            whole, self._parts = self._parts, None
            self._on_data(memoryview(bytes(whole)))


def batches(names: Sequence[str], size: int) -> list[Sequence[str]]:
    """Cut a list into pieces of at most `size`."""
    return [names[start : start + size] for start in range(0, len(names), size)]

"""One client's WebSocket: what it listens to, its pings, its limits and its end."""

import json
import os
import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from raven.exchange.markets import Market
from raven.exchange.timeline import MS, SECOND, Timer
from raven.exchange.wire.control_messages import Request, RequestRefused, parse_request, result_answer
from raven.exchange.wire.streams import StreamName, text_frame

if TYPE_CHECKING:
    from raven.exchange.wire.ws_server import WebSocketServer

_ROUTES = ("public", "market", "private")
# A peer that does not answer a close frame is cut off after this; real seconds, since the peer is real.
_CLOSE_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a connection's URL asks for."""

    route: str
    """`public`, `market`, `private`, or empty for a path without route."""
    combined: bool
    streams: tuple[str, ...]
    microseconds: bool


def parse_endpoint(market: Market, target: str) -> Endpoint | None:
    """Take a request target such as `/market/stream?streams=a/b` apart; None if the venue has no such path."""
    path, _, query = target.partition("?")
    parts = [unquote(part) for part in path.split("/") if part]
    route = ""
    if market is Market.USDM and parts and parts[0] in _ROUTES:
        route = parts.pop(0)
    if not parts or parts[0] not in ("ws", "stream"):
        return None
    options = parse_qs(query)
    names: list[str] = []
    if parts[0] == "ws":
        names = parts[1:]
    elif "streams" in options:
        names = [name for name in options["streams"][0].split("/") if name]
    elif len(parts) > 1:
        return None
    microseconds = market is Market.SPOT and options.get("timeUnit", [""])[0].upper() == "MICROSECOND"
    return Endpoint(route, parts[0] == "stream", tuple(dict.fromkeys(names)), microseconds)


def close_frame(code: int, reason: str) -> bytes:
    """Write an unmasked close frame."""
    body = code.to_bytes(2, "big") + reason.encode()[:120]
    return bytes((0x88, len(body))) + body


class Connection(WSListener):
    """A connected client. Everything happens on the exchange's loop; frames leave at the end of a turn."""

    def __init__(self, server: "WebSocketServer", endpoint: Endpoint, number: int) -> None:
        self.server = server
        self.endpoint = endpoint
        self.number = number
        self.out: list[bytes] = []
        self.muted = False
        self.closing = False
        self.paused = False
        self.form = (1 if endpoint.combined else 0) | (2 if endpoint.microseconds else 0)
        self.subscriptions: dict[str, None] = {}
        self.pongs = 0
        self._transport: WSTransport | None = None
        self._message_times: deque[int] = deque()
        self._parts: list[bytes] = []
        self._unanswered: dict[bytes, int] = {}
        self._ping_timer = Timer(self._ping)
        self._drop_timer = Timer(self._drop_unanswered)
        self._life_timer = Timer(self._expire)
        self._shutdown_timer = Timer(self.announce_shutdown)

    # --- picows callbacks --------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Start the clocks of the connection and the streams its URL names."""
        self._transport = transport
        server, rules, timeline = self.server, self.server.rules, self.server.timeline
        server.connected(self)
        now = timeline.wall_ns()
        timeline.set(self._ping_timer, now + rules.ping_interval_ns)
        timeline.set(self._life_timer, now + rules.lifetime_ns)
        if rules.shutdown_notice_ns:
            timeline.set(self._shutdown_timer, now + rules.lifetime_ns - rules.shutdown_notice_ns)
        if self.endpoint.streams:
            if server.enforce_limits and len(self.endpoint.streams) > rules.max_streams:
                self.close(1008, f"a connection may listen to {rules.max_streams} streams")
                return
            self.subscribe(self.endpoint.streams)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a message in: requests are answered, pongs are matched, anything counts against the limit."""
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            code = frame.get_close_code()
            transport.send_close(code if code != WSCloseCode.NO_INFO else WSCloseCode.OK)
            transport.disconnect()
            return
        if self.closing or self.muted:
            return
        if not self._within_limit():
            self.server.stats["over_message_limit"] += 1
            self.close(1008, "Too many requests")
            return
        if kind == WSMsgType.PING:
            body = frame.get_payload_as_bytes()
            self._push(bytes((0x8A, len(body))) + body)
        elif kind == WSMsgType.PONG:
            self._pong(frame.get_payload_as_bytes())
        else:
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                payload, self._parts = b"".join(self._parts), []
                self._answer(payload)
        self.server.flush_soon()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Forget everything about the client."""
        self.closing = True
        for timer in (self._ping_timer, self._drop_timer, self._life_timer, self._shutdown_timer):
            timer.cancel()
        self.unsubscribe(list(self.subscriptions))
        self.out.clear()
        self.server.disconnected(self)

    def pause_writing(self) -> None:
        """Note that the client reads more slowly than we write."""
        self.paused = True

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self.paused = False
        self.server.drained()

    # --- what the exchange does with it ------------------------------------------------------------------

    def subscribe(self, names: "tuple[str, ...] | list[str]") -> None:
        """Listen to streams. Unknown ones, and those the route does not carry, are noted and stay silent."""
        for name in names:
            if name not in self.subscriptions:
                self.subscriptions[name] = None
                self.server.hub.attach(name, self.form, self, self._routed)

    def unsubscribe(self, names: list[str]) -> None:
        """Stop listening; names never subscribed to are ignored."""
        for name in names:
            if name in self.subscriptions:
                del self.subscriptions[name]
                self.server.hub.detach(name, self.form, self)

    def flush(self) -> None:
        """Write what waits, in one go."""
        if not self.out:
            return
        data = b"".join(self.out)
        self.out.clear()
        transport = self._transport
        if transport is None or self.muted or self.closing or transport.is_disconnected:
            return
        under = transport.underlying_transport
        if self.paused and under.get_write_buffer_size() > self.server.max_backlog_bytes:
            self.server.stats["cut_for_backlog"] += 1
            self.abort()
            return
        under.write(data)

    def close(self, code: int, reason: str = "") -> None:
        """End the connection with a close frame; what was queued before goes out first."""
        if self.closing:
            return
        self.flush()
        self.closing = True
        transport = self._transport
        if transport is not None and not transport.is_disconnected:
            transport.underlying_transport.write(close_frame(code, reason))
            self.server.loop.call_later(_CLOSE_GRACE_S, transport.disconnect)

    def vanish(self) -> None:
        """End the TCP connection without a close frame (what clients report as 1006)."""
        self.flush()
        self.closing = True
        if self._transport is not None:
            self._transport.disconnect()

    def abort(self) -> None:
        """End the TCP connection with a reset."""
        self.closing = True
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        under = transport.underlying_transport
        sock = under.get_extra_info("socket")
        if sock is not None:
            # Linger 0 turns the close into a reset; a duplicate is used because event loops hide their own socket.
            duplicate = socket.socket(fileno=os.dup(sock.fileno()))
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            duplicate.close()
        under.abort()

    def freeze(self) -> None:
        """Go half-open: the TCP connection stays, nothing is read or written any more."""
        self.flush()
        self.muted = True
        for timer in (self._ping_timer, self._drop_timer, self._life_timer, self._shutdown_timer):
            timer.cancel()
        if self._transport is not None:
            self._transport.underlying_transport.pause_reading()
        self.server.drained()

    def announce_shutdown(self) -> None:
        """Send `serverShutdown`: the client should open another connection at once."""
        stamp = self.server.timeline.sent_ns() // (1_000 if self.form & 2 else MS)
        event = json.dumps({"e": "serverShutdown", "E": stamp}, separators=(",", ":"))
        payload = f'{{"stream":"!serverShutdown","data":{event}}}' if self.form & 1 else event
        self._push(text_frame(payload.encode()))
        self.server.flush_soon()

    # --- inside ------------------------------------------------------------------------------------------

    def _routed(self, name: StreamName) -> bool:
        if self.server.market is not Market.USDM:
            return True
        # A path without route still answers, but carries nothing except the public streams.
        return name.category == (self.endpoint.route or "public")

    def _push(self, frame: bytes) -> None:
        if not self.out:
            self.server.hub.dirty.append(self)
        self.out.append(frame)

    def _within_limit(self) -> bool:
        now = self.server.timeline.wall_ns()
        times = self._message_times
        times.append(now)
        while times[0] <= now - SECOND:
            times.popleft()
        return not self.server.enforce_limits or len(times) <= self.server.rules.messages_per_second

    def _answer(self, payload: bytes) -> None:
        try:
            request = parse_request(payload, text_ids=self.server.market is Market.SPOT)
            self.server.stats[request.method.lower()] += 1
            answer = self._execute(request)
        except RequestRefused as refused:
            answer = refused.answer
        self._push(text_frame(answer))

    def _execute(self, request: Request) -> bytes:
        if request.method == "LIST_SUBSCRIPTIONS":
            return result_answer(list(self.subscriptions), request.request_id)
        if request.method == "GET_PROPERTY":
            return result_answer(bool(self.form & 1), request.request_id)
        if request.method == "SET_PROPERTY":
            names = list(self.subscriptions)
            self.unsubscribe(names)
            self.form = (self.form & 2) | (1 if request.params[1] else 0)
            self.subscribe(names)
            return result_answer(None, request.request_id)
        names = [str(name) for name in request.params]
        if request.method == "UNSUBSCRIBE":
            self.unsubscribe(names)
            return result_answer(None, request.request_id)
        fresh = len(set(names) - set(self.subscriptions))
        limit = self.server.rules.max_streams
        if self.server.enforce_limits and len(self.subscriptions) + fresh > limit:
            raise RequestRefused(2, f"Invalid request: a connection may listen to {limit} streams", request.request_id)
        self.subscribe(names)
        return result_answer(None, request.request_id)

    def _ping(self) -> None:
        timeline, rules = self.server.timeline, self.server.rules
        body = str(timeline.sent_ns() // MS).encode()
        self._unanswered[body] = timeline.now_ns
        if not self._drop_timer.armed:
            timeline.set(self._drop_timer, timeline.now_ns + rules.pong_timeout_ns)
        self._push(bytes((0x89, len(body))) + body)
        timeline.set(self._ping_timer, timeline.now_ns + rules.ping_interval_ns)

    def _pong(self, body: bytes) -> None:
        asked_ns = self._unanswered.get(body)
        if asked_ns is None:
            return  # Unsolicited pongs are allowed and keep nothing alive.
        self.pongs += 1
        # An answer to one ping proves that the earlier ones arrived too.
        self._unanswered = {payload: when for payload, when in self._unanswered.items() if when > asked_ns}
        self._drop_timer.cancel()
        if self._unanswered:
            oldest = min(self._unanswered.values())
            self.server.timeline.set(self._drop_timer, oldest + self.server.rules.pong_timeout_ns)

    def _drop_unanswered(self) -> None:
        self.server.stats["dropped_without_pong"] += 1
        self.close(1008, "Pong timeout")

    def _expire(self) -> None:
        self.server.stats["expired"] += 1
        self.close(1001, "Connection valid for 24 hours only")

"""The WebSocket side of one market: accepts connections, counts them, and writes what their streams said."""

import asyncio
from collections import Counter, deque
from ssl import SSLContext

from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from raven.exchange.markets import Market, MarketRules
from raven.exchange.timeline import Timeline
from raven.exchange.wire.connection import Connection, parse_endpoint
from raven.exchange.wire.streams import Hub


class WebSocketServer:
    """Listens on one port of loopback and speaks one market's stream protocol."""

    def __init__(
        self,
        market: Market,
        rules: MarketRules,
        timeline: Timeline,
        hub: Hub,
        *,
        enforce_limits: bool,
        max_backlog_bytes: int,
    ) -> None:
        self.market = market
        self.rules = rules
        self.timeline = timeline
        self.hub = hub
        self.enforce_limits = enforce_limits
        self.max_backlog_bytes = max_backlog_bytes
        self.connections: dict[int, Connection] = {}
        self.stats: Counter[str] = Counter()
        """Counts: connections, attempts_refused, over_message_limit, dropped_without_pong, expired, cut_for_backlog."""
        self.host = ""
        self.port = 0
        self.loop: asyncio.AbstractEventLoop
        self._server: asyncio.Server | None = None
        self._attempts: deque[int] = deque()
        self._numbers = 0
        self._flush_planned = False
        self._all_drained = asyncio.Event()

    async def listen(self, host: str, port: int, tls: SSLContext | None = None) -> None:
        """Open the port; 0 takes a free one. Raises: OSError when it is taken."""
        self.loop = asyncio.get_running_loop()
        self._server = await ws_create_server(
            self._accept,
            host,
            port,
            ssl=tls,
            enable_auto_pong=False,
            websocket_handshake_timeout=10.0,
            max_frame_size=1024 * 1024,
        )
        self.host = host
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Refuse new connections (TCP resets them); those that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)

    async def close(self) -> None:
        """End every connection and close the port."""
        for connection in list(self.connections.values()):
            connection.vanish()
        await self.stop_listening()

    def flush(self) -> None:
        """Write what the streams have said since the last time; once per connection."""
        dirty = self.hub.dirty
        if dirty:
            self.hub.dirty = []
            for connection in dirty:
                connection.flush()  # type: ignore[attr-defined]

    def flush_soon(self) -> None:
        """Flush at the end of this turn of the loop."""
        if not self._flush_planned:
            self._flush_planned = True
            self.loop.call_soon(self._flush_planned_now)

    def _flush_planned_now(self) -> None:
        self._flush_planned = False
        self.flush()

    @property
    def is_backed_up(self) -> bool:
        """Whether a client reads more slowly than we write; one that was made half-open does not count."""
        return any(one.paused and not one.muted and not one.closing for one in self.connections.values())

    async def wait_drained(self) -> None:
        """Wait until every client has caught up."""
        while self.is_backed_up:
            self._all_drained.clear()
            await self._all_drained.wait()

    def drained(self) -> None:
        """A connection has caught up, or gone."""
        self._all_drained.set()

    def connected(self, connection: Connection) -> None:
        """Take a connection in."""
        self.stats["connections"] += 1
        self.connections[connection.number] = connection

    def disconnected(self, connection: Connection) -> None:
        """Let a connection go."""
        self.connections.pop(connection.number, None)
        self.drained()

    def _accept(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        endpoint = parse_endpoint(self.market, request.path.decode("ascii", "replace"))
        if endpoint is None:
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(404, b"Not Found"), None)
        now = self.timeline.wall_ns()
        attempts = self._attempts
        attempts.append(now)
        while attempts[0] <= now - self.rules.connect_window_ns:
            attempts.popleft()
        if self.enforce_limits and len(attempts) > self.rules.connect_attempts:
            self.stats["attempts_refused"] += 1
            return WSUpgradeResponseWithListener(
                WSUpgradeResponse.create_error_response(429, b"Too Many Requests"), None
            )
        self._numbers += 1
        return WSUpgradeResponseWithListener(
            WSUpgradeResponse.create_101_response(), Connection(self, endpoint, self._numbers)
        )

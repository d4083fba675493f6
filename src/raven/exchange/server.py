"""The exchange as a whole: markets on their ports, one timeline, one driver."""

import asyncio
from types import TracebackType
from typing import Self

from raven.exchange.answers import GeneratedAnswers
from raven.exchange.config import ExchangeConfig
from raven.exchange.faults import FaultBoard
from raven.exchange.generated import GeneratedMarket
from raven.exchange.markets import Market
from raven.exchange.rest_server import RestServer
from raven.exchange.streams import Hub
from raven.exchange.timeline import SECOND, RealTimeline, Timeline
from raven.exchange.truth import TrueBook
from raven.exchange.weights import WeightMeter
from raven.exchange.ws_server import WebSocketServer

# How many timers fire before sockets get their turn: under full load a turn of the loop stays below some milliseconds.
_TURN = 128
_TICK_S = 0.001


class MarketServer:
    """One market on its two ports."""

    def __init__(self, market: Market, source: GeneratedMarket, ws: WebSocketServer, rest: RestServer) -> None:
        self.market = market
        self.source = source
        self.ws = ws
        self.rest = rest

    @property
    def ws_url(self) -> str:
        """Base of the WebSocket URLs, to which `/ws/…` or `/stream?…` (USD-M: with the route) is appended."""
        return f"ws://127.0.0.1:{self.ws.port}"

    @property
    def rest_url(self) -> str:
        """Base of the REST URLs, to which `/api/v3/…`, `/fapi/v1/…` or `/dapi/v1/…` is appended."""
        return f"http://127.0.0.1:{self.rest.port}"


class Exchange:
    """The built-in exchange. An async context manager: inside it the ports are open.

    With a `Timeline` of your own nothing moves by itself: call `advance`. Without one it follows the real clock.
    """

    def __init__(self, config: ExchangeConfig | None = None, timeline: Timeline | None = None) -> None:
        self.config = config or ExchangeConfig()
        self.timeline = timeline or RealTimeline()
        self.faults = FaultBoard(self.timeline, self.config.fault_seed)
        self.markets: dict[Market, MarketServer] = {}
        self._driver: asyncio.Task[None] | None = None
        self._is_manual = timeline is not None
        for name in self.config.markets:
            self._add_market(Market(name))
        futures = [server.source for market, server in self.markets.items() if market.is_futures]
        for source in futures:
            source.merge_with(other for other in futures if other is not source)

    def _add_market(self, market: Market) -> None:
        config = self.config
        rules = config.rules_for(market)
        source = GeneratedMarket(market, rules, self.timeline, config)
        hub = Hub(source)
        hub.faults = self.faults
        ws = WebSocketServer(
            market,
            rules,
            self.timeline,
            hub,
            enforce_limits=config.enforce_limits,
            max_backlog_bytes=config.max_backlog_bytes,
        )
        meter = WeightMeter(
            self.timeline, rules.weight_per_minute, rules.ban_after, rules.ban_seconds, config.enforce_limits
        )
        rest = RestServer(market, rules, meter, GeneratedAnswers(source, rules), self.faults)
        self.markets[market] = MarketServer(market, source, ws, rest)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open all ports and let the market move. Raises: OSError when a port is taken."""
        port = self.config.port
        for server in self.markets.values():
            await server.ws.listen(self.config.host, port)
            await server.rest.listen(self.config.host, port + 1 if port else 0)
            port = port + 2 if port else 0
        if not self._is_manual:
            self._driver = asyncio.create_task(self._drive(), name="exchange-timeline")

    async def stop(self) -> None:
        """Let the market stand still and close all ports."""
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
            self._driver = None
        for server in self.markets.values():
            await server.ws.close()
            await server.rest.close()

    def market(self, name: str) -> MarketServer:
        """Return a market's servers. Raises: KeyError if it is not configured."""
        return self.markets[Market(name)]

    @property
    def ws_url(self) -> str:
        """WebSocket base of the first market."""
        return next(iter(self.markets.values())).ws_url

    @property
    def rest_url(self) -> str:
        """REST base of the first market."""
        return next(iter(self.markets.values())).rest_url

    @property
    def urls(self) -> dict[str, dict[str, str]]:
        """Both bases of every market: `{"usdm": {"ws": …, "rest": …}}`."""
        return {market.value: {"ws": one.ws_url, "rest": one.rest_url} for market, one in self.markets.items()}

    def book(self, symbol: str, market: str = "") -> TrueBook:
        """Return the true book of a symbol at this moment, in exact decimals. Raises: KeyError for an unknown symbol."""
        server = self.markets[Market(market)] if market else next(iter(self.markets.values()))
        return server.source.book(symbol)

    async def advance(self, seconds: float) -> None:
        """Move a hand-driven timeline and let sockets write what happened. For tests with their own `Timeline`."""
        self.timeline.run_until(self.timeline.now_ns + round(seconds * SECOND))
        self.flush()
        await asyncio.sleep(0)

    def flush(self) -> None:
        """Write what was said since the last time."""
        for server in self.markets.values():
            server.ws.flush()

    async def _drive(self) -> None:
        timeline = self.timeline
        while True:
            done = timeline.run_until(timeline.wall_ns(), _TURN)
            self.flush()
            if not done:
                await asyncio.sleep(0)
                continue
            due = timeline.next_due_ns()
            wait = _TICK_S if due is None else (due - timeline.wall_ns()) / SECOND
            await asyncio.sleep(max(wait, _TICK_S / 2))

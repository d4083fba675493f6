"""The exchange as a whole: markets on their ports, one timeline, one driver."""

import asyncio
import fnmatch
import json
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from raven.exchange.config import ExchangeConfig
from raven.exchange.control import control_application
from raven.exchange.faults.board import FaultBoard
from raven.exchange.faults.chaos import ChaosScript
from raven.exchange.faults.fault import CONNECTION_FAULTS, Fault
from raven.exchange.generated.answers import GeneratedAnswers
from raven.exchange.generated.market import GeneratedMarket
from raven.exchange.markets import Market
from raven.exchange.replay.answers import ReplayAnswers
from raven.exchange.replay.market import ReplayMarket
from raven.exchange.timeline import SECOND, RealTimeline, Timeline
from raven.exchange.truth import TrueBook
from raven.exchange.wire.connection import Connection
from raven.exchange.wire.rest_server import RestServer
from raven.exchange.wire.streams import Hub
from raven.exchange.wire.weights import WeightMeter
from raven.exchange.wire.ws_server import WebSocketServer

# The shortest sleep. uvloop counts in whole milliseconds, so anything shorter would spin; one write per connection and
# millisecond is cheap.
_TICK_S = 0.001


class MarketServer:
    """One market on its two ports."""

    def __init__(
        self,
        market: Market,
        source: GeneratedMarket | ReplayMarket,
        ws: WebSocketServer,
        rest: RestServer,
        *,
        is_secure: bool,
    ) -> None:
        self._is_secure = is_secure
        self.market = market
        self.source = source
        self.ws = ws
        self.rest = rest

    def _secure(self, scheme: str) -> str:
        return scheme + "s" if self._is_secure else scheme

    @property
    def ws_url(self) -> str:
        """Base of the WebSocket URLs, to which `/ws/…` or `/stream?…` (USD-M: with the route) is appended."""
        return f"{self._secure('ws')}://127.0.0.1:{self.ws.port}"

    @property
    def rest_url(self) -> str:
        """Base of the REST URLs, to which `/api/v3/…`, `/fapi/v1/…` or `/dapi/v1/…` is appended."""
        return f"{self._secure('http')}://127.0.0.1:{self.rest.port}"


class Exchange:
    """The built-in exchange. An async context manager: inside it the ports are open.

    With a `Timeline` of your own nothing moves by itself: call `advance`. Without one it follows the real clock.
    Everything runs on the event loop it was started on; its methods are not for other threads.
    """

    def __init__(self, config: ExchangeConfig | None = None, timeline: Timeline | None = None) -> None:
        self.config = config or ExchangeConfig()
        self.timeline = timeline or RealTimeline()
        self.faults = FaultBoard(self.timeline, self.config.fault_seed)
        self.markets: dict[Market, MarketServer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_manual = timeline is not None
        # USD-M and COIN-M count against one budget on the venue; spot has its own.
        self._meters: dict[bool, WeightMeter] = {}
        for name in self.config.markets:
            self._add_market(Market(name))
        futures = [
            server.source
            for server in self.markets.values()
            if server.market.is_futures and isinstance(server.source, GeneratedMarket)
        ]
        for source in futures:
            source.merge_with(other for other in futures if other is not source)

    def _add_market(self, market: Market) -> None:
        config, timeline = self.config, self.timeline
        rules = config.rules_for(market)
        source: GeneratedMarket | ReplayMarket
        if config.replay is not None:
            source = ReplayMarket(market, rules, timeline, config.replay)
            answers: GeneratedAnswers | ReplayAnswers = ReplayAnswers(source)
        else:
            source = GeneratedMarket(market, rules, timeline, config)
            answers = GeneratedAnswers(source, rules)
        hub = Hub(source, market, self.faults)
        ws = WebSocketServer(
            market,
            rules,
            timeline,
            hub,
            enforce_limits=config.enforce_limits,
            max_backlog_bytes=config.max_backlog_bytes,
        )
        meter = self._meters.setdefault(
            market.is_futures,
            WeightMeter(timeline, rules.weight_per_minute, rules.ban_after, rules.ban_seconds, config.enforce_limits),
        )
        rest = RestServer(market, rules, meter, answers, self.faults)
        self.markets[market] = MarketServer(market, source, ws, rest, is_secure=config.tls is not None)

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
        try:
            for server in self.markets.values():
                await server.ws.listen(self.config.host, port, self.config.tls)
                control = control_application(self, server.market.value)
                await server.rest.listen(self.config.host, port + 1 if port else 0, control, self.config.tls)
                port = port + 2 if port else 0
                if isinstance(server.source, ReplayMarket):
                    self._run(server.source.play(server.ws), "exchange-replay")
        except BaseException:
            await self.stop()
            raise
        if self.config.fault_script is not None:
            script = await asyncio.to_thread(Path(self.config.fault_script).read_text)
            for body in json.loads(script):
                self.inject(Fault.from_json(body))
        if self.config.chaos_per_minute > 0:
            ChaosScript(self, self.config.fault_seed, self.config.chaos_per_minute).start()
        if not self._is_manual:
            self._run(self._drive(), "exchange-timeline")

    async def stop(self) -> None:
        """Let the market stand still and close all ports."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for server in self.markets.values():
            await server.ws.close()
            await server.rest.close()

    # --- where it is -------------------------------------------------------------------------------------

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
        """Return the true book of a symbol at this moment, exact. Raises: KeyError for a symbol that is not traded."""
        server = self.markets[Market(market)] if market else next(iter(self.markets.values()))
        return server.source.book(symbol)

    def state(self) -> dict[str, Any]:
        """Count what happened, by market: events, connections, frames waiting, REST requests, weight, faults."""
        report: dict[str, Any] = {"faults": dict(self.faults.struck)}
        for market, server in self.markets.items():
            source = server.source
            streams = server.ws.hub.streams
            report[market.value] = {
                "events": source.events if isinstance(source, GeneratedMarket) else source.position,
                "connections": len(server.ws.connections),
                "streams": len(streams),
                "frames": server.ws.hub.frames,
                "lag_ms": (self.timeline.wall_ns() - self.timeline.now_ns) / 1_000_000,
                "weight": self._meters[market.is_futures].used(),
                "ws": dict(server.ws.stats),
                "rest": dict(server.rest.stats),
            }
        return report

    # --- what it does ------------------------------------------------------------------------------------

    async def advance(self, seconds: float) -> None:
        """Move a hand-driven timeline and let sockets write what happened. For tests with their own `Timeline`."""
        self.timeline.run_until(self.timeline.now_ns + round(seconds * SECOND))
        self.flush()
        await asyncio.sleep(0)

    def flush(self) -> None:
        """Write what was said since the last time."""
        for server in self.markets.values():
            server.ws.flush()

    def pause(self) -> None:
        """Let no more orders arrive; pending depth events still go out, so clients and `book` come to agree."""
        for server in self.markets.values():
            if isinstance(server.source, GeneratedMarket):
                server.source.pause()

    def resume(self) -> None:
        """Let orders arrive again."""
        for server in self.markets.values():
            if isinstance(server.source, GeneratedMarket):
                server.source.resume()

    def start_replay(self) -> None:
        """Start the replay at once, whoever listens. Harmless without a replay."""
        for server in self.markets.values():
            if isinstance(server.source, ReplayMarket):
                server.source.release()

    async def replay_finished(self) -> None:
        """Wait until the last recorded line has been written to every client. Raises: RuntimeError without a replay."""
        waits = [one.source.finished.wait() for one in self.markets.values() if isinstance(one.source, ReplayMarket)]
        if not waits:
            raise RuntimeError("no replay is configured; set ExchangeConfig.replay")
        await asyncio.gather(*waits)

    def inject(self, fault: Fault) -> int:
        """Arm a fault, now or after `after_s`; return its number (0 for one that begins later or happens at once)."""
        if fault.after_s:
            later = Fault(**{name: getattr(fault, name) for name in Fault.__dataclass_fields__} | {"after_s": 0.0})
            self.timeline.call_later(round(fault.after_s * SECOND), lambda: self._inject_later(later))
            return 0
        return self._inject_now(fault)

    def _inject_later(self, fault: Fault) -> None:
        self._inject_now(fault)

    def _inject_now(self, fault: Fault) -> int:
        if fault.kind not in CONNECTION_FAULTS:
            return self.faults.add(fault)
        self.faults.struck[fault.kind] += 1
        for market, server in self.markets.items():
            if fault.market in ("", market.value):
                if fault.kind == "refuse":
                    self._run(self._refuse(server, fault.seconds), "exchange-refuse")
                else:
                    for connection in list(server.ws.connections.values()):
                        if _concerns(fault, connection):
                            self._strike(fault, connection)
        return 0

    def _strike(self, fault: Fault, connection: Connection) -> None:
        if fault.kind == "reset":
            connection.abort()
        elif fault.kind == "half_open":
            connection.freeze()
        elif fault.kind == "server_shutdown":
            connection.announce_shutdown()
            wait_ns = round(fault.seconds * SECOND)
            self.timeline.call_later(wait_ns, lambda: connection.close(fault.code, "Server shutdown"))
        elif fault.code == 1006:
            connection.vanish()
        else:
            connection.close(fault.code, "Fault on request")

    async def _refuse(self, server: MarketServer, seconds: float) -> None:
        await server.ws.stop_listening()
        if seconds:
            await self.faults.sleep(seconds)
            await server.ws.listen(self.config.host, server.ws.port, self.config.tls)

    # --- the driver --------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A market that silently stands still would be a riddle to its user.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"exchange task {task.get_name()} failed: {error}", "exception": error, "task": task}
            )

    async def _drive(self) -> None:
        timeline = self.timeline
        # A replay sets its next timer while this sleeps; a generated market has planned its next order before.
        idle = _TICK_S if self.config.replay is not None else 5 * _TICK_S
        while True:
            done = timeline.run_until(timeline.wall_ns(), self.config.turn)
            self.flush()
            if not done:
                await asyncio.sleep(0)
                continue
            due = timeline.next_due_ns()
            wait = idle if due is None else (due - timeline.wall_ns()) / SECOND
            await asyncio.sleep(max(_TICK_S, min(wait, idle)))


def _concerns(fault: Fault, connection: Connection) -> bool:
    if fault.target == "*":
        return True
    return any(fnmatch.fnmatchcase(name, fault.target) for name in connection.subscriptions)

"""The REST side of one market: routing, weights, errors; faults on request. What answers is behind `Answers`."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from ssl import SSLContext
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from raven.exchange.markets import Market, MarketRules
from raven.exchange.wire.weights import Verdict, WeightMeter, request_weight

if TYPE_CHECKING:
    from raven.exchange.faults.board import FaultBoard


class BadRequest(Exception):
    """A request the venue refuses, with its code and message."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.body = json.dumps({"code": code, "msg": message}, separators=(",", ":"))


class Answers(Protocol):
    """Where the content of REST answers comes from."""

    async def answer(self, endpoint: str, params: Mapping[str, str]) -> str | None:
        """Return the body for an endpoint, or None if there is no such endpoint. Raises: BadRequest."""


class RestServer:
    """Listens on one port of loopback and speaks one market's REST protocol."""

    def __init__(
        self, market: Market, rules: MarketRules, meter: WeightMeter, answers: Answers, faults: "FaultBoard"
    ) -> None:
        self.market = market
        self.port = 0
        self.stats: Counter[str] = Counter()
        """Requests by endpoint, and answers by status (`status_429`)."""
        self._rules = rules
        self._meter = meter
        self._answers = answers
        self._faults = faults
        self._runner: web.AppRunner | None = None
        self._host = ""

    async def listen(
        self, host: str, port: int, control: web.Application | None = None, tls: SSLContext | None = None
    ) -> None:
        """Open the port; `control` is mounted at `/_raven`. Raises: OSError when the port is taken."""
        app = web.Application()
        if control is not None:
            app.add_subapp("/_raven", control)
        app.router.add_route("GET", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        self._host = host
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Close the port and end open requests."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        prefix = self._rules.rest_prefix + "/"
        if not request.path.startswith(prefix):
            return web.Response(status=404, text="")
        endpoint = request.path[len(prefix) :]
        params = dict(request.query)
        self.stats[endpoint] += 1
        weight = request_weight(self.market, self._rules, endpoint, params)
        verdict = self._meter.spend(request.remote or "", weight)
        headers = {"X-MBX-USED-WEIGHT-1M": str(verdict.used), "X-MBX-USED-WEIGHT": str(verdict.used)}
        fault = self._faults.take_rest(self.market, endpoint, params.get("symbol", ""))
        if fault is not None and fault.kind in ("http_429", "http_418"):
            retry = max(1, round(fault.seconds))
            verdict = Verdict(
                verdict.used, int(fault.kind[-3:]), retry, self._meter.timeline.wall_ns() // 1_000_000 + retry * 1000
            )
        if verdict.status != 200:
            return self._refuse(verdict, headers)
        if fault is not None and fault.kind == "http_500":
            return self._respond(
                500, '{"code":-1000,"msg":"An unknown error occurred while processing the request."}', headers
            )
        if fault is not None and fault.kind == "slow_snapshot":
            await self._faults.sleep(fault.seconds)
        try:
            body = await self._answers.answer(endpoint, params)
        except BadRequest as error:
            return self._respond(error.status, error.body, headers)
        if body is None:
            return web.Response(status=404, text="", headers=headers)
        if endpoint == "depth":
            body = self._faults.keep_snapshot(
                self.market, params, body, stale=fault is not None and fault.kind == "stale_snapshot"
            )
        if fault is not None and fault.kind == "truncated_snapshot":
            return await self._truncate(request, body, headers)
        return self._respond(200, body, headers)

    def _refuse(self, verdict: Verdict, headers: dict[str, str]) -> web.Response:
        headers["Retry-After"] = str(verdict.retry_after_s)
        if verdict.status == 418:
            message = (
                f"Way too much request weight used; IP banned until {verdict.until_ms}. "
                "Please use WebSocket Streams for live updates to avoid bans."
            )
        else:
            message = (
                f"Too many requests; current limit of IP(127.0.0.1) is {self._rules.weight_per_minute} request weight "
                "per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
            )
        return self._respond(
            verdict.status, json.dumps({"code": -1003, "msg": message}, separators=(",", ":")), headers
        )

    def _respond(self, status: int, body: str, headers: dict[str, str]) -> web.Response:
        self.stats[f"status_{status}"] += 1
        return web.Response(status=status, text=body, headers=headers, content_type="application/json", charset="utf-8")

    async def _truncate(self, request: web.Request, body: str, headers: dict[str, str]) -> web.StreamResponse:
        """Promise the whole answer, send half of it and hang up."""
        data = body.encode()
        response = web.StreamResponse(headers={**headers, "Content-Type": "application/json;charset=UTF-8"})
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        await asyncio.sleep(0)
        if request.transport is not None:
            request.transport.close()
        return response

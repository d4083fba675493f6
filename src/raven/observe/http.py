"""The monitoring ports: `/health`, `/ready`, `/metrics` and, for `ravenctl`, `/status`; the same on each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from raven.errors import ConfigurationError
from raven.observe.health import Health, Status
from raven.observe.logs import get_logger
from raven.observe.metrics import REGISTRY

__all__ = ["MonitoringServer"]

log = get_logger("monitoring")
ROUTES = ("/health", "/ready", "/metrics", "/status")

StatusReport = Callable[[], dict[str, Any]]
"""Says what a service is doing: whom it hears, what it collects, who is subscribed."""


class MonitoringServer:
    """Answers on every port of `ports`; equal ones are opened once, 0 takes a free one."""

    def __init__(
        self,
        health: Health,
        host: str,
        ports: Sequence[int],
        *,
        registry: CollectorRegistry = REGISTRY,
        metrics_enabled: bool = True,
        status: StatusReport | None = None,
    ) -> None:
        """Without `status`, `/status` is the same as `/health`."""
        self._health = health
        self._status = status or health.report
        self._host = host
        self._wanted = tuple(ports)
        self._registry = registry
        self._metrics_enabled = metrics_enabled
        self._runner: web.AppRunner | None = None
        self.ports: tuple[int, ...] = ()
        """The ports that are open, one per wanted port, in their order."""

    async def start(self) -> None:
        """Open the ports.

        Raises: ConfigurationError when one cannot be opened; none is open then.
        """
        app = web.Application(client_max_size=1024)
        app.router.add_get("/health", self._answer_health)
        app.router.add_get("/ready", self._answer_ready)
        app.router.add_get("/metrics", self._answer_metrics)
        app.router.add_get("/status", self._answer_status)
        app.router.add_route("*", "/{other:.*}", self._answer_other)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        opened: dict[int, int] = {}
        ports = []
        try:
            for wanted in self._wanted:
                if wanted == 0 or wanted not in opened:
                    opened[wanted] = await self._open(self._runner, wanted)
                ports.append(opened[wanted])
        except BaseException:
            await self.stop()
            raise
        self.ports = tuple(ports)
        log.info("monitoring open", host=self._host, ports=sorted(set(ports)), routes=" ".join(ROUTES))

    async def _open(self, runner: web.AppRunner, port: int) -> int:
        before = len(runner.addresses)
        site = web.TCPSite(runner, self._host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"monitoring cannot listen on {self._host}:{port}: {error.strerror or error}; set "
                "monitoring.health_check_port and monitoring.metrics_port, or --monitoring-port, to a free one"
            ) from None
        return int(runner.addresses[before][1])

    async def stop(self) -> None:
        """Close the ports; safe to call twice."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
            self.ports = ()

    async def _answer_health(self, _: web.Request) -> web.Response:
        report = self._health.report()
        return web.json_response(report, status=503 if report["status"] == Status.UNHEALTHY else 200)

    async def _answer_ready(self, _: web.Request) -> web.Response:
        ready, report = self._health.ready_report()
        return web.json_response(report, status=200 if ready else 503)

    async def _answer_status(self, _: web.Request) -> web.Response:
        return web.json_response(self._status())

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        if not self._metrics_enabled:
            return web.json_response({"error": "metrics are off; set monitoring.metrics_enabled = true"}, status=404)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # A thousand symbols make some 20,000 lines; a thread keeps the loop free to answer /health meanwhile.
        body = await asyncio.to_thread(encode, self._registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _answer_other(self, request: web.Request) -> web.Response:
        if request.path in ROUTES:
            return web.json_response({"error": "only GET is answered"}, status=405, headers={"Allow": "GET, HEAD"})
        return web.json_response({"error": f"nothing here; there is {', '.join(ROUTES)}"}, status=404)

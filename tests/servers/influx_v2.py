"""InfluxDB 2, so far as a writer meets it: token, organisation, bucket, limits, refusals, and the queries of 1.x.

With a real InfluxDB 1.x behind it, that one parses, checks and stores; alone, it keeps the lines that it was sent.
What InfluxDB 2 does beyond that (Flux, tasks, its own storage) is not here: no test of ours has met a real one.
"""

from __future__ import annotations

import gzip
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from tests.servers.influx import InfluxServer

__all__ = ["InfluxV2", "Scripted"]

_PRECISIONS = ("ns", "us", "ms", "s")


@dataclass(frozen=True, slots=True)
class Scripted:
    """An answer given instead of the true one."""

    status: int
    message: str = "scripted"
    headers: Mapping[str, str] = field(default_factory=dict)
    after_storing: bool = False
    """The lines are kept all the same: the answer comes too late or is lost."""


class InfluxV2:
    """Serves on a free loopback port."""

    def __init__(self, behind: InfluxServer | None = None, *, max_body_bytes: int = 50_000_000) -> None:
        self.token, self.org, self.bucket = "secret-token", "raven", "market_data"
        self.max_body_bytes = max_body_bytes
        self.script: deque[Scripted] = deque()
        self.lines: dict[bytes, bytes] = {}
        """Fields by series and time, when nothing is behind: a point that comes again replaces itself."""
        self.writes = 0
        self.encodings: set[str] = set()
        self.may_read = True
        """Whether the token is one that may also read."""
        self._behind = behind
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=1 << 30)
        app.add_routes([web.get("/ping", self._ping), web.post("/api/v2/write", self._write)])
        app.add_routes([web.get("/query", self._query)])
        self._runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _ping(self, _request: web.Request) -> web.Response:
        return web.Response(status=204, headers={"X-Influxdb-Version": "v2.7.0"})

    async def _write(self, request: web.Request) -> web.Response:
        self.writes += 1
        if (request.content_length or 0) > self.max_body_bytes:
            return _error(413, "request too large", "unable to read data: points batch is too large")
        body = await request.read()
        encoding = request.headers.get("Content-Encoding", "identity")
        self.encodings.add(encoding)
        scripted = self.script.popleft() if self.script else None
        if scripted and not scripted.after_storing:
            return _error(scripted.status, "scripted", scripted.message, scripted.headers)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        answer = await self._keep(gzip.decompress(body) if encoding == "gzip" else body)
        return _error(scripted.status, "scripted", scripted.message, scripted.headers) if scripted else answer

    async def _query(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Token {self.token}" or not self.may_read:
            return _error(401, "unauthorized", "unauthorized access")
        if request.query.get("db") != self.bucket:
            return _error(404, "not found", "no dbrp mapping found")
        if self._behind is None:
            return web.json_response({"results": [{"statement_id": 0}]})
        params = dict(request.query) | {"db": self._behind.database}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._behind.url}/query", params=params) as answer,
        ):
            return web.Response(body=await answer.read(), content_type="application/json", status=answer.status)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != f"Token {self.token}":
            return _error(401, "unauthorized", "unauthorized access")
        if request.query.get("org") != self.org:
            return _error(404, "not found", f'organization name "{request.query.get("org")}" not found')
        if request.query.get("bucket") != self.bucket:
            return _error(404, "not found", f'bucket "{request.query.get("bucket")}" not found')
        if request.query.get("precision", "ns") not in _PRECISIONS:
            return _error(400, "invalid", "invalid precision; valid precision units are ns, us, ms, and s")
        return None

    async def _keep(self, body: bytes) -> web.Response:
        if self._behind is None:
            for line in body.splitlines():
                series, _, rest = line.partition(b" ")
                fields, _, time = rest.rpartition(b" ")
                self.lines[series + b" " + time] = fields
            return web.Response(status=204)
        params = {"db": self._behind.database, "precision": "ns"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self._behind.url}/write", params=params, data=body) as answer,
        ):
            if answer.status == 204:
                return web.Response(status=204)
            words = json.loads(await answer.read())["error"]
        # InfluxDB 2 says 422 where it kept a part, and 400 where it could not read the lines.
        is_partial = "partial write" in words
        return _error(422 if is_partial else 400, "unprocessable entity" if is_partial else "invalid", words)


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status, headers=headers)

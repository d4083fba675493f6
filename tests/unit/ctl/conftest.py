"""Services that answer as ours do, without collecting anything: what `ravenctl` says is tested against them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from raven.app.services import SERVICES, port_path
from raven.ctl.cli import app
from raven.proto import control_pb2 as wire
from raven.proto.control_pb2_grpc import ControlServicer, add_ControlServicer_to_server


@dataclass
class FakeService(ControlServicer):
    """One service: `status` is what it says over HTTP; what it was told stands in `told`."""

    name: str
    status: dict[str, Any] = field(default_factory=dict)
    has: dict[str, str] = field(default_factory=dict)
    """Symbol → status of what is collected."""
    told: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0
    http_port: int = 0

    def StartCollection(self, request: wire.ControlRequest, context: grpc.ServicerContext) -> wire.ControlResponse:
        self.told.append(("start", f"{request.symbol} {request.venue} {request.data_type}".strip()))
        if request.symbol == "NOPE":
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no NOPE")
        return wire.ControlResponse(success=True, message=f"collecting {request.symbol}")

    def StopCollection(self, request: wire.ControlRequest, context: grpc.ServicerContext) -> wire.ControlResponse:
        self.told.append(("stop", request.symbol))
        if request.symbol not in self.has:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.symbol} is not collected")
        return wire.ControlResponse(success=True, message=f"stopped {request.symbol}")

    def ListCollections(self, request: wire.ListRequest, context: grpc.ServicerContext) -> wire.ListResponse:
        rows = [
            wire.CollectionInfo(symbol=symbol, status=status, subscriber_count=2, venue="binance_spot", data_types=[1])
            for symbol, status in self.has.items()
        ]
        return wire.ListResponse(collections=rows)

    def StopAllCollections(self, request: wire.StopAllRequest, context: grpc.ServicerContext) -> wire.StopAllResponse:
        self.told.append(("stop-all", ""))
        return wire.StopAllResponse(success=True, message="stopped all")

    def document(self) -> dict[str, Any]:
        """The body of `/status`."""
        rows = [
            {"venue": "binance_spot", "symbol": symbol, "types": ["TRADES"], "status": status, "subscribers": 2}
            for symbol, status in self.has.items()
        ]
        return {
            "status": "healthy", "service": self.name, "version": "9.9.9", "uptime_seconds": 1.0, "components": {},
            "ready": {}, "role": SERVICES[self.name].role.value, "grpc": f"127.0.0.1:{self.port}", "upstream": None,
            "collections": rows, "lag_seconds": 0.25, "events": 10, "clients": [], "sent": 5, "lost": 0, **self.status,
        }  # fmt: skip


def _open(service: FakeService) -> Callable[[], None]:
    """Open both ports; return what closes them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(service.document()).encode()
            self.send_response(200 if self.path == "/status" else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    pool = ThreadPoolExecutor(max_workers=2)
    server = grpc.server(pool)
    add_ControlServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    service.http_port = http.server_address[1]
    service.port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def close() -> None:
        server.stop(0).wait(5)
        pool.shutdown()
        http.shutdown()
        http.server_close()
        thread.join(5)

    return close


class Platform:
    """Some fake services, a configuration that names their ports, and `ravenctl` with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._services: list[FakeService] = []
        self._closing: list[Callable[[], None]] = []
        self.settings = ""

    def add(self, name: str, **said: Any) -> FakeService:
        """Run a service."""
        service = FakeService(name, **said)
        self._closing.append(_open(service))
        self._services.append(service)
        return service

    def run(self, *arguments: str) -> tuple[int, str]:
        """Call `ravenctl`; return its exit code and everything it said."""
        config = self._folder / "platform.toml"
        config.write_text(f"[server]\n{self._ports()}{self.settings}")
        result = CliRunner().invoke(app, ["--config", str(config), *arguments], env={"COLUMNS": "160"})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    def close(self) -> None:
        for close in self._closing:
            close()

    def _ports(self) -> str:
        here = {service.name: service.port for service in self._services}
        # Port 1 is nobody's.
        rows = [(port_path(service).removeprefix("server."), here.get(name, 1)) for name, service in SERVICES.items()]
        return "".join(f"{key} = {port}\n" for key, port in rows)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    made = Platform(tmp_path)
    # A fake has both ports where the system put them; a real one has an offset between them.
    monkeypatch.setattr(
        "raven.ctl.reach.monitoring_port",
        lambda service, settings: next((one.http_port for one in made._services if one.name == service.name), 1),
    )
    yield made
    made.close()

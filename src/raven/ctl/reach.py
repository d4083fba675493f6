"""Where the services are, and asking them: over HTTP what they are doing, over gRPC to start and to stop.

A service is looked for where the configuration says; `--host` and `--port` say otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio

from raven.app.services import SERVICES, Service, find, monitoring_port, port, reachable
from raven.app.trust import credentials
from raven.config import Settings, load
from raven.errors import ConfigurationError, DataValidation, NetworkTimeout, RavenError
from raven.proto import control_pb2 as wire
from raven.proto.control_pb2_grpc import ControlStub

__all__ = ["Reach", "State", "Target", "down", "reach"]

# Long enough for a busy machine, short enough for a person.
_HTTP_S = 3.0
_CALL_S = 15.0
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a service should be."""

    host: str
    port: int
    http_ports: tuple[int, ...]
    """Where its `/status` may be."""
    service: Service | None = None
    """Who should be there; None when only a port was named."""

    @property
    def address(self) -> str:
        """`host:port` of its gRPC."""
        return f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """Its name, or its address when that is all we know."""
        return self.service.name if self.service else self.address


@dataclass(slots=True)
class State:
    """What is known of a service after having looked."""

    target: Target
    status: dict[str, Any] = field(default_factory=dict)
    """Its `/status`; empty when nobody answered there."""
    http: str = ""
    """Where that was."""

    @property
    def is_up(self) -> bool:
        """Whether it answered."""
        return bool(self.status)

    @property
    def name(self) -> str:
        """What it calls itself."""
        return str(self.status.get("service", self.target.name))

    @property
    def is_well(self) -> bool:
        """Whether it is healthy and can do its job."""
        return self.status.get("status") == "healthy" and not self.status.get("ready")

    @property
    def troubles(self) -> list[str]:
        """Say what is wrong with it."""
        if not self.is_up:
            return [down(self.target)]
        parts = {name: part["reason"] for name, part in self.status.get("components", {}).items() if part["reason"]}
        reasons = {**self.status.get("ready", {}), **parts}
        # Databases say their names themselves.
        return list(dict.fromkeys(f"{name}: {reason.removeprefix(f'{name}: ')}" for name, reason in reasons.items()))


def down(target: Target) -> str:
    """Say that nobody answers, and what to do about it."""
    known = [target.service] if target.service else []
    programs = " or ".join(f"`{service.name}`" for service in known)
    return f"no service on {target.address}: start it with {programs or 'its program, see `ravenctl status`'}"


def reach(config: Path | None = None, host: str | None = None, port_: int | None = None) -> Reach:
    """Return who can be asked. Raises: ConfigurationError."""
    return Reach(load(config).settings, host, port_)


class Reach:
    """The services of one configuration."""

    def __init__(self, settings: Settings, host: str | None = None, port_: int | None = None) -> None:
        self.settings = settings
        self.host = host or reachable(settings.server.host)
        self._http_host = host or reachable(settings.monitoring.host or settings.server.host)
        self._port = port_

    # --- where they are ---------------------------------------------------------------------------------------------

    def targets(self, name: str | None = None) -> list[Target]:
        """Return where to look: for one service, at one port, or for all of them.

        Raises: ConfigurationError for a service that does not exist.
        """
        if name is not None:
            return [self._target(find(name))]
        if self._port is not None:
            known = [service for service in SERVICES.values() if port(service, self.settings) == self._port]
            ports = [monitoring_port(service, self.settings) for service in known]
            ports.append(self._port + self.settings.monitoring.port_offset)
            # `raven --port N` moves only its gRPC port. Whoever answers says which one is its own.
            ports += [monitoring_port(service, self.settings) for service in SERVICES.values()]
            only = known[0] if len(known) == 1 else None
            return [Target(self.host, self._port, tuple(dict.fromkeys(ports)), only)]
        return [self._target(service) for service in SERVICES.values()]

    def target(self, name: str | None) -> Target:
        """Return where one service should be. Raises: ConfigurationError when neither a service nor a port is named."""
        if name is None and self._port is None:
            raise ConfigurationError(f"which service? Name one with --service: {', '.join(SERVICES)}; or with --port")
        return self.targets(name)[0]

    def _target(self, service: Service) -> Target:
        if self._port is not None:
            ports = (self._port + self.settings.monitoring.port_offset, monitoring_port(service, self.settings))
            return Target(self.host, self._port, ports, service)
        return Target(self.host, port(service, self.settings), (monitoring_port(service, self.settings),), service)

    # --- what they are doing ----------------------------------------------------------------------------------------

    async def look(self, targets: Sequence[Target]) -> list[State]:
        """Ask all of them at once."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_HTTP_S)) as http:
            return await asyncio.gather(*(self._look(http, target) for target in targets))

    async def _look(self, http: aiohttp.ClientSession, target: Target) -> State:
        for http_port in target.http_ports:
            url = f"http://{self._http_host}:{http_port}/status"
            try:
                async with http.get(url) as answer:
                    status = await answer.json()
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
            if isinstance(status, dict) and _is(target, status):
                return State(target, status, url.removesuffix("/status"))
        return State(target)

    # --- what they are to do ----------------------------------------------------------------------------------------

    async def start(self, target: Target, symbol: str, venue: str, kind: int) -> str:
        """Start a collection; return what the service says. Raises: RavenError with the way out."""
        request = wire.ControlRequest(symbol=symbol, venue=venue, data_type=kind)  # type: ignore[arg-type]
        return str((await self._call(target, lambda stub, **how: stub.StartCollection(request, **how))).message)

    async def stop(self, target: Target, symbol: str, venue: str, kind: int) -> str:
        """Stop a collection. Raises: DataValidation when it was not started there, another RavenError otherwise."""
        request = wire.ControlRequest(symbol=symbol, venue=venue, data_type=kind)  # type: ignore[arg-type]
        return str((await self._call(target, lambda stub, **how: stub.StopCollection(request, **how))).message)

    async def stop_all(self, target: Target) -> str:
        """Stop everything that was started. Raises: RavenError."""
        request = wire.StopAllRequest()
        return str((await self._call(target, lambda stub, **how: stub.StopAllCollections(request, **how))).message)

    async def collections(self, target: Target) -> list[wire.CollectionInfo]:
        """List what a service collects. Raises: RavenError."""
        request = wire.ListRequest()
        answer = await self._call(target, lambda stub, **how: stub.ListCollections(request, **how))
        return list(answer.collections)

    async def _call(self, target: Target, call: Callable[..., Awaitable[Any]]) -> Any:
        await self._check_who_is_there(target)
        token = self.settings.server.token.get_secret_value()
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        async with self._channel(target) as channel:
            stub = ControlStub(channel)  # type: ignore[no-untyped-call]
            try:
                return await call(stub, timeout=_CALL_S, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                raise await self._explained(target, error) from None

    async def _check_who_is_there(self, target: Target) -> None:
        """Raises: NetworkTimeout when another service has the port: `raven` and an aggregator share one by default."""
        services = SERVICES.values()
        others = [one for one in services if one is not target.service and port(one, self.settings) == target.port]
        if target.service is None or not others:
            return
        asked, *rest = await self.look([target, *(self._target(one) for one in others)])
        there = next((state.name for state in rest if state.is_up), None)
        if not asked.is_up and there is not None:
            raise NetworkTimeout(
                f"{target.address} is {there}, not {target.name}: name that with --service, or start `{target.name}` "
                f"on a port of its own (server.{target.service.port_key})"
            )

    async def _explained(self, target: Target, error: grpc.aio.AioRpcError) -> RavenError:
        """Return what a person is told."""
        if error.code() in _AWAY:
            (state,) = await self.look([target])
            if not state.is_up:
                return NetworkTimeout(down(target))
        said = error.details() or error.code().name
        kind = DataValidation if error.code() is grpc.StatusCode.NOT_FOUND else NetworkTimeout
        return kind(f"{target.name}: {said}")

    @asynccontextmanager
    async def _channel(self, target: Target) -> AsyncIterator[grpc.aio.Channel]:
        # One try decides: a person waits.
        options = [("grpc.enable_retries", 0), ("grpc.initial_reconnect_backoff_ms", 200)]
        trusted = credentials(self.settings)
        if trusted is None:
            opened = grpc.aio.insecure_channel(target.address, options=options)
        else:
            opened = grpc.aio.secure_channel(target.address, trusted, options=options)
        async with opened as channel:
            yield channel


def _is(target: Target, status: dict[str, Any]) -> bool:
    """Whether the one who answered is the one we look for: `raven` and an aggregator may share a port number."""
    if target.service is not None and status.get("service") != target.service.name:
        return False
    return target.port == 0 or str(status.get("grpc", "")).endswith(f":{target.port}")

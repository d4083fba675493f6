"""Whom a service hears: the link to its upstream, and what health and `/status` say about it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from raven._core import Hub
from raven.app.compose.front import Front
from raven.app.from_settings import ring_bytes
from raven.app.lifecycle import Lifecycle
from raven.app.services import SERVICES, Role, Service, port, reachable, upstream_of
from raven.app.trust import credentials
from raven.config import Settings
from raven.errors import ConfigurationError, RavenError
from raven.fanout import Collector, Unobtainable
from raven.fanout import Status as Refusal
from raven.ingest.collections import CONFIGURED
from raven.observe import Health, Status, UpstreamCollector, UpstreamCounts, get_logger, record_error
from raven.ports import Link
from raven.registry import LINKS, VENUES, load
from raven.resilience.backoff import Backoff
from raven.resilience.positions import Positions
from raven.topics import DataType

__all__ = ["Hearable", "Hearing"]

log = get_logger("raven")

# Between attempts to collect what is configured: an upstream that is back is noticed within the longest.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0
_SETTLED_S = 3.0
# Of one topic: who reads it here keeps up, and what a restart is to find again is in the ring of the upstream.
_RING_BYTES = 1 << 20


class Hearable(Protocol):
    """A service of this process that others can hear without a network."""

    hub: Hub
    collector: Collector


class Hearing:
    """The link of one service."""

    def __init__(self, service: Service, settings: Settings, made: Mapping[str, object]) -> None:
        """`made` are the services of this process that were put together before.

        Raises: ConfigurationError for an address that makes no sense.
        """
        self._service, self._settings = service, settings
        self.name, self.address = _upstream(service, settings, made)
        self.venue = _venue(service, settings, self.name)
        self.link: Link = _link(service, settings, self.address, made)

    def add_to(self, lifecycle: Lifecycle) -> None:
        """Let it start and stop with the program."""
        lifecycle.add(f"{self._service.name} link", start=self.link.start, stop=self.link.stop)

    def collect(self, lifecycle: Lifecycle, collector: Collector, types: Sequence[DataType]) -> None:
        """Let what the configuration names be collected as long as the program runs; an upstream that is away is no
        reason to wait with the start.
        """
        symbols = self._settings.service(self._service.name).symbols
        wanted = [(symbol, data_type) for symbol in symbols for data_type in types]
        holding: list[asyncio.Task[None]] = []

        async def begin() -> None:
            task = asyncio.get_running_loop().create_task(
                _hold(collector, wanted), name=f"{self._service.name} symbols"
            )
            holding.append(task)

        async def end() -> None:
            holding.pop().cancel()

        lifecycle.add(f"{self._service.name} symbols", start=begin, stop=end)

    def show_in(self, front: Front) -> None:
        """Let health and readiness say how it is."""
        front.add_probe(self._probe)
        front.health.add_ready_check("upstream", self._not_there)
        UpstreamCollector(lambda: self._counts(front.face.stats())).register(front.metrics)

    def report(self) -> dict[str, Any]:
        """Describe it, for `/status`."""
        now = self.link.status()
        return {
            "service": self.name, "address": self.address, "connected": now.connected, "trouble": now.trouble,
            "lag_seconds": now.lag_s,
        }  # fmt: skip

    def lag_s(self) -> float | None:
        """Return how late the newest record came in."""
        return self.link.status().lag_s or None

    def _counts(self, grpc: Mapping[str, int]) -> UpstreamCounts:
        now = self.link.status()
        return UpstreamCounts(self.name or self.address, now.connected, now.lag_s, self.link.counters(), grpc)

    def _probe(self, health: Health) -> None:
        trouble = self._not_there()
        health.set("upstream", Status.DEGRADED if trouble else Status.HEALTHY, trouble or "", critical=False)

    def _not_there(self) -> str | None:
        now = self.link.status()
        if now.connected and not now.trouble:
            return None
        start = f"; start it with `{self.name}`" if self.name in SERVICES and not now.connected else ""
        return f"{now.trouble or f'{self.address} does not answer; trying again'}{start}"


def _upstream(service: Service, settings: Settings, made: Mapping[str, object]) -> tuple[str, str]:
    """Return the name of whom a service hears, empty when it is none of the table, and its address."""
    said = settings.service(service.name).upstream
    if said:
        scheme, _, rest = said.partition("://")
        number = rest.rpartition(":")[2]
        if scheme != "grpc" or not number.isdigit():
            raise ConfigurationError(f"--upstream {said}: expected grpc://host:port")
        others = (one for one in SERVICES.values() if one is not service and one.role is not Role.SERVER)
        return next((one.name for one in others if port(one, settings) == int(number)), ""), said
    heard = upstream_of(service, settings)
    assert heard is not None, "whoever hears has an upstream in the table"
    if heard.name in made:
        return heard.name, f"local:{heard.name}"
    host, number = reachable(settings.server.host), str(port(heard, settings))
    return heard.name, f"grpc://{host}:{number}"


def _venue(service: Service, settings: Settings, heard: str) -> str:
    """Return the venue whose data a service wants: as it is told, else that of the source at the end of its line."""
    said = settings.service(service.name).venue
    if said:
        load(VENUES, said, "venue")
        return said
    at = SERVICES.get(heard) or upstream_of(service, settings)
    for _ in SERVICES:
        if at is None or at.role is Role.SOURCE:
            break
        said = settings.service(at.name).venue
        if said:
            return said
        at = SERVICES.get(_upstream(at, settings, {})[0]) or upstream_of(at, settings)
    if at is None or at.role is not Role.SOURCE:
        raise ConfigurationError(f"services.{service.name}: no source at the end of its line; set venue or upstream")
    return at.name


def _link(service: Service, settings: Settings, address: str, made: Mapping[str, object]) -> Link:
    scheme, _, rest = address.partition(":")
    factory = load(LINKS, scheme, "link")
    link: Link
    if scheme == "local":
        heard = cast("Hearable", made[rest])
        link = factory(rest, heard.hub, heard.collector, holder=service.name)
    else:
        symbols, depth = len(settings.service(service.name).symbols), settings.feeds.order_book_depth
        state_dir = settings.feeds.state_dir
        # What a journal has not committed, and bars have not kept, is not counted on after a crash.
        settled_s = _SETTLED_S + settings.journal.commit_interval_ms / 1000
        link = factory(
            rest,
            name=service.name,
            token=settings.server.token.get_secret_value() or None,
            credentials=credentials(settings),
            ring_bytes=settings.data_processing.ring_bytes or min(_RING_BYTES, ring_bytes(0, symbols, depth)),
            positions=Positions(Path(state_dir, "heard.json"), settled_s=settled_s) if state_dir else None,
        )
    return link


async def _hold(collector: Collector, wanted: list[tuple[str, DataType]]) -> None:
    """Collect what is configured; return when all of it is, or will never be."""
    backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
    while True:
        wanted = [one for one in wanted if not await _is_held(collector, *one)]
        if not wanted:
            return
        await asyncio.sleep(backoff.next())


async def _is_held(collector: Collector, symbol: str, data_type: DataType) -> bool:
    """Collect a symbol; False when that is to be tried again."""
    try:
        await collector.acquire(CONFIGURED, collector.venues()[0], symbol, data_type)
    except (RavenError, Unobtainable) as error:
        passes = error.retryable if isinstance(error, RavenError) else error.status is Refusal.UNAVAILABLE
        following = "tries again" if passes else "goes without it"
        log.warning("not collected", symbol=symbol, reason=error.message, next=following)
        return not passes
    except Exception as error:
        # A task's edge: one symbol must not keep the others, and nobody else would hear of it.
        record_error(error, f"collecting {symbol}")
    return True

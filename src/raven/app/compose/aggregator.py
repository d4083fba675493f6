"""An aggregator: makes bars of the trades that it hears, of what somebody wants bars of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from raven._core import Hub
from raven.app.compose.front import Front, Report
from raven.app.compose.hearing import Hearing
from raven.app.compose.past import trades_since
from raven.app.from_settings import bar_spec_of
from raven.app.lifecycle import Lifecycle
from raven.app.services import SERVICES, Service, port, reachable
from raven.app.trust import credentials
from raven.config import Settings
from raven.fanout import dialect
from raven.roles import aggregator
from raven.topics import DataType

__all__ = ["Aggregator"]


class Aggregator:
    """link → bars → hub → gRPC."""

    def __init__(self, service: Service, settings: Settings, made: Mapping[str, object]) -> None:
        spec = bar_spec_of(service, settings)
        self._types = [DataType(spec.data_type)]
        state_dir = settings.feeds.state_dir
        own = settings.service(service.name)
        self.hearing = Hearing(service, settings, made)
        self.hub = Hub()
        self.collector = aggregator.Aggregator(
            self.hearing.link,
            self.hub,
            spec,
            venue=self.hearing.venue,
            state_dir=Path(state_dir) if state_dir else None,
            past=self._past(service, settings),
            warm_up_s=own.warm_up_seconds,
            linger_s=settings.feeds.linger_seconds,
            symbols=own.symbols,
        )
        self._name = service.name
        self.front = Front(
            service,
            settings,
            self.hub,
            self.collector,
            spoken=dialect.aggregator(self._types[0]),
            report=Report(
                upstream=self.hearing.report,
                lag_s=self.hearing.lag_s,
                events=self._events,
                more={"bars": spec.label},
            ),
        )
        self.hearing.show_in(self.front)

    def add_to(self, lifecycle: Lifecycle) -> None:
        """Let it start and stop with the program."""
        self.front.open_monitoring(lifecycle)
        lifecycle.add(f"{self._name} bars", start=lambda: self._start(lifecycle), stop=self.collector.stop)
        self.hearing.add_to(lifecycle)
        self.hearing.collect(lifecycle, self.collector, self._types)
        self.front.open_grpc(lifecycle)
        lifecycle.add(f"{self._name} last bars", drain=self._finish)

    async def _start(self, lifecycle: Lifecycle) -> None:
        await self.collector.start()
        lifecycle.watch(asyncio.get_running_loop().create_task(self.collector.watch(), name=f"{self._name} bars"))

    async def _finish(self) -> None:
        """Make bars of all that the link says to have heard, while there is somebody to hand them to."""
        await self.hearing.link.stop()
        await self.collector.stop()

    def _past(self, service: Service, settings: Settings) -> aggregator.TradesSince | None:
        """Return whom to ask for trades that were missed."""
        own = settings.service(service.name)
        address = own.history or self.hearing.address
        if address.startswith("local:"):
            # Its journal, if it has one, answers at its port as it does for everybody.
            number = port(SERVICES[self.hearing.name], settings)
            address = f"grpc://{reachable(settings.server.host)}:{number}" if number else ""
        if not own.warm_up_seconds or not address:
            return None
        token = settings.server.token.get_secret_value() or None
        return trades_since(address.removeprefix("grpc://"), token=token, tls=credentials(settings) or False)

    def _events(self) -> int:
        return sum(self.hub.head(row[0]) for row in self.hub.topics())

"""The process around one service or several: logs, metrics, signals, exit code."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol, cast

from raven import __version__
from raven.app.compose.server import Server
from raven.app.from_settings import venue_plans
from raven.app.lifecycle import Lifecycle, run_program
from raven.app.options import RunOptions
from raven.app.services import Role, Service
from raven.app.stand_in import StandIn, demo, replay
from raven.config import Settings
from raven.observe import configure_logs, configure_metrics

__all__ = ["run", "run_services"]

# A thread that renders a table or answers a scrape must not keep a frame waiting for the usual 5 ms.
_GIL_SWITCH_S = 0.0005

# Imported only when they run: a source does without Arrow and databases.
ROLES: Mapping[Role, str] = {
    Role.SOURCE: "raven.app.compose.source:Source",
    Role.AGGREGATOR: "raven.app.compose.aggregator:Aggregator",
    Role.PERSISTENCE: "raven.app.compose.persistence:Persistence",
}
"""What makes a service of a role: it takes the service, its settings and the services of this process before it."""


class Composed(Protocol):
    """A service, put together and not started."""

    def add_to(self, lifecycle: Lifecycle) -> None:
        """Let it start and stop with the program."""


def run(settings: Settings, options: RunOptions) -> int:
    """Run the whole server until it is told to stop; return the exit code."""
    live = options.live_view and sys.stdout.isatty()
    _prepare(settings, ["raven"])
    if live:
        # The table says all of it; warnings still scroll by above it.
        logging.getLogger().setLevel(logging.WARNING)
        configure_logs("warn" if settings.monitoring.log_level == "info" else settings.monitoring.log_level, "text")
    return run_program(lambda: _serve(settings, options))


def run_services(services: Sequence[tuple[Service, Settings]]) -> int:
    """Run services in this process, each with its own ports, until it is told to stop; return the exit code.

    Whom one hears stands before it.
    Raises: ConfigurationError for settings that make no sense.
    """
    _prepare(services[0][1], [service.name for service, _ in services])

    async def serve() -> int:
        lifecycle = Lifecycle()
        made: dict[str, Composed] = {}
        for service, settings in services:
            module, _, name = ROLES[service.role].partition(":")
            made[service.name] = cast("Composed", getattr(import_module(module), name)(service, settings, made))
        for one in made.values():
            one.add_to(lifecycle)
        return await lifecycle.run()

    return run_program(serve)


def _prepare(settings: Settings, names: Sequence[str]) -> None:
    configure_logs(settings.monitoring.log_level, settings.monitoring.log_format)
    for name in names:
        configure_metrics(name, __version__, settings.monitoring.max_label_values)
    sys.setswitchinterval(_GIL_SWITCH_S)


async def _serve(settings: Settings, options: RunOptions) -> int:
    stand_in = await asyncio.to_thread(_stand_in, settings, options)
    try:
        return await Server(settings, options, stand_in).run()
    finally:
        if stand_in is not None:
            await stand_in.stop()


def _stand_in(settings: Settings, options: RunOptions) -> StandIn | None:
    if options.replay:
        return replay(options.replay, options.speed)
    return demo(venue_plans(settings)) if options.demo else None

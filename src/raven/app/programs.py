"""The programs that are one service each, and `raven run` for several of them in one process.

Every option is a setting by a shorter name. Exit codes: 0 stopped by a signal, 1 failed, 2 wrong options or settings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, cast

import typer

from raven import registry
from raven.app import flags
from raven.app.commands import HELP_NAMES, Command, run_app
from raven.app.flags import COLLECT, parts
from raven.app.lifecycle import exit_soon
from raven.app.services import SERVICES, Role, Service, alone, find, in_order, port_path
from raven.config import load
from raven.errors import ConfigurationError

__all__ = [
    "bar_persistence",
    "binance_futures",
    "binance_spot",
    "raven_tibs",
    "raven_timebar",
    "run_several",
    "tick_persistence",
]

BARS = "Bars"

Upstream = Annotated[
    str | None,
    typer.Option(
        "--upstream", rich_help_panel=COLLECT, metavar="URL", help="Whom to hear: grpc://host:port of another service."
    ),
]
Venue = Annotated[
    str | None,
    typer.Option("--venue", rich_help_panel=COLLECT, metavar="NAME", help="The venue whose data is wanted."),
]
# Every program takes the same options; a source says what they are for it.
NoUpstream = Annotated[
    str | None,
    typer.Option("--upstream", rich_help_panel=COLLECT, metavar="URL", help="None: a source hears its venue."),
]
NoVenue = Annotated[
    str | None, typer.Option("--venue", rich_help_panel=COLLECT, metavar="NAME", help="None but its own.")
]
Seconds = Annotated[
    int | None, typer.Option("--seconds", rich_help_panel=BARS, metavar="N", min=1, help="Length of a bar. [60]")
]


def _setting(flag: str, kind: str, text: str) -> Any:
    return typer.Option(flag, rich_help_panel=BARS, metavar=kind, help=text)


InitialSize = Annotated[float | None, _setting("--initial-size", "TRADES", "Expected trades of the first bar. [1000]")]
InitialPBuy = Annotated[float | None, _setting("--initial-p-buy", "SHARE", "Expected share of buyers, at first. [0.7]")]
AlphaSize = Annotated[float | None, _setting("--alpha-size", "WEIGHT", "Of the newest bar in expected trades. [0.1]")]
AlphaImbl = Annotated[float | None, _setting("--alpha-imbl", "WEIGHT", "Of the newest bar in expected buyers. [0.1]")]
SizeMin = Annotated[str | None, _setting("--size-min", "TRADES|%", "Least expected trades, or percent of the first.")]
SizeMax = Annotated[str | None, _setting("--size-max", "TRADES|%", "Most expected trades, or percent of the first.")]
Rule = Annotated[
    Literal["bounded", "literal"] | None,
    typer.Option("--rule", rich_help_panel=BARS, help="`literal` is the published one, which may collapse. [bounded]"),
]


# --- the programs, one function per set of options ------------------------------------------------------------------


def _source(service: Service) -> Callable[..., None]:
    def source(
        symbols: flags.Symbols = None,
        venue: NoVenue = None,
        upstream: NoUpstream = None,
        config: flags.Config = None,
        host: flags.Host = None,
        port: flags.Port = None,
        monitoring_port: flags.MonitoringPort = None,
        log_level: flags.LogLevel = None,
        _version: flags.Version = False,
    ) -> None:
        if upstream is not None:
            raise typer.BadParameter(f"{service.name} hears its venue; set venues.{service.name}.ws_url instead")
        if venue not in (None, service.name):
            registry.load(registry.VENUES, str(venue), "venue")
            raise typer.BadParameter(f"{service.name} collects from {service.name}; for {venue} start {venue}")
        start([service], config, host, port, monitoring_port, log_level, {}, symbols=symbols)

    return source


def _timebar(service: Service) -> Callable[..., None]:
    def timebar(
        seconds: Seconds = None,
        symbols: flags.Symbols = None,
        venue: Venue = None,
        upstream: Upstream = None,
        config: flags.Config = None,
        host: flags.Host = None,
        port: flags.Port = None,
        monitoring_port: flags.MonitoringPort = None,
        log_level: flags.LogLevel = None,
        _version: flags.Version = False,
    ) -> None:
        more = {"timebar.seconds": seconds}
        start([service], config, host, port, monitoring_port, log_level, more, upstream, venue, symbols)

    return timebar


def _tibs(service: Service) -> Callable[..., None]:
    def tibs(
        initial_size: InitialSize = None,
        initial_p_buy: InitialPBuy = None,
        alpha_size: AlphaSize = None,
        alpha_imbl: AlphaImbl = None,
        size_min: SizeMin = None,
        size_max: SizeMax = None,
        rule: Rule = None,
        symbols: flags.Symbols = None,
        venue: Venue = None,
        upstream: Upstream = None,
        config: flags.Config = None,
        host: flags.Host = None,
        port: flags.Port = None,
        monitoring_port: flags.MonitoringPort = None,
        log_level: flags.LogLevel = None,
        _version: flags.Version = False,
    ) -> None:
        more = {
            "tibs.initial_size": initial_size,
            "tibs.initial_p_buy": initial_p_buy,
            "tibs.alpha_size": alpha_size,
            "tibs.alpha_imbl": alpha_imbl,
            "tibs.size_min": size_min,
            "tibs.size_max": size_max,
            "tibs.rule": rule,
        }
        start([service], config, host, port, monitoring_port, log_level, more, upstream, venue, symbols)

    return tibs


def _persistence(service: Service) -> Callable[..., None]:
    def persistence(
        types: Annotated[
            list[str] | None,
            typer.Option("--types", rich_help_panel=COLLECT, metavar="A,B", help="Data types to write."),
        ] = None,
        symbols: flags.Symbols = None,
        venue: Venue = None,
        upstream: Upstream = None,
        config: flags.Config = None,
        host: flags.Host = None,
        port: flags.Port = None,
        monitoring_port: flags.MonitoringPort = None,
        log_level: flags.LogLevel = None,
        _version: flags.Version = False,
    ) -> None:
        more = {f"services.{service.name}.types": parts(types)}
        start([service], config, host, port, monitoring_port, log_level, more, upstream, venue, symbols)

    return persistence


def _several(
    roles: Annotated[list[str], typer.Argument(metavar="ROLE…", help="Services, with or without `raven_`.")],
    symbols: flags.Symbols = None,
    venue: Venue = None,
    upstream: Upstream = None,
    seconds: Seconds = None,
    config: flags.Config = None,
    host: flags.Host = None,
    port: flags.Port = None,
    monitoring_port: flags.MonitoringPort = None,
    log_level: flags.LogLevel = None,
    _version: flags.Version = False,
) -> None:
    """Run services in one process: each has its own ports, and they hear one another without a network."""
    services = in_order(find(name) for name in roles)
    for option, value in (("--port", port), ("--monitoring-port", monitoring_port)):
        if value and len(services) > 1:
            raise typer.BadParameter(f"{option} names one port and there are {len(services)} services; see [server]")
    if any(service.role is Role.SERVER for service in services):
        raise typer.BadParameter("raven is all of them already; start it with `raven`")
    sources = [service.name for service in services if service.role is Role.SOURCE]
    if venue is None and upstream is None and len(sources) == 1:
        venue = sources[0]
    start(
        services, config, host, port, monitoring_port, log_level, {"timebar.seconds": seconds}, upstream, venue, symbols
    )


# --- from options to a run ------------------------------------------------------------------------------------------


def start(
    services: Sequence[Service],
    config: Path | None,
    host: str | None,
    port: int | None,
    monitoring_port: int | None,
    log_level: str | None,
    more: Mapping[str, Any],
    upstream: str | None = None,
    venue: str | None = None,
    symbols: list[str] | None = None,
) -> NoReturn:
    """Run services as configuration and options say, and end with their exit code; an upstream, a venue and symbols
    are those of each.

    Raises: ConfigurationError.
    """
    names = [service.name for service in services]
    overrides: dict[str, Any] = {"server.host": host, "monitoring.log_level": log_level, **more}
    for service in services:
        section = f"services.{service.name}"
        overrides |= {port_path(service): port, f"{section}.symbols": parts(symbols)}
        if service.upstream is not None:
            # Who hears another service of this process has no other upstream.
            elsewhere = None if service.upstream in names else upstream
            overrides |= {f"{section}.upstream": elsewhere, f"{section}.venue": venue}
    loaded = load(config, overrides)
    made = [(service, alone(loaded, service, monitoring_port)) for service in services]
    _check_ports([(service.name, settings.server.port) for service, settings in made])
    compose = cast("Any", import_module("raven.app.compose"))
    code = int(compose.run_services(made))
    exit_soon(code)
    raise typer.Exit(code)


def _check_ports(ports: Sequence[tuple[str, int]]) -> None:
    taken: dict[int, str] = {}
    for name, number in ports:
        other = taken.setdefault(number, name) if number else name
        if other != name:
            raise ConfigurationError(f"{other} and {name} both have the gRPC port {number}; see [server]")


@dataclass(frozen=True, slots=True)
class _Program:
    options: Callable[[Service], Callable[..., None]]
    example: str


PROGRAMS: Mapping[str, _Program] = {
    "binance_spot": _Program(_source, "binance_spot --symbols BTCUSDT,ETHUSDT"),
    "binance_futures": _Program(_source, "binance_futures --host 0.0.0.0 --log-level warn"),
    "raven_timebar": _Program(_timebar, "raven_timebar --seconds 300 --venue binance_futures"),
    "raven_tibs": _Program(_tibs, "raven_tibs --initial-size 1000.0 --alpha-size 0.1 --upstream grpc://10.0.0.5:50001"),
    "tick_persistence": _Program(_persistence, "INFLUX_URL=http://localhost:8086 tick_persistence --symbols BTCUSDT"),
    "bar_persistence": _Program(_persistence, "bar_persistence --upstream grpc://localhost:50052"),
}
"""What each service takes and how it is called."""
THEN = "Then: ravenctl start --symbol BTCUSDT --service {}, ravenctl status, ravenctl --help."


def _typer(name: str) -> typer.Typer:
    return typer.Typer(
        name=name, rich_markup_mode="rich", pretty_exceptions_enable=False, context_settings=HELP_NAMES
    )  # fmt: skip


def _program(name: str) -> NoReturn:
    service, program = SERVICES[name], PROGRAMS[name]
    hears = f" Hears {service.upstream} when nothing else is said." if service.upstream else ""
    app = _typer(name)
    app.command(
        cls=Command,
        help=f"{service.what[0].upper()}{service.what[1:]}.{hears}",
        epilog=f"Examples:\n\n  {name}\n\n  {program.example}\n\n{THEN.format(name.removeprefix('raven_'))}",
    )(program.options(service))
    run_app(app)
    sys.exit(0)


def run_several(arguments: Sequence[str]) -> NoReturn:
    """`raven run ROLE…`."""
    app = _typer("raven run")
    app.command(
        cls=Command,
        epilog="Examples:\n\n  raven run binance_spot raven_timebar raven_tibs\n\n  raven run timebar --seconds 5",
    )(_several)
    sys.argv = ["raven run", *arguments]
    run_app(app)
    sys.exit(0)


binance_spot = partial(_program, "binance_spot")
binance_futures = partial(_program, "binance_futures")
raven_timebar = partial(_program, "raven_timebar")
raven_tibs = partial(_program, "raven_tibs")
tick_persistence = partial(_program, "tick_persistence")
bar_persistence = partial(_program, "bar_persistence")

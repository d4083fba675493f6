"""`ravenctl start`, `stop`, `stop-all`, `list`, `plan`: collections, by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console

from raven.app.commands import EXIT_FAILED, Command
from raven.app.flags import parts
from raven.ctl.chain import steps
from raven.ctl.options import AsJson, Config, Host, Port, ServiceName
from raven.ctl.reach import Reach, Target, reach
from raven.ctl.terminal import figures, print_json, print_whole, told_errors
from raven.errors import DataValidation, NetworkTimeout, RavenError
from raven.topics import DataType, StreamKind

__all__ = ["PANEL", "app"]

PANEL = "Services"

app = typer.Typer()
command = partial(app.command, cls=Command, rich_help_panel=PANEL)


class Kind(StrEnum):
    """What can be asked for, in the words of the wire."""

    ALL = "all"
    ORDERBOOK = "orderbook"
    TRADE = "trade"
    CANDLE = "candle"
    FUNDING = "funding"
    LIQUIDATION = "liquidation"

    @property
    def number(self) -> int:
        """Its `StreamKind`."""
        return 0 if self is Kind.ALL else StreamKind[self.name].value


Symbols = Annotated[list[str], typer.Option("--symbol", metavar="SYMBOL", help="Like BTCUSDT; several are allowed.")]
Venue = Annotated[str, typer.Option(metavar="NAME", help="Where a service has several; else its first.")]
OfKind = Annotated[Kind, typer.Option("--kind", help="What of it; `all` is what the service usually collects.")]


@command(
    epilog="A service asks the one it hears by itself: starting bars starts the trades.\n\nExamples:\n\n"
    "  ravenctl start --symbol BTCUSDT --service binance_spot\n\n"
    "  ravenctl start --symbol BTCUSDT --symbol ETHUSDT --service timebar\n\n"
    "  ravenctl start --symbol BTCUSDT --service binance_futures --kind funding --host 10.0.0.5",
)
def start(
    symbol: Symbols,
    service: ServiceName = None,
    venue: Venue = "",
    kind: OfKind = Kind.ALL,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Start collecting a symbol at a service, until it is stopped."""
    services = reach(config, host, port)
    target = services.target(service)

    async def each() -> list[str]:
        said = [await services.start(target, one, venue, kind.number) for one in parts(symbol) or ()]
        (state,) = await services.look([target])
        heard = state.status.get("upstream") or {}
        if heard.get("trouble"):
            said.append(f"it waits for its upstream: {heard['trouble']}")
        return said

    with told_errors():
        _tell(target, asyncio.run(each()), as_json)


@command(
    epilog="It goes on as long as somebody else wants it; clients lose nothing.\n\nExamples:\n\n"
    "  ravenctl stop --symbol BTCUSDT\n\n  ravenctl stop --symbol BTCUSDT --service timebar",
)
def stop(
    symbol: Symbols,
    service: ServiceName = None,
    venue: Venue = "",
    kind: OfKind = Kind.ALL,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Stop collecting a symbol, at one service or wherever it was started."""
    services = reach(config, host, port)

    async def each(target: Target) -> list[str]:
        return [await services.stop(target, one, venue, kind.number) for one in parts(symbol) or ()]

    with told_errors():
        if service is not None or port is not None:
            target = services.target(service)
            _tell(target, asyncio.run(each(target)), as_json)
            return
        _tell_all(asyncio.run(_everywhere(services, each)), as_json)


@command("stop-all", epilog="Examples:\n\n  ravenctl stop-all\n\n  ravenctl stop-all --service binance_spot")
def stop_all(
    service: ServiceName = None,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Stop everything that was started by hand, at one service or at all."""
    services = reach(config, host, port)

    async def each(target: Target) -> list[str]:
        return [await services.stop_all(target)]

    with told_errors():
        if service is not None or port is not None:
            target = services.target(service)
            _tell(target, asyncio.run(each(target)), as_json)
            return
        _tell_all(asyncio.run(_everywhere(services, each)), as_json)


@command(
    "list",
    epilog="Status: live, or why not: connecting, waiting, resyncing, stale, silent, refused; lingering when nobody "
    "wants it any more.\n\nExamples:\n\n  ravenctl list\n\n  ravenctl list --service timebar --json",
)
def list_collections(
    service: ServiceName = None,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what is collected, and how it is."""
    services = reach(config, host, port)
    with told_errors():
        rows = asyncio.run(_listed(services, service, only_one=service is not None or port is not None))
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("nothing is collected; start something: ravenctl start --symbol BTCUSDT --service binance_spot")
        return
    table = figures()
    for name in ("service", "venue", "symbol", "types", "status", "subscribers"):
        table.add_column(name, no_wrap=True, justify="right" if name == "subscribers" else "left")
    for row in rows:
        status = row["status"] if row["status"] == "live" else f"[yellow]{row['status']}[/]"
        kinds = " ".join(kind.lower() for kind in row["types"])
        table.add_row(row["service"], row["venue"], row["symbol"], kinds, status, str(row["subscribers"]))
    print_whole(Console(), table)


@command(
    epilog="Exit code: 0 it would work, 1 a service does not run.\n\nExamples:\n\n"
    "  ravenctl plan --symbol BTCUSDT --service timebar",
)
def plan(
    symbol: Symbols,
    service: ServiceName = None,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say what `start` would do, and do nothing."""
    services = reach(config, host, port)
    name = services.target(service).name
    with told_errors():
        planned = [step for one in parts(symbol) or () for step in asyncio.run(steps(services, name, one.upper()))]
    if as_json:
        print_json(planned)
    else:
        console = Console(highlight=False)
        for number, step in enumerate(planned, 1):
            mark = "[green]up[/]" if step.is_up else "[red]down[/]"
            console.print(f"{number}. [bold]{step.service}[/] ({step.address}, {mark}) {step.does}", soft_wrap=True)
            for note in step.notes:
                console.print(f"   {note}", soft_wrap=True)
    if not all(step.is_up for step in planned):
        raise typer.Exit(EXIT_FAILED)


async def _listed(services: Reach, name: str | None, *, only_one: bool) -> list[dict[str, Any]]:
    states = await services.look(services.targets(name))
    targets = services.targets(name) if only_one else [state.target for state in states if state.is_up]
    if not targets:
        raise NetworkTimeout(_nobody(services))
    rows: list[dict[str, Any]] = []
    for target in targets:
        for one in await services.collections(target):
            types = [DataType(number).name for number in one.data_types]
            rows.append(
                {"service": target.name, "venue": one.venue, "symbol": one.symbol, "types": types,
                 "status": one.status, "subscribers": one.subscriber_count}
            )  # fmt: skip
    return rows


async def _everywhere(services: Reach, each: Callable[[Target], Awaitable[list[str]]]) -> dict[str, list[str]]:
    """Do it at every service that runs, those who hear others first; one that was not asked before is passed over.

    Raises: NetworkTimeout when none runs, DataValidation when it was started nowhere, what a service raised else.
    """
    up = [state.target for state in await services.look(services.targets()) if state.is_up]
    if not up:
        raise NetworkTimeout(_nobody(services))
    said: dict[str, list[str]] = {}
    refusals: list[str] = []
    failures: list[RavenError] = []
    for target in reversed(up):
        try:
            said[target.name] = await each(target)
        except DataValidation as error:
            refusals.append(error.message)
        except RavenError as error:
            # The others are to be stopped all the same.
            failures.append(error)
    if failures:
        raise failures[0]
    if not said:
        raise DataValidation(_shortest(refusals))
    return said


def _shortest(refusals: list[str]) -> str:
    """Say what services refused for, once where several say the same; each begins with its name."""
    by_reason: dict[str, list[str]] = {}
    for refusal in refusals:
        name, _, reason = refusal.partition(": ")
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())


def _nobody(services: Reach) -> str:
    return f"no service runs on {services.host}: start one, for instance with `binance_spot`; see ravenctl status"


def _tell(target: Target, said: list[str], as_json: bool) -> None:
    _tell_all({target.name: said}, as_json)


def _tell_all(said: dict[str, list[str]], as_json: bool) -> None:
    if as_json:
        print_json([{"service": name, "message": message} for name, lines in said.items() for message in lines])
        return
    for name, lines in said.items():
        for message in lines:
            typer.echo(f"{name}: {message}")

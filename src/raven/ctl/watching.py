"""`ravenctl status`, `clients`, `graph`, `top`: what the services are doing."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console

from raven.app.commands import EXIT_FAILED, Command
from raven.ctl import graph as drawing
from raven.ctl.chain import hears, without_the_unmissed
from raven.ctl.options import AsJson, Config, Host, Port, ServiceName
from raven.ctl.page import health, seconds
from raven.ctl.reach import Reach, State, reach
from raven.ctl.terminal import figures, print_json, print_whole
from raven.ctl.top import show_top

__all__ = ["PANEL", "app"]

PANEL = "Services"

app = typer.Typer()
command = partial(app.command, cls=Command, rich_help_panel=PANEL)


@command(
    epilog="Exit code: 0 every service that runs is well, 1 one is not or none runs; with --service or --port, 1 also "
    "when that one does not run.\n\nExamples:\n\n  ravenctl status\n\n  ravenctl status --service timebar --json",
)
def status(
    service: ServiceName = None,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show every service: where it is, how it is, what it collects, and how to start one that does not run."""
    services = reach(config, host, port)
    states = _look(services, service)
    if as_json:
        print_json([_plain(state, services) for state in states])
    else:
        _show(states if service or port else without_the_unmissed(states), services)
    asked_for_one = service is not None or port is not None
    up = [state for state in states if state.is_up]
    if not up or not all(state.is_well for state in up) or (asked_for_one and len(up) < len(states)):
        raise typer.Exit(EXIT_FAILED)


@command(epilog="Examples:\n\n  ravenctl clients\n\n  ravenctl clients --service binance_spot --json")
def clients(
    service: ServiceName = None,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show who is subscribed, how far behind each is, and what it has lost."""
    rows = [
        {"service": state.name, "client": client["client_id"], "topics": client["standing"], **stream}
        for state in _look(reach(config, host, port), service)
        for client in state.status.get("clients", ())
        for stream in client["streams"] or [{"peer": "", "sent": 0, "lost": 0, "lag": 0}]
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("nobody is subscribed")
        return
    table = figures("lag and lost in events")
    for name in ("service", "client", "host", "topics", "sent", "lag", "lost"):
        table.add_column(name, no_wrap=name != "topics", justify="right" if name in ("sent", "lag", "lost") else "left")
    for row in rows:
        lost = f"[red]{row['lost']:,}[/]" if row["lost"] else "0"
        topics = _shortened(row["topics"])
        host = row["peer"].rpartition(":")[0]
        table.add_row(row["service"], row["client"], host, topics, f"{row['sent']:,}", f"{row['lag']:,}", lost)
    print_whole(Console(), table)


@command(epilog="Examples:\n\n  ravenctl graph\n\n  ravenctl graph --dot | dot -Tsvg > services.svg")
def graph(
    dot: Annotated[bool, typer.Option("--dot", help="Print it in the language of Graphviz.")] = False,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show who feeds whom, from the exchanges to the databases and clients."""
    services = reach(config, host, port)
    made = drawing.graph(without_the_unmissed(_look(services, None)), services.settings)
    if as_json:
        print_json(made)
    elif dot:
        typer.echo(drawing.dot(made))
    else:
        Console(highlight=False).print(drawing.tree(made))


@command(epilog="Ctrl-C ends it. Without a terminal it is shown once.\n\nExamples:\n\n  ravenctl top --interval 2")
def top(
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Between two looks.")] = 1.0,
    service: ServiceName = None,
    host: Host = None,
    port: Port = None,
    config: Config = None,
) -> None:
    """Watch the services: rates, lag, clients and losses, live."""
    services = reach(config, host, port)
    try:
        asyncio.run(show_top(services, services.targets(service), interval))
    except KeyboardInterrupt:
        return


def _look(services: Reach, name: str | None) -> list[State]:
    return asyncio.run(services.look(services.targets(name)))


def _plain(state: State, services: Reach) -> dict[str, Any]:
    said = state.status
    service = state.target.service
    return {
        "service": state.name,
        "role": said.get("role") or (service.role.value if service else ""),
        "address": state.target.address,
        "http": state.http,
        "status": said.get("status", "down"),
        "ready": state.is_up and not said.get("ready"),
        "version": said.get("version", ""),
        "uptime_seconds": said.get("uptime_seconds"),
        "symbols": len({(row["venue"], row["symbol"]) for row in said.get("collections", ())}),
        "clients": len(said.get("clients", ())),
        "lag_seconds": said.get("lag_seconds"),
        "upstream": hears(state, services.settings),
        "troubles": state.troubles,
    }


def _show(states: list[State], services: Reach) -> None:
    rows = [_plain(state, services) for state in states]
    table = figures()
    for name in ("service", "role", "address", "health", "symbols", "clients", "lag", "hears"):
        right = name in ("symbols", "clients", "lag")
        table.add_column(name, no_wrap=True, justify="right" if right else "left")
    # One version is no news.
    differ = len({row["version"] for row in rows if row["version"]}) > 1
    if differ:
        table.add_column("version", no_wrap=True)
    for state, row in zip(states, rows, strict=True):
        up = state.is_up
        table.add_row(
            row["service"], row["role"], row["address"], health(state), str(row["symbols"]) if up else "",
            str(row["clients"]) if up else "", seconds(row["lag_seconds"]), row["upstream"],
            *([row["version"]] if differ else ()),
        )  # fmt: skip
    console = Console()
    print_whole(console, table)
    for state in states:
        for trouble in state.troubles:
            style = "yellow" if state.is_up else "dim"
            told = f"{state.name}: {trouble}" if state.is_up else trouble
            console.print(told, style=style, highlight=False, soft_wrap=True)


def _shortened(topics: list[str]) -> str:
    """Name the first and say how many others there are; without the venue, unless there are several."""
    venues = {topic.partition(".")[0] for topic in topics}
    told = [topic.partition(".")[2] for topic in topics] if len(venues) == 1 else topics
    return told[0] + (f" +{len(told) - 1}" if len(told) > 1 else "") if told else ""

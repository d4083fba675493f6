"""Options that several programs have, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raven import __version__
from raven.config.fields import LOG_LEVELS

__all__ = [
    "COLLECT",
    "SERVE",
    "SETTINGS",
    "SHOW",
    "Config",
    "Host",
    "LogLevel",
    "MonitoringPort",
    "Port",
    "Symbols",
    "Version",
    "parts",
]

# Panels of --help.
COLLECT = "What to collect"
SERVE = "Where to serve"
SETTINGS = "Settings"
SHOW = "What to show"


def _show_version(context: typer.Context, asked: bool) -> None:
    if asked:
        typer.echo(f"{context.info_name} {__version__}")
        raise typer.Exit


Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbols", rich_help_panel=COLLECT, metavar="A,B", help="Symbols to collect; may be repeated."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", rich_help_panel=SETTINGS, metavar="FILE", help="TOML or YAML file over the built-in settings."
    ),
]
Host = Annotated[
    str | None, typer.Option("--host", rich_help_panel=SERVE, metavar="HOST", help="Address to listen on.")
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", rich_help_panel=SERVE, metavar="PORT", min=0, max=65535, help="gRPC port; 0 takes a free one."
    ),
]
MonitoringPort = Annotated[
    int | None,
    typer.Option(
        "--monitoring-port",
        rich_help_panel=SERVE,
        metavar="PORT",
        min=0,
        max=65535,
        help="One HTTP port for health and metrics.",
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option("--log-level", rich_help_panel=SHOW, metavar="|".join(LOG_LEVELS), help="The least that is logged."),
]
Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
]


def parts(values: list[str] | None) -> list[str] | None:
    """Return the words of an option that may be repeated and may have several words, separated by commas or blanks."""
    return [part for value in values for part in value.replace(",", " ").split()] if values else None

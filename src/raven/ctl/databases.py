"""`ravenctl init-db`: the tables in PostgreSQL or TimescaleDB, made or brought to the version of this Raven."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from raven.app.commands import Command
from raven.config import load
from raven.config.secrets import mask_url
from raven.ctl.options import Config
from raven.ctl.terminal import told_errors
from raven.errors import ConfigurationError, MissingDependency
from raven.registry import SINKS
from raven.registry import load as plugin

if TYPE_CHECKING:
    from raven.sinks.postgres import Step

__all__ = ["PANEL", "app"]

PANEL = "Databases"

app = typer.Typer()
command = partial(app.command, cls=Command, rich_help_panel=PANEL)


@command(
    "init-db",
    epilog="Safe at any time and as often as you like. Raven does the same when it connects, if its user may.\n\n"
    "Examples:\n\n  ravenctl init-db --url postgresql://postgres@localhost/market --owner raven\n\n"
    "  ravenctl init-db --dry-run > changes.sql",
)
def init_db(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="postgresql://…; without it timescale.url.")] = "",
    owner: Annotated[
        str,
        typer.Option("--owner", metavar="USER", help="Whom all of it is to belong to: the user of Raven."),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL that is missing, and run nothing.")] = False,
    config: Config = None,
) -> None:
    """Make the tables for PostgreSQL or TimescaleDB, or bring them up to date; say what was done."""
    address = url or load(config).settings.timescale.url
    if not address:
        raise ConfigurationError("timescale.url is empty: name a database there, or with --url postgresql://…")
    with told_errors():
        steps = _init(address, owner, dry_run=dry_run)
    if dry_run:
        typer.echo("\n".join(f"-- {step.what}\n{step.sql}" for step in steps) or "-- nothing is missing")
        return
    shown = mask_url(address)
    typer.echo("\n".join(f"{shown}: made {step.what}" for step in steps) or f"{shown}: nothing was missing")


def _init(url: str, owner: str, *, dry_run: bool) -> list[Step]:
    try:
        sink = plugin(SINKS, "timescale", "database")(url)
    except ModuleNotFoundError as error:
        raise MissingDependency(f"init-db needs {error.name}: pip install 'raven[timescale]'") from None
    steps: list[Step] = asyncio.run(sink.init(owner=owner, dry_run=dry_run))
    return steps

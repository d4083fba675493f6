"""The program `ravenctl`: a table of commands, one file per topic.

Exit codes: 0 done, 1 failed (or what was asked is not so), 2 wrong options or configuration.
"""

from __future__ import annotations

from typing import Annotated

import typer

from raven import __version__
from raven.app.commands import HELP_NAMES, Group, run_app
from raven.ctl import backups, controlling, databases, dlq, journals, options, recordings, symbols, watching
from raven.observe import configure_logs

__all__ = ["app", "main"]

TOPICS = (watching, controlling, symbols, journals, backups, databases, dlq, recordings)
"""Files with commands, in the order of the help."""

app = typer.Typer(
    name="ravenctl",
    cls=Group,
    help="Look after running services, journals and recordings.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)
for topic in TOPICS:
    app.add_typer(topic.app, rich_help_panel=topic.PANEL)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ravenctl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    host: options.Host = None,
    port: options.Port = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Look after running services, journals and recordings."""


def main() -> None:
    """Run the program. What it prints is the answer; what went wrong on the way is logged beside it."""
    configure_logs("warn", "text")
    run_app(app)

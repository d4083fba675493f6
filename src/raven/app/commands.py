"""What all command lines have in common: how their help shows flags, `-h`, and how errors end them."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from raven.errors import ConfigurationError, RavenError

__all__ = ["EXIT_FAILED", "EXIT_USAGE", "HELP_NAMES", "Command", "Group", "run_app"]

EXIT_FAILED = 1
EXIT_USAGE = 2

HELP_NAMES = {"help_option_names": ["--help", "-h"]}
"""Context settings of every program and command."""


def _without_types(params: list[Any]) -> list[Any]:
    for param in params:
        # A flag takes no value; some versions of typer show `<bool>` behind it as if it did.
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A command whose help shows flags without a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return options and arguments, flags without the name of a type."""
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    """The same for a program with commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return options and arguments, flags without the name of a type."""
        return _without_types(super().get_params(ctx))


def run_app(app: typer.Typer) -> None:
    """Run a command line. Exit codes: 0 done, 1 failed, 2 wrong options or configuration."""
    try:
        app(prog_name=app.info.name)
    except ConfigurationError as error:
        typer.secho(f"configuration error: {error.message}", fg="red", err=True)
        sys.exit(EXIT_USAGE)
    except RavenError as error:
        typer.secho(f"error: {error.message}", fg="red", err=True)
        sys.exit(EXIT_FAILED)

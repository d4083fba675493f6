"""What both command lines have in common: how their help shows flags, and `-h`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["HELP_NAMES", "Command", "Group"]

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

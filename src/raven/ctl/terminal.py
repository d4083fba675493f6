"""What the commands have in common: tables whose figures are never cut, JSON, how far long work is, and errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from raven.app.commands import EXIT_FAILED
from raven.errors import RavenError

__all__ = ["figures", "print_json", "print_whole", "printable", "progress_in", "told_errors"]

_ANY_WIDTH = 10_000


def figures(caption: str | None = None) -> Table:
    """Return an empty table in the style of all commands."""
    return Table(header_style="bold", box=SIMPLE_HEAD, caption=caption, padding=(0, 1), collapse_padding=True)


def print_whole(console: Console, table: Table) -> None:
    """Print a table. On a narrow terminal its lines wrap: a figure with its end cut off would be another figure."""
    needed = Measurement.get(console, console.options.update(width=_ANY_WIDTH), table).maximum
    console.width = max(console.width, needed)
    console.print(table)


def printable(text: str) -> str:
    """Escape what would move the cursor of a terminal, or do worse: venues and databases say what they like."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def progress_in(unit: str) -> Progress:
    """Return a progress display on stderr that counts in `unit` and leaves nothing behind."""
    counted = TextColumn("{task.completed:,} " + unit)
    columns = TextColumn("{task.description}"), BarColumn(), counted, TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


def print_json(content: Any) -> None:
    """Print one JSON document."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
    sys.stdout.flush()


@contextmanager
def told_errors() -> Iterator[None]:
    """End the program with code 1 and one line when something foreseen goes wrong."""
    try:
        yield
    except (RavenError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(EXIT_FAILED) from None

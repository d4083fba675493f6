"""`ravenctl symbols`: what venues trade, under which symbols, in which steps."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from raven.app.commands import Command
from raven.ctl.options import AsJson, Config
from raven.ctl.terminal import figures, print_json, print_whole, told_errors

if TYPE_CHECKING:
    from raven.app.symbols import Listed

__all__ = ["PANEL", "app"]

PANEL = "Venues"

app = typer.Typer()
command = partial(app.command, cls=Command, rich_help_panel=PANEL)


@command(
    epilog="Asks the venues themselves, at the addresses of the configuration.\n\nExamples:\n\n"
    "  ravenctl symbols BTC/USDT\n\n  ravenctl symbols '*/USDT' --venue binance_futures --json",
)
def symbols(
    pattern: Annotated[
        str, typer.Argument(metavar="[PATTERN]", help="A symbol, a name, or a pattern: BTCUSDT, BTC/USDT, 'BTC*'.")
    ] = "*",
    venue: Annotated[
        str, typer.Option(metavar="VENUE", help="Only this venue; without it those of feeds.venues.")
    ] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what can be collected: symbols, names, tick and lot sizes, least order value."""
    from raven.app.symbols import symbols as ask  # noqa: PLC0415 - network libraries are slow to import

    with told_errors():
        found = ask(pattern, venue=venue, config=config)
    if as_json:
        print_json([_document(one) for one in found])
    else:
        _show(found, pattern)


def _document(listed: Listed) -> dict[str, Any]:
    venue, one = listed
    return {
        "venue": venue, "symbol": one.symbol, "name": one.name, "base": one.base, "quote": one.quote,
        "factor": one.factor, "expiry": one.expiry or None, "trading": one.is_trading,
        "tick_size": _text(one.tick_size), "step_size": _text(one.step_size), "min_notional": _text(one.min_notional),
    }  # fmt: skip


def _text(figure: Decimal | None) -> str | None:
    return None if figure is None else f"{figure:f}"


def _show(found: Sequence[Listed], pattern: str) -> None:
    if not found:
        typer.echo(f"nothing that trades matches {pattern!r}")
        return
    table = figures("unit: how many coins one is, and what prices are of · tick, min order: in the quote currency")
    for name in ("venue", "symbol", "name"):
        table.add_column(name, no_wrap=True)
    for name in ("unit", "tick", "lot", "min order"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("status", no_wrap=True)
    for venue, one in found:
        steps = (_text(one.tick_size), _text(one.step_size), _text(one.min_notional))
        status = "trading" if one.is_trading else "[yellow]not trading[/]"
        table.add_row(venue, one.symbol, one.name, f"{one.factor:,}", *(step or "-" for step in steps), status)
    print_whole(Console(), table)
    typer.echo(f"{len(found):,} symbols" if len(found) > 1 else "1 symbol")

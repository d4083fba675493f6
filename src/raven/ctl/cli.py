"""The program `ravenctl`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from raven.ctl.replay import Replay, replay_files
from raven.errors import RavenError

__all__ = ["app", "main"]

app = typer.Typer(
    name="ravenctl",
    help="Look at recordings and at running Raven services.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.callback()
def _root() -> None:
    """Look at recordings and at running Raven services."""


@app.command(
    epilog="Examples:\n\n  ravenctl replay btcusdt.gz\n\n  ravenctl replay day1.gz day2.gz --report > report.json"
)
def replay(
    files: Annotated[list[Path], typer.Argument(help="Recordings; several files are one, in the order given.")],
    report: Annotated[bool, typer.Option("--report", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Run recordings through the engine and show what they hold and whether the books are right."""
    try:
        if report:
            result = replay_files(files)
            sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(result.report(files)), indent=1) + b"\n")
            return
        result = _with_progress(files)
    except RavenError as error:
        Console(stderr=True).print(f"[red]error:[/] {error.message}", highlight=False)
        raise typer.Exit(1) from None
    _show(result, files)


def _with_progress(files: list[Path]) -> Replay:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} lines"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying", total=None)
        return replay_files(files, lambda lines: progress.update(task, completed=lines))


def _show(result: Replay, files: list[Path]) -> None:
    console = Console()
    document = result.report(files)
    console.print(
        f"[bold]{document['lines']:,}[/] messages over [bold]{float(document['span_s']):.1f} s[/], "
        f"{document['market']}, {len(document['symbols'])} symbol(s), {len(document['rejected'])} refused"
    )
    caption = "gaps: update ids / trade ids · tickers: tops equal to the venue's own"
    table = Table(header_style="bold", box=SIMPLE_HEAD, caption=caption)
    table.add_column("symbol", no_wrap=True)
    for name in ("applied", "gaps", "trades", "tickers", "bid", "ask", "book hash"):
        table.add_column(name, justify="right", no_wrap=True)
    for symbol, row in document["symbols"].items():
        table.add_row(symbol, *_cells(row))
    console.print(table)
    for file, line, reason, offset in document["rejected"][:10]:
        console.print(f"refused: {files[file]}:{line}: {reason} at byte {offset}", style="yellow", highlight=False)
    if len(document["rejected"]) > 10:
        console.print(f"… and {len(document['rejected']) - 10:,} more; see --report", style="yellow")


def _cells(row: dict[str, Any]) -> list[str]:
    book, trades = row["book"], row["trades"]
    gaps = len(row["diff_gaps"]), len(trades.get("id_gaps", []))
    gaps_text = "0 / 0" if not any(gaps) else f"[red]{gaps[0]} / {gaps[1]}[/]"
    if book is None:
        return ["no snapshot", gaps_text, f"{trades['count']:,}", "-", "-", "-", "-"]
    check, final = book["book_ticker_check"], book["final"]
    wrong = check["mismatch_inside"] + check["mismatch_beyond"]
    agree = check["match_inside"] + check["match_beyond"]
    tickers = f"[red]{wrong:,} differ[/]" if wrong else f"{agree:,} agree"
    top = [final[side][0][0] if final[side] else "-" for side in ("top_bids", "top_asks")]
    return [f"{book['applied']:,}", gaps_text, f"{trades['count']:,}", tickers, *top, final["sha256"][:8]]


def main() -> None:
    """Run the program."""
    app()

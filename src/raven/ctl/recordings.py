"""`ravenctl` on recordings: are the books right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from raven.app.commands import Command
from raven.ctl.replay import Replay, replay_files
from raven.ctl.terminal import figures, print_json, print_whole, progress_in, told_errors

__all__ = ["PANEL", "app"]


PANEL = "Recordings"

app = typer.Typer()
command = partial(app.command, cls=Command, rich_help_panel=PANEL)


@command(
    epilog="Examples:\n\n  ravenctl replay btcusdt.gz\n\n  ravenctl replay day1.gz day2.gz --report > report.json",
)
def replay(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Recordings, or folders of them; several are one.")
    ],
    report: Annotated[bool, typer.Option("--report", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Run recordings through the engine and show what they hold and whether the books are right."""
    with told_errors():
        if report:
            result = replay_files(files)
            print_json(result.report())
            return
        result = _with_progress(files)
    _show(result)


def _with_progress(files: list[Path]) -> Replay:
    with progress_in("lines") as progress:
        task = progress.add_task("replaying", total=None)
        return replay_files(files, lambda lines: progress.update(task, completed=lines))


def _show(result: Replay) -> None:
    console = Console()
    document = result.report()
    console.print(
        f"[bold]{document['lines']:,}[/] messages over [bold]{float(document['span_s']):.1f} s[/], "
        f"{document['market']}, {_counted(len(document['symbols']), 'symbol')}, {len(document['rejected'])} refused"
    )
    caption = "gaps: update ids / trade ids · tickers: tops equal to the venue's own"
    table = figures(caption)
    table.add_column("symbol", no_wrap=True)
    for name in ("applied", "gaps", "trades", "tickers", "bid", "ask", "book hash"):
        table.add_column(name, justify="right", no_wrap=True)
    for symbol, row in document["symbols"].items():
        table.add_row(symbol, *_cells(row))
    print_whole(console, table)
    for file, line, reason, offset in document["rejected"][:10]:
        refused = f"refused: {result.files[file]}:{line}: {reason} at byte {offset}"
        console.print(refused, style="yellow", highlight=False, soft_wrap=True)
    if len(document["rejected"]) > 10:
        console.print(f"… and {len(document['rejected']) - 10:,} more; see --report", style="yellow")
    for damage in document["damage"]:
        console.print(f"damaged: {damage}", style="yellow", highlight=False, soft_wrap=True)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


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

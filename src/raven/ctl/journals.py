"""`ravenctl` on a journal: what it holds, what is missing, and asking it. Arrow is slow to import, so each command
imports what it needs.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from raven.app.commands import Command
from raven.clock import SystemClock, parse_time
from raven.ctl.options import AsJson
from raven.ctl.terminal import print_json, progress_in, told_errors
from raven.instruments import spellings

__all__ = ["DEFAULT_JOURNAL", "PANEL", "Folder", "app"]


DEFAULT_JOURNAL = Path("data/journal")
_SHOWN_RECORDS = 20

Folder = Annotated[Path, typer.Option("--journal", metavar="FOLDER", help="See journal.dir.")]
FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="The journal; see journal.dir.")]

PANEL = "Journal"

app = typer.Typer()
command = partial(app.command, cls=Command, rich_help_panel=PANEL)


@command(
    epilog="Exit code: 0 all of it is there, 1 something is missing or damaged.\n\nExamples:\n\n  ravenctl verify\n\n"
    "  ravenctl verify /var/lib/raven/journal --json",
)
def verify(
    folder: FolderArgument = DEFAULT_JOURNAL,
    as_json: AsJson = False,
) -> None:
    """Read a whole journal: what it holds, what is damaged, and what is missing without a gap record."""
    from raven.ctl import verify as verification
    from raven.journal import verify_journal

    with told_errors():
        verdict = verify_journal(folder) if as_json else verification.verify_with_progress(folder)
    if as_json:
        print_json(verification.report(verdict))
    else:
        verification.show(verdict, folder)
    if not verdict.is_sound:
        raise typer.Exit(1)


@command(
    epilog="The newest segment stays. Safe while `raven` runs.\n\nExamples:\n\n  ravenctl compact\n\n"
    "  ravenctl compact /var/lib/raven/journal",
)
def compact(
    folder: FolderArgument = DEFAULT_JOURNAL,
) -> None:
    """Turn a journal's closed segments into Parquet, by day, venue, type and symbol; of a day that is over one file."""
    from raven.ctl import compaction

    with told_errors():
        done = compaction.compact_with_progress(folder)
    compaction.show(*done, folder)


@command(
    epilog="Examples:\n\n  ravenctl history BTCUSDT --from -1h\n\n"
    "  ravenctl history BTCUSDT,ETHUSDT --type quotes --from 2026-11-20 --to 2026-11-21 --out quotes.parquet",
)
def history(
    symbols: Annotated[str, typer.Argument(metavar="SYMBOL,…", help="Symbols (BTCUSDT) or names (BTC/USDT).")],
    data_type: Annotated[str, typer.Option("--type", metavar="TYPE", help="trades, quotes, orderbook, …")] = "trades",
    venue: Annotated[str, typer.Option(metavar="VENUE", help="Only this venue, e.g. binance_futures.")] = "",
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="2026-11-20T12:30:00Z, or -1h.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The same; what happened before then.")] = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first N into a file, the last N shown.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write .parquet, .csv or .arrow instead.")] = None,
    folder: Folder = DEFAULT_JOURNAL,
) -> None:
    """Show or write what a journal has of some symbols, oldest first."""
    from raven.ctl import history as past

    with told_errors():
        tables = past.read(folder, symbols, data_type, venue, start, end)
        count = past.write(tables, out, limit) if out else past.show(tables, limit or _SHOWN_RECORDS)
    shown = limit or _SHOWN_RECORDS
    newest = f"the newest {shown:,} of " if not out and count > shown else ""
    typer.echo(f"{newest}{count:,} records" + (f" in {out}" if out and count else ""))
    if not count:
        typer.echo(
            f"no {data_type} of {symbols}; `ravenctl verify {folder}` shows which symbols, types and times it has",
            err=True,
        )


@command(
    epilog="A time is one of the exchange's clock.\n\nExamples:\n\n"
    "  ravenctl book --symbol BTCUSDT --at 2026-11-21T10:00:00.123Z\n\n"
    "  ravenctl book --symbol BTCUSDT --at -5m --capture data/capture --depth 0 --json",
)
def book(
    symbol: Annotated[str, typer.Option("--symbol", metavar="SYMBOL", help="A symbol (BTCUSDT) or name (BTC/USDT).")],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="2026-11-20T12:30:00.5Z, or -1h.")],
    venue: Annotated[str, typer.Option(metavar="VENUE", help="Where several venues have the symbol.")] = "",
    capture: Annotated[
        Path | None,
        typer.Option("--capture", metavar="FOLDER", help="From a capture: every level, exact to the event."),
    ] = None,
    folder: Folder = DEFAULT_JOURNAL,
    depth: Annotated[int, typer.Option(metavar="N", min=0, help="Levels shown; 0: all.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show the order book as of a time, and how exact that is."""
    from raven.app.books import book_at
    from raven.ctl import book as page

    with told_errors():
        found = book_at(symbol, at, venue=venue, capture=capture, journal=None if capture else folder)
    if as_json:
        print_json(page.report(found, depth))
    else:
        page.show(found, depth)


@command(
    epilog="Examples:\n\n  ravenctl rebuild data/capture --journal rebuilt\n\n"
    "  ravenctl rebuild data/capture --journal books --books-interval-ms 1000",
)
def rebuild(
    captures: Annotated[list[Path], typer.Argument(metavar="CAPTURE", help="What `raven --record` wrote.")],
    folder: Annotated[Path, typer.Option("--journal", metavar="FOLDER", help="A new folder for the journal.")],
    books_interval_ms: Annotated[
        int, typer.Option(metavar="MS", min=0, help="Keep a state of each book so often; 0: every state.")
    ] = 0,
) -> None:
    """Make a journal from a capture: the records that the server published, once more."""
    from raven.app.rebuild import rebuild as make

    with told_errors(), progress_in("messages") as progress:
        task = progress.add_task("playing", total=None)
        records, damage = make(
            captures, folder, books_every_s=books_interval_ms / 1000,
            progress=lambda messages: progress.update(task, completed=messages),
        )  # fmt: skip
    for one in damage:
        typer.secho(f"damaged: {one}", fg="yellow", err=True)
    typer.echo(f"{records:,} records in {folder}")


@command(
    epilog="Views: trades, quotes, orderbook, candles_1m, candles_5m, candles_1h, funding_rates, liquidations, gaps."
    '\n\nExamples:\n\n  ravenctl sql "select symbol, count(*), sum(price * quantity) from trades group by symbol"\n\n'
    "  ravenctl sql \"select * from trades where symbol = 'BTCUSDT'\" --out trades.parquet",
)
def sql(
    question: Annotated[str, typer.Argument(metavar="SELECT…", help="One statement, in DuckDB's SQL.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write .parquet, .csv or .arrow instead.")] = None,
    folder: Folder = DEFAULT_JOURNAL,
) -> None:
    """Ask a journal in SQL: everything it has, Parquet and fresh segments alike, while the server runs."""
    from raven.ctl import history as past
    from raven.ctl import sql as asking

    with told_errors():
        answer = asking.ask(folder, question)
        count = past.write(answer.tables(), out, None) if out else asking.show(answer)
    typer.echo(f"{count:,} rows" + (f" in {out}" if out and count else ""))


@command(epilog="Examples:\n\n  ravenctl gaps\n\n  ravenctl gaps BTCUSDT,ETHUSDT --from -1d --json")
def gaps(
    symbols: Annotated[str, typer.Argument(metavar="[SYMBOL,…]", help="Only of these symbols.")] = "",
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="2026-11-20T12:30:00Z, or -1h.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The same; gaps seen before then.")] = "",
    as_json: AsJson = False,
    folder: Folder = DEFAULT_JOURNAL,
) -> None:
    """Show what is missing in a journal, of what, and why."""
    from raven.ctl import gaps as missing

    now_ns = SystemClock().time_ns()
    with told_errors():
        wanted = {symbol for text in symbols.split(",") if text.strip() for symbol in spellings(text.strip())}
        limits = [parse_time(moment, now_ns) if moment else None for moment in (start, end)]
        found = list(missing.gaps_in(folder, wanted, *limits))
    if as_json:
        print_json(found)
    else:
        missing.show(found)

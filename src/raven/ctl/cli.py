"""The program `ravenctl`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from raven import __version__
from raven.app.commands import HELP_NAMES, Command, Group
from raven.clock import SystemClock, parse_time
from raven.ctl import dlq
from raven.ctl.replay import Replay, replay_files
from raven.ctl.terminal import figures, print_whole, progress_in
from raven.errors import RavenError

__all__ = ["app", "main"]

DEFAULT_JOURNAL = Path("data/journal")
DEFAULT_BACKUPS = Path("backups")
DEFAULT_CONFIG = Path("config")
_SHOWN_RECORDS = 20

app = typer.Typer(
    name="ravenctl",
    cls=Group,
    help="Look at recordings and at running Raven services.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings=HELP_NAMES,
)


app.add_typer(dlq.app)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ravenctl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Look at recordings and at running Raven services."""


@app.command(
    cls=Command,
    epilog="Examples:\n\n  ravenctl replay btcusdt.gz\n\n  ravenctl replay day1.gz day2.gz --report > report.json",
)
def replay(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Recordings, or folders of them; several are one.")
    ],
    report: Annotated[bool, typer.Option("--report", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Run recordings through the engine and show what they hold and whether the books are right."""
    try:
        if report:
            result = replay_files(files)
            sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(result.report()), indent=1) + b"\n")
            return
        result = _with_progress(files)
    except RavenError as error:
        typer.secho(f"error: {error.message}", fg="red", err=True)
        raise typer.Exit(1) from None
    _show(result)


@app.command(
    cls=Command,
    epilog="Exit code: 0 all of it is there, 1 something is missing or damaged.\n\nExamples:\n\n  ravenctl verify\n\n"
    "  ravenctl verify /var/lib/raven/journal --json",
)
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The journal; see journal.dir.")] = DEFAULT_JOURNAL,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Read a whole journal: what it holds, what is damaged, and what is missing without a gap record."""
    from raven.ctl import verify as verification  # noqa: PLC0415 - Arrow is slow to import, replays do without
    from raven.journal import verify_journal  # noqa: PLC0415

    try:
        verdict = verify_journal(folder) if as_json else verification.verify_with_progress(folder)
    except RavenError as error:
        typer.secho(f"error: {error.message}", fg="red", err=True)
        raise typer.Exit(1) from None
    if as_json:
        document = msgspec.json.format(msgspec.json.encode(verification.report(verdict)), indent=1)
        sys.stdout.buffer.write(document + b"\n")
    else:
        verification.show(verdict, folder)
    if not verdict.is_sound:
        raise typer.Exit(1)


@app.command(
    cls=Command,
    epilog="The newest segment stays. Safe while `raven` runs.\n\nExamples:\n\n  ravenctl compact\n\n"
    "  ravenctl compact /var/lib/raven/journal",
)
def compact(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The journal; see journal.dir.")] = DEFAULT_JOURNAL,
) -> None:
    """Turn a journal's closed segments into Parquet, by day, venue, type and symbol."""
    from raven.ctl import compaction  # noqa: PLC0415 - as above

    try:
        done = compaction.compact_with_progress(folder)
    except (RavenError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    compaction.show(done, folder)


@app.command(
    cls=Command,
    epilog="Examples:\n\n  ravenctl history BTCUSDT --from -1h\n\n"
    "  ravenctl history BTCUSDT,ETHUSDT --type quotes --from 2026-11-20 --to 2026-11-21 --out quotes.parquet",
)
def history(
    symbols: Annotated[str, typer.Argument(metavar="SYMBOL,…", help="Symbols as the venue writes them.")],
    data_type: Annotated[str, typer.Option("--type", metavar="TYPE", help="trades, quotes, orderbook, …")] = "trades",
    venue: Annotated[str, typer.Option(metavar="VENUE", help="Only this venue, e.g. binance_futures.")] = "",
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="2026-11-20T12:30:00Z, or -1h.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The same; what happened before then.")] = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first N into a file, the last N shown.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write .parquet, .csv or .arrow instead.")] = None,
    folder: Annotated[Path, typer.Option("--journal", metavar="FOLDER", help="See journal.dir.")] = DEFAULT_JOURNAL,
) -> None:
    """Show or write what a journal has of some symbols, oldest first."""
    from raven.ctl import history as past  # noqa: PLC0415 - as above

    try:
        tables = past.read(folder, symbols, data_type, venue, start, end)
        count = past.write(tables, out, limit) if out else past.show(tables, limit or _SHOWN_RECORDS)
    except (RavenError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{count:,} records" + (f" in {out}" if out and count else ""))


@app.command(
    cls=Command,
    epilog="A time is one of the exchange's clock.\n\nExamples:\n\n"
    "  ravenctl book --symbol BTCUSDT --at 2026-11-21T10:00:00.123Z\n\n"
    "  ravenctl book --symbol BTCUSDT --at -5m --capture data/capture --depth 0 --json",
)
def book(
    symbol: Annotated[str, typer.Option("--symbol", metavar="SYMBOL", help="As the venue writes it.")],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="2026-11-20T12:30:00.5Z, or -1h.")],
    venue: Annotated[str, typer.Option(metavar="VENUE", help="Where several venues have the symbol.")] = "",
    capture: Annotated[
        Path | None,
        typer.Option("--capture", metavar="FOLDER", help="From a capture: every level, exact to the event."),
    ] = None,
    folder: Annotated[Path, typer.Option("--journal", metavar="FOLDER", help="See journal.dir.")] = DEFAULT_JOURNAL,
    depth: Annotated[int, typer.Option(metavar="N", min=0, help="Levels shown; 0: all.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Show the order book as of a time, and how exact that is."""
    from raven.app.books import book_at  # noqa: PLC0415 - as above
    from raven.ctl import book as page  # noqa: PLC0415

    try:
        found = book_at(symbol, at, venue=venue, capture=capture, journal=None if capture else folder)
    except (RavenError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    if as_json:
        document = msgspec.json.format(msgspec.json.encode(page.report(found, depth)), indent=1)
        sys.stdout.buffer.write(document + b"\n")
    else:
        page.show(found, depth)


@app.command(
    cls=Command,
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
    from raven.app.rebuild import rebuild as make  # noqa: PLC0415 - as above

    try:
        with progress_in("messages") as progress:
            task = progress.add_task("playing", total=None)
            records, damage = make(
                captures, folder, books_every_s=books_interval_ms / 1000,
                progress=lambda messages: progress.update(task, completed=messages),
            )  # fmt: skip
    except (RavenError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    for one in damage:
        typer.secho(f"damaged: {one}", fg="yellow", err=True)
    typer.echo(f"{records:,} records in {folder}")


@app.command(
    cls=Command,
    epilog="Views: trades, quotes, orderbook, candles_1m, candles_5m, candles_1h, funding_rates, liquidations, gaps."
    '\n\nExamples:\n\n  ravenctl sql "select symbol, count(*), sum(price * quantity) from trades group by symbol"\n\n'
    "  ravenctl sql \"select * from trades where symbol = 'BTCUSDT'\" --out trades.parquet",
)
def sql(
    question: Annotated[str, typer.Argument(metavar="SELECT…", help="One statement, in DuckDB's SQL.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write .parquet, .csv or .arrow instead.")] = None,
    folder: Annotated[Path, typer.Option("--journal", metavar="FOLDER", help="See journal.dir.")] = DEFAULT_JOURNAL,
) -> None:
    """Ask a journal in SQL: everything it has, Parquet and fresh segments alike, while the server runs."""
    from raven.ctl import history as past  # noqa: PLC0415 - as above
    from raven.ctl import sql as asking  # noqa: PLC0415

    try:
        answer = asking.ask(folder, question)
        count = past.write(answer.tables(), out, None) if out else asking.show(answer)
    except (RavenError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{count:,} rows" + (f" in {out}" if out and count else ""))


@app.command(cls=Command, epilog="Examples:\n\n  ravenctl gaps\n\n  ravenctl gaps BTCUSDT,ETHUSDT --from -1d --json")
def gaps(
    symbols: Annotated[str, typer.Argument(metavar="[SYMBOL,…]", help="Only of these symbols.")] = "",
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="2026-11-20T12:30:00Z, or -1h.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The same; gaps seen before then.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
    folder: Annotated[Path, typer.Option("--journal", metavar="FOLDER", help="See journal.dir.")] = DEFAULT_JOURNAL,
) -> None:
    """Show what is missing in a journal, of what, and why."""
    from raven.ctl import gaps as missing  # noqa: PLC0415 - as above

    now_ns = SystemClock().time_ns()
    try:
        wanted = {symbol.strip().upper() for symbol in symbols.split(",") if symbol.strip()}
        limits = [parse_time(moment, now_ns) if moment else None for moment in (start, end)]
        found = list(missing.gaps_in(folder, wanted, *limits))
    except (RavenError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    else:
        missing.show(found)


@app.command(
    cls=Command,
    epilog="Safe while the server runs. On the same disk files are linked, on another they are copied.\n\nExamples:\n\n"
    "  ravenctl backup\n\n  ravenctl backup before-upgrade --to /mnt/backups",
)
def backup(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The time of day if left out.")] = "",
    into: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Folder of all backups.")] = DEFAULT_BACKUPS,
    folder: Annotated[Path, typer.Option("--journal", metavar="FOLDER", help="See journal.dir.")] = DEFAULT_JOURNAL,
    letters: Annotated[Path, typer.Option(metavar="FILE", help="See sinks.dead_letters.")] = dlq.DEFAULT,
    config: Annotated[Path, typer.Option(metavar="FOLDER", help="Its .toml and .yaml files.")] = DEFAULT_CONFIG,
) -> None:
    """Back up the journal, the dead letters and the configuration, and read the copy back."""
    from raven.ctl import backup as work  # noqa: PLC0415 - as above

    chosen = name or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    files = [path for pattern in ("*.toml", "*.yaml", "*.yml") for path in sorted(config.glob(pattern))]
    try:
        with progress_in("files") as progress:
            task = progress.add_task("backing up", total=None)
            done = work.back_up(
                chosen, into, journal=folder, letters=letters, configuration=files,
                progress=lambda what, at, of: progress.update(task, description=what, completed=at, total=of),
            )  # fmt: skip
    except (RavenError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    mib, copied = done.size / 2**20, done.copied / 2**20
    typer.echo(f"{done.folder}: {done.files} files, {mib:,.1f} MiB ({copied:,.1f} MiB copied), read back and whole")
    typer.echo(f"restore it with: ravenctl restore {chosen}" + ("" if into == DEFAULT_BACKUPS else f" --from {into}"))


@app.command(
    cls=Command,
    epilog="The server must not run. What is there already is moved aside with --force, never removed.\n\nExamples:\n\n"
    "  ravenctl restore 20261121T120000Z\n\n  ravenctl restore before-upgrade --from /mnt/backups --force",
)
def restore(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `ravenctl backup` called it.")],
    backups: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="Folder of all backups.")] = DEFAULT_BACKUPS,
    folder: Annotated[Path, typer.Option("--journal", metavar="FOLDER", help="See journal.dir.")] = DEFAULT_JOURNAL,
    letters: Annotated[Path, typer.Option(metavar="FILE", help="See sinks.dead_letters.")] = dlq.DEFAULT,
    config: Annotated[Path, typer.Option(metavar="FOLDER", help="Where configuration goes.")] = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Move aside what is there.")] = False,
) -> None:
    """Check a backup and put it where the server looks for it."""
    from raven.ctl import backup as work  # noqa: PLC0415 - as above

    try:
        with progress_in("files") as progress:
            task = progress.add_task("restoring", total=None)
            done = work.restore(
                backups / name, journal=folder, letters=letters, configuration=config, force=force,
                progress=lambda what, at, of: progress.update(task, description=what, completed=at, total=of),
            )  # fmt: skip
    except (RavenError, OSError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{folder}: {done.files} files, {done.size / 2**20:,.1f} MiB restored and whole")


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


def main() -> None:
    """Run the program."""
    app()

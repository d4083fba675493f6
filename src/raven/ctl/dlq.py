"""`ravenctl dlq`: records that a database refused, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from raven.app.commands import HELP_NAMES, Command, Group
from raven.ctl import quarantine
from raven.ctl.options import AsJson
from raven.ctl.terminal import figures, print_json, print_whole, printable, told_errors
from raven.errors import DataValidation
from raven.resilience.dead_letters import DeadLetterQueue, Letter, LetterState

__all__ = ["PANEL", "app"]

PANEL = "Journal"

app = typer.Typer(
    name="dlq",
    cls=Group,
    help="What was refused: records by a database (look at them, try them again, drop them), frames by validation.",
    no_args_is_help=True,
    context_settings=HELP_NAMES,
)

File = Annotated[Path, typer.Option("--file", metavar="FILE", help="The dead letters; see sinks.dead_letters.")]
Numbers = Annotated[list[int] | None, typer.Argument(metavar="NUMBER…", help="Letters, as `list` numbers them.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Source = Annotated[str, typer.Option(metavar="NAME", help="Only of this database, e.g. influx.")]
Symbol = Annotated[str, typer.Option(metavar="SYMBOL", help="Only of this symbol.")]
Every = Annotated[bool, typer.Option("--all", help="Every letter that the other options choose.")]
Quarantined = Annotated[bool, typer.Option("--quarantine", help="Frames that validation refused, instead.")]
StateDir = Annotated[Path, typer.Option("--state-dir", metavar="FOLDER", help="Of these; see feeds.state_dir.")]
DEFAULT = Path("data/dead_letters.sqlite")
DEFAULT_STATE = Path("data/state")


@app.command(
    "list",
    cls=Command,
    epilog="Examples:\n\n  ravenctl dlq list\n\n  ravenctl dlq list --source influx --state parked --json\n\n"
    "  ravenctl dlq list --quarantine --symbol BTCUSDT",
)
def list_letters(
    source: Source = "",
    symbol: Symbol = "",
    state: Annotated[LetterState | None, typer.Option(help="Only in this state.")] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10**9, help="The oldest N; of frames the newest.")
    ] = 100,
    quarantined: Quarantined = False,
    as_json: AsJson = False,
    file: File = DEFAULT,
    state_dir: StateDir = DEFAULT_STATE,
) -> None:
    """Show what was refused, oldest first."""
    if quarantined:
        with told_errors():
            frames = quarantine.frames_in(state_dir, symbol)
        if as_json:
            print_json([quarantine.plain(frame) for frame in frames[-limit:]])
        else:
            quarantine.show(frames, limit)
        return
    with _queue(file) as queue:
        letters = queue.letters(source, state=state, symbol=symbol, limit=limit)
        total = sum(queue.counts().values())
    if as_json:
        print_json([_plain(letter) for letter in letters])
        return
    if not letters:
        Console().print("[green]no dead letters[/]")
        return
    table = figures(f"{len(letters)} of {total}; `ravenctl dlq show NUMBER` has the whole record")
    for name in ("number", "source", "record", "state", "tries", "last touched", "reason"):
        table.add_column(name, no_wrap=name != "reason", justify="right" if name in ("number", "tries") else "left")
    for letter in letters:
        table.add_row(
            str(letter.number), letter.source, Text(printable(letter.key)), letter.state, str(letter.attempts),
            _time(letter.last_ns), Text(printable(letter.reason)),
        )  # fmt: skip
    print_whole(Console(), table)


@app.command(cls=Command, epilog="Examples:\n\n  ravenctl dlq show 17\n\n  ravenctl dlq show 3 --quarantine --json")
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The letter, as `list` numbers it.")],
    quarantined: Quarantined = False,
    as_json: AsJson = False,
    file: File = DEFAULT,
    state_dir: StateDir = DEFAULT_STATE,
) -> None:
    """Show one letter with everything that stands in it."""
    if quarantined:
        with told_errors():
            frame = next((one for one in quarantine.frames_in(state_dir) if one.number == number), None)
            if frame is None:
                raise DataValidation(
                    f"there is no frame {number}; `ravenctl dlq list --quarantine` shows which there are"
                )
        if as_json:
            print_json(quarantine.plain(frame))
        else:
            _print_fields(quarantine.plain(frame))
        return
    with _queue(file) as queue:
        letter = queue.letter(number)
        if letter is None:
            raise DataValidation(f"there is no dead letter {number}; `ravenctl dlq list` shows which there are")
    plain = _plain(letter) | {"record": _record(letter)}
    if as_json:
        print_json(plain)
        return
    _print_fields(plain)


@app.command(
    cls=Command,
    epilog="The running server tries them when nothing else waits; each try counts.\n\nExamples:\n\n"
    "  ravenctl dlq retry 17 18\n\n  ravenctl dlq retry --all --source influx --dry-run",
)
def retry(
    numbers: Numbers = None,
    every: Every = False,
    source: Source = "",
    symbol: Symbol = "",
    dry_run: DryRun = False,
    file: File = DEFAULT,
) -> None:
    """Let letters be tried again, also those that were given up."""
    with _queue(file) as queue:
        chosen = _chosen(queue, numbers, every, source, symbol)
        count = len(chosen) if dry_run else queue.ask_retry(chosen)
    typer.echo(f"{count} letter(s) {'would be' if dry_run else 'will be'} tried again")


@app.command(
    cls=Command, epilog="Examples:\n\n  ravenctl dlq drop 17\n\n  ravenctl dlq drop --all --symbol BTCUSDT --dry-run"
)
def drop(
    numbers: Numbers = None,
    every: Every = False,
    source: Source = "",
    symbol: Symbol = "",
    dry_run: DryRun = False,
    file: File = DEFAULT,
) -> None:
    """Throw letters away. The records stay in the journal."""
    with _queue(file) as queue:
        chosen = _chosen(queue, numbers, every, source, symbol)
        count = len(chosen) if dry_run else queue.drop(chosen)
    typer.echo(f"{count} letter(s) {'would be' if dry_run else 'were'} dropped")


def _print_fields(plain: dict[str, Any]) -> None:
    console = Console()
    for name, value in plain.items():
        if isinstance(value, dict):
            _print_fields(value)
        else:
            line = Text.assemble((f"{name:>16}", "bold"), f"  {printable(str(value))}")
            console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def _queue(file: Path) -> Iterator[DeadLetterQueue]:
    with told_errors():
        if not file.exists():
            raise DataValidation(
                f"{file}: no dead letters there; see sinks.dead_letters, or name the file with --file "
                "(for frames that validation refused: --quarantine)"
            )
        with closing(DeadLetterQueue(file)) as queue:
            yield queue


def _chosen(queue: DeadLetterQueue, numbers: list[int] | None, every: bool, source: str, symbol: str) -> list[int]:
    if bool(numbers) == every:
        raise DataValidation("name letters by number, or choose them with --all (and --source, --symbol)")
    if numbers:
        unknown = [number for number in numbers if queue.letter(number) is None]
        if unknown:
            raise DataValidation(f"there is no dead letter {unknown[0]}; `ravenctl dlq list` shows which there are")
        return numbers
    return [letter.number for letter in queue.letters(source, symbol=symbol, limit=10**9)]


def _plain(letter: Letter) -> dict[str, Any]:
    return {
        "number": letter.number, "source": letter.source, "key": letter.key, "symbol": letter.symbol,
        "state": letter.state.value, "attempts": letter.attempts, "reason": letter.reason, "format": letter.format,
        "first_time": _time(letter.first_ns), "last_time": _time(letter.last_ns),
    }  # fmt: skip


def _record(letter: Letter) -> Any:
    if letter.format == "arrow":
        from raven.journal.letters import batch_of_letter  # noqa: PLC0415 - Arrow is slow to import

        # One that cannot be read is shown as it is.
        with suppress(DataValidation):
            row = batch_of_letter(letter.payload).records.to_pylist()[0]
            return {name: str(value) for name, value in row.items()}
    return letter.payload.decode("utf-8", "backslashreplace")


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")

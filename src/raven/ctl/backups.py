"""`ravenctl backup` and `restore`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from raven.app.commands import Command
from raven.ctl import dlq
from raven.ctl.journals import DEFAULT_JOURNAL, Folder
from raven.ctl.terminal import progress_in, told_errors

__all__ = ["PANEL", "app"]


DEFAULT_BACKUPS = Path("backups")
DEFAULT_CONFIG = Path("config")

PANEL = "Journal"

app = typer.Typer()
command = partial(app.command, cls=Command, rich_help_panel=PANEL)


@command(
    epilog="Safe while the server runs. On the same disk files are linked, on another they are copied.\n\nExamples:\n\n"
    "  ravenctl backup\n\n  ravenctl backup before-upgrade --to /mnt/backups",
)
def backup(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The time of day if left out.")] = "",
    into: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Folder of all backups.")] = DEFAULT_BACKUPS,
    folder: Folder = DEFAULT_JOURNAL,
    letters: Annotated[Path, typer.Option(metavar="FILE", help="See sinks.dead_letters.")] = dlq.DEFAULT,
    config: Annotated[Path, typer.Option(metavar="FOLDER", help="Its .toml and .yaml files.")] = DEFAULT_CONFIG,
) -> None:
    """Back up the journal, the dead letters and the configuration, and read the copy back."""
    from raven.ctl import backup as work  # noqa: PLC0415 - Arrow is slow to import

    chosen = name or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    files = [path for pattern in ("*.toml", "*.yaml", "*.yml") for path in sorted(config.glob(pattern))]
    with told_errors(), progress_in("files") as progress:
        task = progress.add_task("backing up", total=None)
        done = work.back_up(
            chosen, into, journal=folder, letters=letters, configuration=files,
            progress=lambda what, at, of: progress.update(task, description=what, completed=at, total=of),
        )  # fmt: skip
    mib, copied = done.size / 2**20, done.copied / 2**20
    typer.echo(f"{done.folder}: {done.files} files, {mib:,.1f} MiB ({copied:,.1f} MiB copied), read back and whole")
    _tell_damage(done.damage)
    typer.echo(f"restore it with: ravenctl restore {chosen}" + ("" if into == DEFAULT_BACKUPS else f" --from {into}"))


@command(
    epilog="The server must not run. What is there already is moved aside with --force, never removed.\n\nExamples:\n\n"
    "  ravenctl restore 20261121T120000Z\n\n  ravenctl restore before-upgrade --from /mnt/backups --force",
)
def restore(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `ravenctl backup` called it.")],
    backups: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="Folder of all backups.")] = DEFAULT_BACKUPS,
    folder: Folder = DEFAULT_JOURNAL,
    letters: Annotated[Path, typer.Option(metavar="FILE", help="See sinks.dead_letters.")] = dlq.DEFAULT,
    config: Annotated[Path, typer.Option(metavar="FOLDER", help="Where configuration goes.")] = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Move aside what is there.")] = False,
) -> None:
    """Check a backup and put it where the server looks for it."""
    from raven.ctl import backup as work  # noqa: PLC0415 - Arrow is slow to import

    with told_errors(), progress_in("files") as progress:
        task = progress.add_task("restoring", total=None)
        done = work.restore(
            backups / name, journal=folder, letters=letters, configuration=config, force=force,
            progress=lambda what, at, of: progress.update(task, description=what, completed=at, total=of),
        )  # fmt: skip
    size = done.size / 2**20
    typer.echo(f"{folder}: {done.files} files, {size:,.1f} MiB, {done.records:,} records restored and whole")
    for path in done.kept:
        typer.secho(f"{path} is another one and stays; --force moves it aside", fg="yellow", err=True)
    _tell_damage(done.damage)


def _tell_damage(damage: Sequence[str]) -> None:
    """What was broken before is backed up as it is: the rest of it is worth having."""
    for one in damage:
        typer.secho(f"damaged already in the journal: {one}", fg="yellow", err=True)

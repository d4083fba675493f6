"""`ravenctl compact`: from segments to Parquet."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from raven.clock import SystemClock
from raven.ctl.terminal import progress_in
from raven.journal import Compacted, compact, parquet_folder
from raven.journal.merging import Merged, merge
from raven.journal.segment import no_journal

__all__ = ["compact_with_progress", "show"]


def compact_with_progress(folder: Path) -> tuple[Compacted, Merged]:
    """Compact a journal, merge small files, and show on stderr how far it is.

    Raises: DataValidation when there is none.
    """
    if not any(folder.glob("*.segment")):
        raise no_journal(folder)
    with progress_in("segments") as progress:
        task = progress.add_task("compacting", total=None)
        done = compact(folder, lambda done, of: progress.update(task, completed=done, total=of))
        return done, merge(folder, SystemClock().time_ns())


def show(done: Compacted, merged: Merged, folder: Path) -> None:
    """Print what was done for people."""
    console = Console()
    for one in done.damage:
        console.print(f"damaged: {one}", style="red", highlight=False, soft_wrap=True)
    if done.segments:
        each = done.bytes_after / done.rows if done.rows else 0.0
        console.print(
            f"{done.segments} segment(s), {done.bytes_before / 2**20:,.1f} MiB → {done.files} file(s), "
            f"{done.bytes_after / 2**20:,.1f} MiB: {done.rows:,} records of {each:.1f} bytes, "
            f"in {parquet_folder(folder)}",
            highlight=False,
            soft_wrap=True,
        )
    if merged.files:
        sizes = f"{merged.bytes_before / 2**20:,.1f} MiB → {merged.bytes_after / 2**20:,.1f} MiB"
        console.print(f"{merged.files} file(s) merged into {merged.into}, {sizes}", highlight=False)
    if not done.segments and not merged.files:
        console.print("nothing to do: the newest segment stays as it is", highlight=False)

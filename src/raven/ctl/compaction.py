"""`ravenctl compact`: from segments to Parquet."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from raven.ctl.terminal import progress_in
from raven.errors import DataValidation
from raven.journal import Compacted, compact, parquet_folder

__all__ = ["compact_with_progress", "show"]


def compact_with_progress(folder: Path) -> Compacted:
    """Compact a journal and show on stderr how far it is. Raises: DataValidation when there is none."""
    if not any(folder.glob("*.segment")):
        raise DataValidation(f"{folder}: no journal there; expected files named like 0000000001.segment")
    with progress_in("segments") as progress:
        task = progress.add_task("compacting", total=None)
        return compact(folder, lambda done, of: progress.update(task, completed=done, total=of))


def show(done: Compacted, folder: Path) -> None:
    """Print what was done for people."""
    console = Console()
    for one in done.damage:
        console.print(f"damaged: {one}", style="red", highlight=False, soft_wrap=True)
    if not done.segments:
        console.print("nothing to do: the newest segment stays as it is", highlight=False)
        return
    each = done.bytes_after / done.rows if done.rows else 0.0
    console.print(
        f"{done.segments} segment(s), {done.bytes_before / 2**20:,.1f} MiB → {done.files} file(s), "
        f"{done.bytes_after / 2**20:,.1f} MiB: {done.rows:,} records of {each:.1f} bytes, in {parquet_folder(folder)}",
        highlight=False,
        soft_wrap=True,
    )

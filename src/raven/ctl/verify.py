"""`ravenctl verify`: what a journal holds, and whether all of it is there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from raven.ctl.terminal import figures, print_whole, progress_in
from raven.journal import Verdict, verify_journal

__all__ = ["report", "show", "verify_with_progress"]


def verify_with_progress(folder: Path) -> Verdict:
    """Verify a journal and show on stderr how far it is."""
    with progress_in("records") as progress:
        task = progress.add_task("verifying", total=None)
        return verify_journal(folder, lambda records: progress.update(task, completed=records))


def report(verdict: Verdict) -> dict[str, Any]:
    """Return what was found as one JSON document."""
    return {
        "sound": verdict.is_sound,
        "segments": verdict.segments,
        "bytes": verdict.size,
        "parquet_files": verdict.parquet_files,
        "parquet_bytes": verdict.parquet_size,
        "absent_segments": verdict.absent,
        "problems": [{"file": str(one.path), "reason": one.reason} for one in verdict.problems],
        "damage": [
            {"file": str(one.path), "offset": one.offset, "bytes": one.size, "frames": one.frames, "tail": one.is_tail}
            for one in verdict.damage
        ],
        "topics": [
            {
                "run": one.run, "venue": one.venue, "symbol": one.symbol, "type": one.data_type.name.lower(),
                "records": one.records, "first_ns": one.first_ns, "last_ns": one.last_ns,
                "venue_gaps": one.venue_gaps, "not_kept": one.told, "removed": one.removed, "missing": one.missing,
            }
            for one in verdict.topics
        ],
    }  # fmt: skip


def show(verdict: Verdict, folder: Path) -> None:
    """Print what was found for people: runs of the server are summed."""
    console = Console()
    table = figures()
    for name in ("venue", "symbol", "type"):
        table.add_column(name, no_wrap=True)
    for name in ("records", "runs", "first", "last", "venue gaps", "not kept", "removed", "missing"):
        table.add_column(name, justify="right", no_wrap=True)
    names = dict.fromkeys(
        (one.venue, one.symbol, one.data_type) for one in verdict.topics if one.records or one.removed
    )
    for venue, symbol, data_type in sorted(names):
        rows = [one for one in verdict.topics if (one.venue, one.symbol, one.data_type) == (venue, symbol, data_type)]
        missing, told = sum(one.missing for one in rows), sum(one.told for one in rows)
        starts = [one.first_ns for one in rows if one.first_ns]
        table.add_row(
            venue, symbol, data_type.name.lower(), f"{sum(one.records for one in rows):,}", str(len(rows)),
            _time(min(starts, default=0)), _time(max(one.last_ns for one in rows)),
            f"{sum(one.venue_gaps for one in rows):,}", f"[yellow]{told:,}[/]" if told else "0",
            f"{sum(one.removed for one in rows):,}",
            f"[bold red]{missing:,}[/]" if missing else "0",
        )  # fmt: skip
    print_whole(console, table)
    for one in verdict.damage:
        note = " (a crash; cut at the next start)" if one.is_tail else ""
        console.print(f"{one}{note}", style="yellow" if one.is_tail else "red", highlight=False, soft_wrap=True)
    for problem in verdict.problems:
        console.print(str(problem), style="red", highlight=False, soft_wrap=True)
    if verdict.absent:
        numbers = ", ".join(f"{number:010d}" for number in verdict.absent[:10])
        note = f"{len(verdict.absent)} segment(s) are neither here nor in Parquet: {numbers}"
        console.print(f"{note}; lost, or compacted when empty", style="yellow", highlight=False, soft_wrap=True)
    size = f"{verdict.segments} segment(s), {verdict.size / 2**20:,.1f} MiB"
    if verdict.parquet_files:
        size += f" and {verdict.parquet_files} Parquet file(s), {verdict.parquet_size / 2**20:,.1f} MiB"
    size += f" in {folder}"
    answer = "[green]all of it is there[/]" if verdict.is_sound else "[bold red]something is missing or damaged[/]"
    console.print(f"{size}: {answer}", highlight=False, soft_wrap=True)


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S") if ns else "-"

"""`ravenctl gaps`: what is missing in a journal, of what, since when, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from raven.ctl.terminal import figures, print_whole
from raven.journal.cursors import Position
from raven.journal.following import Follower
from raven.journal.partitions import parquet_folder
from raven.journal.segment import no_journal, segments_in

__all__ = ["gaps_in", "show"]

_BATCH_ROWS = 100_000


def gaps_in(
    journal: Path, symbols: Collection[str] = (), start_ns: int | None = None, end_ns: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the gap marks of a journal, oldest first. Raises: DataValidation when there is no journal."""
    if not segments_in(journal) and not parquet_folder(journal).exists():
        raise no_journal(journal)
    follower = Follower(journal, Position(), ["gaps"])
    while (step := follower.read(_BATCH_ROWS)) is not None:
        for batch in step.batches:
            rows = batch.records
            if symbols:
                rows = rows.filter(pc.is_in(rows["symbol"].cast("string"), value_set=_texts(symbols)))
            for row in rows.to_pylist():
                moment = row["recv_time"].value
                if (start_ns is None or moment >= start_ns) and (end_ns is None or moment < end_ns):
                    yield {
                        "time": row["recv_time"].isoformat(timespec="milliseconds"), "venue": row["venue"],
                        "symbol": row["symbol"], "type": row["data_type"], "missing": row["count"] or None,
                        "first_id": row["first_id"] or None, "last_id": row["last_id"] or None,
                        "reason": row["reason"], "repaired": row["repaired"],
                    }  # fmt: skip


def show(gaps: list[dict[str, Any]]) -> None:
    """Print gaps for people; how many are missing is not always known."""
    if not gaps:
        Console().print("[green]no gaps[/]")
        return
    table = figures("missing -: nobody can know · repaired: fetched again later")
    for name in gaps[0]:
        table.add_column(name, no_wrap=True, justify="right" if name in ("missing", "first_id", "last_id") else "left")
    for gap in gaps:
        texts = ["-" if value is None else str(value) for value in gap.values()]
        texts[-1] = "[green]yes[/]" if gap["repaired"] else "no"
        table.add_row(*texts)
    print_whole(Console(), table)


def _texts(values: Collection[str]) -> pa.Array:
    return pa.array(sorted(values), pa.string())

"""From segments to Parquet: one file per segment, day, venue, type and symbol, that any other program can read.

    parquet/date=2026-11-21/venue=binance_futures/type=trades/symbol=BTCUSDT/0000000007.parquet
                                                                             _manifest.json

A segment is removed when every file made of it is on the disk and was read back; a crash before that does it again and
writes the same files. Gap records stand in a partition of their own (`type=gaps`). The day is that of the arrival.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raven.errors import DataValidation
from raven.journal.manifests import MOST_RANGES, manifest_to_change, write_manifest
from raven.journal.partitions import parquet_folder, partition_folder
from raven.journal.reading import Batch, read_segment
from raven.journal.schema import type_name
from raven.journal.segment import Damage, segments_in
from raven.journal.tables import narrow, table_of
from raven.journal.writing import ROW_GROUP, write_blocks
from raven.observe import get_logger
from raven.records import Kind

__all__ = ["Compacted", "compact", "locked"]

log = get_logger("journal")

_DAY_NS = 86_400 * 10**9
_OF_GAPS = ("data_type", "count", "first_id", "last_id", "reason", "repaired")


@dataclass(slots=True)
class Compacted:
    """What one run of the compaction did."""

    segments: int = 0
    rows: int = 0
    files: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    damage: list[Damage] = field(default_factory=list)
    """What was damaged in the segments; the manifests of the day list it, too."""


@dataclass(frozen=True, slots=True, order=True)
class _Partition:
    date: str
    venue: str
    type: str
    symbol: str

    def folder(self, root: Path) -> Path:
        return partition_folder(root, self.date, self.venue, self.type, self.symbol)


def compact(
    journal: Path, progress: Callable[[int, int], None] = lambda done, of: None, *, before: int | None = None
) -> Compacted:
    """Turn segments into Parquet and remove them; `progress` is told segments done and to do.

    `before` leaves segments from this number on as they are. The newest one stays in any case: it may be written just
    now, and its number says how the next one is called.
    Raises: DataValidation when another process compacts the same journal; OSError when the disk is full.
    """
    done = Compacted()
    with locked(journal):
        segments = segments_in(journal)[:-1]
        if before is not None:
            segments = [path for path in segments if int(path.stem) < before]
        for number, path in enumerate(segments):
            _compact_segment(path, parquet_folder(journal), done)
            progress(number + 1, len(segments))
    return done


@contextmanager
def locked(journal: Path) -> Iterator[None]:
    """Be the only one who changes Parquet files. Raises: DataValidation when another process does."""
    with (journal / "compaction.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataValidation(f"{journal}: another process compacts it; wait until it is done") from None
        yield


def _compact_segment(path: Path, root: Path, done: Compacted) -> None:
    parts: dict[tuple[_Partition, Kind], list[pa.Table]] = defaultdict(list)
    runs: set[str] = set()
    damage: list[Damage] = []
    for item in read_segment(path):
        if isinstance(item, Damage):
            damage.append(item)
            continue
        runs.add(item.run)
        for partition, records in _split(item):
            parts[partition, item.kind].append(records)
    gaps = [
        (partition, row)
        for (partition, kind), tables in parts.items()
        if kind is Kind.GAP
        for row in table_of(kind, pa.concat_tables(tables), "").select(_OF_GAPS).to_pylist()
    ]
    files: list[Path] = []
    for (partition, kind), tables in sorted(parts.items()):
        table = table_of(kind, pa.concat_tables(tables), ",".join(sorted(runs)))
        causes = [row for where, row in gaps if replace(where, type=row["data_type"]) == partition]
        files.append(_write(table, partition, root, path.stem, damage, causes))
        done.rows += len(table)
    done.segments += 1
    done.files += len(files)
    done.bytes_before += path.stat().st_size
    done.bytes_after += sum(file.stat().st_size for file in files)
    done.damage += damage
    path.unlink()
    log.info("segment compacted", segment=path.name, files=len(files), damaged=len(damage))


def _split(batch: Batch) -> Iterator[tuple[_Partition, pa.Table]]:
    """Yield the records of each symbol and day."""
    records = pa.table(batch.records)
    days = pc.divide(records["recv_ns"], _DAY_NS)
    for number in pc.unique(records["topic"]).to_pylist():
        topic = batch.topics.get(number)
        name = type_name(batch.kind, topic.data_type if topic else None)
        venue, symbol = (topic.venue, topic.symbol) if topic else ("unknown", f"topic-{number}")
        is_here = pc.equal(records["topic"], number)
        for day in pc.unique(days.filter(is_here)).to_pylist():
            date = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
            rows = records.filter(pc.and_(is_here, pc.equal(days, day)))
            yield _Partition(date, venue, name, symbol), rows


def _write(
    table: pa.Table, partition: _Partition, root: Path, segment: str, damage: list[Damage], gaps: list[dict[str, Any]]
) -> Path:
    """Write one file and its line in the manifest, both whole or not at all."""
    folder = partition.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    path, unfinished = folder / f"{segment}.parquet", folder / f"_{segment}.unfinished"
    small = narrow(table)
    write_blocks(unfinished, lambda: (small.slice(at, ROW_GROUP) for at in range(0, len(small), ROW_GROUP)))
    unfinished.rename(path)
    _add_to_manifest(path, table, damage, gaps)
    return path


def _add_to_manifest(file: Path, table: pa.Table, damage: list[Damage], gaps: list[dict[str, Any]]) -> None:
    manifest = manifest_to_change(file.parent)
    ids = pc.min_max(table["id"]).as_py()
    sequences = pc.min_max(table["sequence"]).as_py()
    manifest["files"][file.name] = {
        "rows": len(table),
        "first_id": ids["min"],
        "last_id": ids["max"],
        "first_sequence": sequences["min"],
        "last_sequence": sequences["max"],
        "runs": pc.unique(table["run"]).to_pylist(),
        "continuous": _ranges(table["sequence"]),
        "gaps": gaps[:MOST_RANGES],
        "damaged_frames": [
            {"segment": int(one.path.stem), "offset": one.offset, "bytes": one.size, "frames": one.frames}
            for one in damage
        ],
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    write_manifest(file.parent, manifest)


def _ranges(sequences: pa.ChunkedArray) -> list[tuple[int, int]] | None:
    """Return first and last of each run of sequences without a hole; None when there are very many, as of books."""
    ordered = sequences.combine_chunks()
    ordered = ordered.take(pc.array_sort_indices(ordered))
    is_break = pc.not_equal(pc.pairwise_diff(ordered), 1)
    breaks = pc.indices_nonzero(pc.fill_null(is_break, fill_value=False)).to_pylist()
    if len(breaks) >= MOST_RANGES:
        return None
    firsts, lasts = [0, *breaks], [*(place - 1 for place in breaks), len(ordered) - 1]
    return [(ordered[first].as_py(), ordered[last].as_py()) for first, last in zip(firsts, lasts, strict=True)]

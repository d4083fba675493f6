"""From many Parquet files of a day to one: smaller, and quicker to open.

When a day is over, all files of a symbol and type become one; while it lasts, small ones do when there are many. A
merged file has the records in the order of segments, and says how many came from each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raven.journal.compaction import locked
from raven.journal.manifests import MOST_RANGES, Manifest, manifest_to_change, write_manifest
from raven.journal.partitions import Part, parts_in, pieces_of
from raven.journal.replacing import begin_replacing, finish_replacing, replace_folder
from raven.journal.segment import segments_in
from raven.journal.tables import DECIMAL, decimals_of, decoded
from raven.journal.writing import ROW_GROUP, write_blocks
from raven.observe import get_logger

__all__ = ["Merged", "merge"]

log = get_logger("journal")

_BATCH_ROWS = 65_536
# Books have hundreds of levels.
_BOOKS = 512
# Of what is compressed together, in memory.
_BLOCK_BYTES = 128 << 20
# While a day lasts, more files than that which are small become one; a record is rewritten some ten times at most.
_MOST_SMALL = 16
_SMALL_BYTES = 16 << 20


@dataclass(slots=True)
class Merged:
    """What one run did."""

    files: int = 0
    """Files that became others."""
    into: int = 0
    """Files that they became."""
    bytes_before: int = 0
    bytes_after: int = 0


def merge(journal: Path, now_ns: int) -> Merged:
    """Merge what there is to be merged. Readers see the old files or the new one, never both.

    Raises: DataValidation when another process changes Parquet files; OSError when the disk is full.
    """
    done = Merged()
    today = datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y-%m-%d")
    with locked(journal):
        finish_replacing(journal)
        # What a crash left of a compaction is made anew.
        fresh = {int(path.stem) for path in segments_in(journal)}
        parts = [part for part in parts_in(journal) if fresh.isdisjoint(range(part.first, part.last + 1))]
        for folder, files in groupby(sorted(parts, key=_place), key=lambda part: part.path.parent):
            chosen = _chosen(list(files), today)
            if len(chosen) > 1:
                _merge(journal, folder, chosen, done)
        finish_replacing(journal)
    return done


def _place(part: Part) -> tuple[Path, int]:
    return part.path.parent, part.first


def _chosen(parts: list[Part], today: str) -> list[Part]:
    """Return the files of a folder that are to become one; they stand side by side."""
    if parts[0].date < today:
        return parts
    newest: list[Part] = []
    for part in reversed(parts):
        if part.path.stat().st_size >= _SMALL_BYTES:
            break
        newest.insert(0, part)
    return newest if len(newest) > _MOST_SMALL else []


def _merge(journal: Path, folder: Path, parts: Sequence[Part], done: Merged) -> None:
    manifest = manifest_to_change(folder)
    entries = [manifest["files"].get(part.path.name) for part in parts]
    sizes = [part.path.stat().st_size for part in parts]
    if not all(entry and _sum(part.path) == entry["sha256"] for part, entry in zip(parts, entries, strict=True)):
        log.error("files are not merged: one is not what its manifest says", folder=str(folder), next="ravenctl verify")
        return
    pieces: list[tuple[int, int]] = []
    for part in parts:
        with pq.ParquetFile(part.path) as file:
            pieces += pieces_of(file, part.first)
    staged = begin_replacing(journal, folder, {part.path.name for part in parts})
    path = staged / f"{parts[0].first:010d}-{parts[-1].last:010d}.parquet"
    schema = _schema(parts)
    size = write_blocks(path, lambda: _blocks(parts, schema), pieces)
    kept = {name: entry for name, entry in manifest["files"].items() if (staged / name).exists()}
    kept[path.name] = _entry([entry for entry in entries if entry], pieces) | {"sha256": _sum(path)}
    write_manifest(staged, manifest | {"files": dict(sorted(kept.items()))})
    replace_folder(journal, staged)
    done.files += len(parts)
    done.into += 1
    done.bytes_before += sum(sizes)
    done.bytes_after += size
    log.info("files merged", folder=str(folder), files=len(parts), bytes=size, before=sum(sizes))


def _schema(parts: Sequence[Part]) -> pa.Schema:
    """Return the columns of all of them; if one has long decimals, so have they all."""
    schemas = [pq.read_schema(part.path) for part in parts]
    return next((schema for schema in schemas if DECIMAL in decimals_of(schema)), schemas[0])


def _blocks(parts: Sequence[Part], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the records of files, as many at a time as are compressed together; each block is of one run."""
    held: list[pa.Table] = []
    for part in parts:
        with pq.ParquetFile(part.path) as file:
            for batch in file.iter_batches(_BOOKS if part.type == "orderbook" else _BATCH_ROWS):
                for table in _runs(pa.table(batch).cast(schema)):
                    if held and (_is_full([*held, table]) or _run(held[-1]) != _run(table)):
                        yield pa.concat_tables(held).unify_dictionaries()
                        held = []
                    held.append(table)
    if held:
        yield pa.concat_tables(held).unify_dictionaries()


def _is_full(tables: Sequence[pa.Table]) -> bool:
    return sum(map(len, tables)) > ROW_GROUP or sum(one.nbytes for one in tables) > _BLOCK_BYTES


def _run(table: pa.Table) -> str:
    return str(table["run"][-1].as_py())


def _runs(table: pa.Table) -> Iterator[pa.Table]:
    """Cut a table where another run of the server begins: statistics of a row group are then those of one."""
    runs = decoded(table.select(["run"]))["run"].combine_chunks().dictionary_encode().indices
    ends = pc.run_end_encode(runs).run_ends.to_pylist()
    for first, end in zip([0, *ends], ends, strict=False):
        yield table.slice(first, end - first)


def _entry(entries: Sequence[Manifest], pieces: Sequence[tuple[int, int]]) -> Manifest:
    """Return what a manifest says of a merged file, from what it said of the others."""
    ranges = [entry.get("continuous") for entry in entries]
    return {
        "rows": sum(entry["rows"] for entry in entries),
        "first_id": min(entry["first_id"] for entry in entries),
        "last_id": max(entry["last_id"] for entry in entries),
        "first_sequence": min(entry["first_sequence"] for entry in entries),
        "last_sequence": max(entry["last_sequence"] for entry in entries),
        "runs": list(dict.fromkeys(run for entry in entries for run in entry["runs"])),
        "continuous": None if None in ranges else _joined([one for part in ranges for one in part or ()]),
        "gaps": [gap for entry in entries for gap in entry.get("gaps", ())][:MOST_RANGES],
        "damaged_frames": [frame for entry in entries for frame in entry.get("damaged_frames", ())],
        "segments": list(pieces),
    }


def _joined(ranges: Sequence[Sequence[int]]) -> list[list[int]] | None:
    found: list[list[int]] = []
    for first, last in ranges:
        if found and found[-1][1] + 1 == first:
            found[-1][1] = last
        else:
            found.append([first, last])
    return found if len(found) <= MOST_RANGES else None


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

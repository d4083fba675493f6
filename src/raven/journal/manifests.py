"""Are the Parquet files of a journal what their manifests say? A file that is missing, cut or swapped is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raven.journal.compaction import parquet_folder

__all__ = ["CheckedFile", "Problem", "Removed", "check_parquet"]

_COLUMNS = ("sequence", "recv_time", "run", "data_type", "count", "reason")


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that is what its manifest says."""

    path: Path
    venue: str
    symbol: str
    type: str
    records: pa.Table
    """Columns `sequence`, `recv_time`, `run`; of gaps `data_type`, `count` and `reason` too."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Records that are not there any more because they were told to leave."""

    venue: str
    symbol: str
    type: str
    run: str
    rows: int
    why: str
    segments: tuple[str, ...] = ()
    """Names of the segments that they had come from."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not what it should be."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the file and what is wrong."""
        return f"{self.path}: {self.reason}"


def check_parquet(journal: Path, skip: Collection[str] = ()) -> Iterator[CheckedFile | Removed | Problem]:
    """Yield every Parquet file of a journal, what was removed, and what is wrong.

    `skip` are names of segments that are still there: what a crash left of their compaction is made anew.
    """
    root = parquet_folder(journal)
    for folder in sorted(root.glob("date=*/venue=*/type=*/symbol=*")):
        yield from _check_folder(folder, skip)


def _check_folder(folder: Path, skip: Collection[str]) -> Iterator[CheckedFile | Removed | Problem]:
    venue, name, symbol = (part.partition("=")[2] for part in folder.parts[-3:])
    try:
        manifest: dict[str, Any] = json.loads((folder / "_manifest.json").read_text())
    except (OSError, ValueError) as error:
        yield Problem(folder / "_manifest.json", f"cannot be read ({error}); restore it from a backup")
        return
    for file, entry in manifest.get("removed", {}).items():
        stems = tuple(Path(file).stem.split("-"))
        yield Removed(venue, symbol, name, ",".join(entry.get("runs", ())), entry["rows"], entry["why"], stems)
    listed: dict[str, dict[str, Any]] = manifest["files"]
    for path in sorted(folder.glob("*.parquet")):
        # One that is written off may be removed a moment later.
        if path.name not in listed and path.name not in manifest.get("removed", {}) and path.stem not in skip:
            yield Problem(
                path, "is not in the manifest beside it; it came from elsewhere, or the manifest is an old one"
            )
    for file, entry in listed.items():
        path = folder / file
        if path.stem in skip:
            continue
        wrong = _wrong(path, entry)
        if wrong:
            yield Problem(path, wrong)
            continue
        schema = pq.read_schema(path)
        if "run" not in schema.names:
            # Bars of a minute, made of records that left.
            continue
        table = pq.read_table(path, columns=[one for one in _COLUMNS if one in schema.names], partitioning=None)
        yield CheckedFile(path, venue, symbol, name, table)


def _wrong(path: Path, entry: dict[str, Any]) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return f"is missing; {entry['rows']} records, restore it from a backup"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        return f"is not the file that was written ({len(content)} bytes, another checksum); restore it from a backup"
    rows = pq.read_metadata(pa.BufferReader(content)).num_rows
    return "" if rows == entry["rows"] else f"has {rows} records, and its manifest says {entry['rows']}"

"""The manifests of Parquet files: what each file holds. A file that is missing, cut or swapped is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raven.journal.partitions import parquet_folder, pieces_of, rows_of, sync, value_of
from raven.observe import get_logger

__all__ = [
    "MANIFEST",
    "MOST_RANGES",
    "CheckedFile",
    "Manifest",
    "Problem",
    "Removed",
    "check_parquet",
    "manifest_to_change",
    "read_manifest",
    "segment_rows",
    "segments_of",
    "write_manifest",
]

log = get_logger("journal")

MANIFEST = "_manifest.json"
"""Stands beside the files that it is about; see docs/reference/parquet.md."""

DAMAGED = "_manifest.damaged"
"""What a manifest that made no sense is called when a new one has begun."""

MOST_RANGES = 1000
"""Of one file; of books only some states are kept, so that they would have a range for nearly each."""

Manifest = dict[str, Any]
"""A manifest, or what it says of one file."""


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder, an empty one if it has none. Raises: OSError, ValueError."""
    try:
        manifest: Manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        return {"files": {}}
    lists = (manifest.get("files"), manifest.get("removed", {})) if isinstance(manifest, dict) else (None,)
    if not all(isinstance(one, dict) and all(map(_is_entry, one.values())) for one in lists):
        raise ValueError("it is JSON, but no manifest")
    return manifest


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and "rows" in entry


def manifest_to_change(folder: Path) -> Manifest:
    """Do the same for who changes it. One that makes no sense is set aside: it must not stop the house for ever.

    What it said of its files is unknown then, and `ravenctl verify` says so of each. Raises: OSError.
    """
    try:
        return read_manifest(folder)
    except ValueError as error:
        aside = folder / DAMAGED
        log.error("a manifest is set aside, a new one begins", aside=str(aside), reason=str(error))
        (folder / MANIFEST).replace(aside)
        return {"files": {}}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of a folder; a crash leaves the old one or the new one. Raises: OSError."""
    manifest["rows"] = sum(entry["rows"] for entry in manifest["files"].values())
    path, unfinished = folder / MANIFEST, folder / "_manifest.unfinished"
    unfinished.write_text(json.dumps(manifest, indent=1) + "\n")
    sync(unfinished)
    unfinished.rename(path)
    sync(folder)


def segments_of(name: str, entry: Manifest) -> set[int]:
    """Return the numbers of the segments that a file was made of: as its entry says, or else its name."""
    return set(segment_rows(name, entry))


def segment_rows(name: str, entry: Manifest) -> dict[int, int]:
    """Return how many records of a file came from each segment, by number; all from the first if nothing tells."""
    if "segments" in entry:
        return dict(entry["segments"])
    first, _, last = name.partition(".")[0].partition("-")
    if not (first.isdigit() and (last or first).isdigit()):
        return {}
    others = dict.fromkeys(range(int(first) + 1, int(last or first) + 1), 0)
    return {int(first): int(entry.get("rows", 0))} | others


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
    segments: Collection[int]
    """Numbers of the segments that they came from."""
    size: int
    """Bytes of the file."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Records that are not there any more because they were told to leave."""

    venue: str
    symbol: str
    type: str
    run: str
    rows: int
    why: str
    segments: Collection[int]
    """Numbers of the segments that they had come from."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not what it should be."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Name the file and what is wrong."""
        return f"{self.path}: {self.reason}"


def check_parquet(journal: Path, skip: Collection[int] = ()) -> Iterator[CheckedFile | Removed | Problem]:
    """Yield every Parquet file of a journal, what was removed, and what is wrong.

    `skip` are numbers of segments that were counted already: what a crash left of their compaction is made anew.
    """
    for folder in sorted(parquet_folder(journal).glob("date=*/venue=*/type=*/symbol=*")):
        done, told = set(skip), set[str]()
        try:
            manifest: Manifest | None = read_manifest(folder)
            while manifest is not None:
                # Files are merged and removed meanwhile: what was not checked yet is looked for in the new manifest.
                manifest = yield from _check_folder(folder, manifest, done, told)
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield Problem(folder / MANIFEST, f"cannot be read ({error!r}); restore it from a backup")


def _check_folder(
    folder: Path, manifest: Manifest, done: set[int], told: set[str]
) -> Generator[CheckedFile | Removed | Problem, None, Manifest | None]:
    """Check what is not `done` and complain of what is not `told`; return the manifest if it is another one by now."""
    venue, name, symbol = (value_of(part) for part in folder.parts[-3:])
    removed: dict[str, Manifest] = manifest.get("removed", {})
    listed: dict[str, Manifest] = manifest["files"]
    for file, entry in removed.items():
        segments = segments_of(file, entry) - done
        if segments:
            done |= segments
            yield Removed(venue, symbol, name, ",".join(entry.get("runs", ())), entry["rows"], entry["why"], segments)
    wrong: dict[str, str] = {}
    for path in sorted(folder.glob("*.parquet")):
        # One that is written off may be removed a moment later.
        numbers = segments_of(path.name, {})
        if path.name not in listed and path.name not in removed and not (numbers and numbers <= done):
            wrong[path.name] = "is not in the manifest beside it; it came from elsewhere, or the manifest is an old one"
    for file, entry in listed.items():
        segments = segments_of(file, entry) - done
        if not segments:
            continue
        try:
            checked = _checked(folder / file, entry, segments)
        except _WrongError as problem:
            wrong[file] = str(problem)
            continue
        done |= segments
        if checked is not None:
            yield CheckedFile(folder / file, venue, symbol, name, *checked)
    newer = read_manifest(folder)
    if newer != manifest:
        return newer
    for file in sorted(wrong.keys() - told):
        yield Problem(folder / file, wrong[file])
    return None


class _WrongError(Exception):
    """A file is not what its manifest says."""


def _checked(path: Path, entry: Manifest, segments: Collection[int]) -> tuple[pa.Table, Collection[int], int] | None:
    """Return what a file has of some segments, and its size; None for bars of a minute, made of records that left.

    Raises: _WrongError.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _WrongError(f"is missing; {entry['rows']} records, restore it from a backup") from None
    except OSError as error:
        raise _WrongError(f"cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        about = f"{len(content)} bytes, another checksum"
        raise _WrongError(f"is not the file that was written ({about}); restore it from a backup")
    file = pq.ParquetFile(pa.BufferReader(content))
    if file.metadata.num_rows != entry["rows"]:
        raise _WrongError(f"has {file.metadata.num_rows} records, and its manifest says {entry['rows']}")
    names = file.schema_arrow.names
    if "run" not in names:
        return None
    table = file.read(columns=[one for one in _COLUMNS if one in names])
    rows = rows_of(pieces_of(file, min(segments)), segments)
    return pa.concat_tables([table.slice(first, end - first) for first, end in rows]), segments, len(content)

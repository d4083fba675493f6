"""Where the Parquet files of a journal stand, and how to read each record of them once while they are replaced.

    parquet/date=2026-11-21/venue=binance_futures/type=trades/symbol=BTCUSDT/0000000001-0000000006.parquet
                                                                             0000000007.parquet

A file has the records of one segment, or of several that were merged: those of each stand together, in the order of
segments, and the file's metadata says how many they are. So whoever was in the middle when files were merged goes on
in the new one.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq

from raven.journal.tables import wide
from raven.observe import get_logger

__all__ = [
    "BY_MINUTE",
    "SEGMENTS",
    "Opened",
    "Part",
    "opened",
    "parquet_folder",
    "partition_folder",
    "parts_in",
    "pieces_of",
    "rows_of",
    "sync",
    "tell_damage",
    "value_of",
]

log = get_logger("journal")

BY_MINUTE = "_by_minute"
"""Ends the types of records that were made of others which left."""
SEGMENTS = "raven.segments"
"""Key in the metadata of a merged file: `[[segment, records], …]`, in the order in which they stand in it."""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A Parquet file; they are in order by segment, hence by time."""

    first: int
    """Number of the first segment that it has records of."""
    path: Path
    last: int
    """Number of the last one."""

    @property
    def symbol(self) -> str:
        """The venue's own."""
        return _value(self.path.parents[0])

    @property
    def type(self) -> str:
        """Like `trades` or `gaps`."""
        return _value(self.path.parents[1])

    @property
    def venue(self) -> str:
        """Like `binance_spot`."""
        return _value(self.path.parents[2])

    @property
    def date(self) -> str:
        """Day of arrival, like `2026-11-21`."""
        return _value(self.path.parents[3])


def parquet_folder(journal: Path) -> Path:
    """Return where the Parquet files of a journal stand."""
    return journal / "parquet"


def partition_folder(root: Path, date: str, venue: str, name: str, symbol: str) -> Path:
    """Return the folder of one day, venue, type and symbol. What is no letter or digit of a name from outside stands
    there as `%2F`, as other readers of such folders understand it: no name leads out of the journal.
    """
    return root / f"date={date}" / f"venue={_quoted(venue)}" / f"type={name}" / f"symbol={_quoted(symbol)}"


def parts_in(
    journal: Path, *, type: str = "", venue: str = "", symbols: Collection[str] = (), date: str = ""
) -> list[Part]:
    """Return the files of a type, venue, day and of symbols, oldest first; empty stands for all."""
    found = []
    for symbol in symbols or ("",):
        pattern = "/".join(
            f"{name}={glob.escape(_quoted(value)) or '*'}"
            for name, value in (("date", date), ("venue", venue), ("type", type), ("symbol", symbol))
        )
        for path in parquet_folder(journal).glob(f"{pattern}/*.parquet"):
            first, _, last = path.stem.partition("-")
            if first.isdigit() and (last or first).isdigit() and not _value(path.parents[1]).endswith(BY_MINUTE):
                found.append(Part(int(first), path, int(last or first)))
    return sorted(found)


def pieces_of(file: pq.ParquetFile, segment: int) -> list[tuple[int, int]]:
    """Return the segments of a file and how many records each gave, in the order in which they stand in it.

    `segment` is the one that a file was made of which was never merged.
    """
    about = (file.metadata.metadata or {}).get(SEGMENTS.encode())
    if about is None:
        return [(segment, file.metadata.num_rows)]
    return [(number, rows) for number, rows in json.loads(about)]


def tell_damage(path: Path, error: Exception) -> None:
    """Log that a file, or a stretch of it, cannot be read."""
    log.error("damaged; readers skip it", file=str(path), reason=str(error), next="ravenctl verify", every_s=60)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is open: it can be read to its end, whatever becomes of its name."""

    part: Part
    file: pq.ParquetFile
    first: int
    """Segments from this one on are read, up to `part.last`; those before were read from another file."""
    rows: Sequence[tuple[int, int]]
    """What is to be read: first row and the one after the last of each stretch."""
    on_damage: Callable[[Path, Exception], None] = tell_damage

    def tables(self, max_rows: int, groups: Collection[int] | None = None) -> Iterator[pa.Table]:
        """Yield the records, some at a time; of these row groups only, if they are named.

        The rest of a row group that is damaged is skipped, and `on_damage` is told.
        """
        end = 0
        for group in range(self.file.metadata.num_row_groups):
            at, end = end, end + self.file.metadata.row_group(group).num_rows
            is_wanted = any(first < end and at < after for first, after in self.rows)
            if not is_wanted or (groups is not None and group not in groups):
                continue
            for batch in self._batches(max_rows, group):
                for first, after in self.rows:
                    low, high = max(first, at), min(after, at + len(batch))
                    if low < high:
                        yield wide(pa.table(batch).slice(low - at, high - low))
                at += len(batch)

    def _batches(self, max_rows: int, group: int) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.file.iter_batches(max_rows, row_groups=[group])
        except (pa.ArrowException, OSError) as error:
            self.on_damage(self.part.path, error)


def opened(
    find: Callable[[], list[Part]],
    wants: Callable[[int], bool] = lambda _: True,
    on_damage: Callable[[Path, Exception], None] = tell_damage,
) -> Iterator[Opened]:
    """Open the files that `find` finds, one after the other, for the segments that are wanted.

    When one is gone, files were merged or have left: it looks again, and goes on with what was not read yet.
    One that is damaged is skipped, and `on_damage` is told.
    """
    done: dict[Path, int] = {}
    is_whole = False
    while not is_whole:
        is_whole = True
        for part in find():
            folder = part.path.parent
            first = max(part.first, done.get(folder, -1) + 1)
            if not any(wants(number) for number in range(first, part.last + 1)):
                continue
            try:
                file = pq.ParquetFile(part.path, page_checksum_verification=True)
            except FileNotFoundError:
                is_whole = False
                break
            except (pa.ArrowException, OSError) as error:
                on_damage(part.path, error)
                done[folder] = part.last
                continue
            with file:
                pieces = pieces_of(file, part.first)
                rows = rows_of(pieces, {number for number, _ in pieces if number >= first and wants(number)})
                if rows:
                    yield Opened(part, file, first, rows, on_damage)
            done[folder] = part.last


def rows_of(pieces: Sequence[tuple[int, int]], wanted: Collection[int]) -> list[tuple[int, int]]:
    """Return first and end of each stretch of rows that stand together."""
    found: list[tuple[int, int]] = []
    end = 0
    for number, rows in pieces:
        first, end = end, end + rows
        if number not in wanted or not rows:
            continue
        if found and found[-1][1] == first:
            first = found.pop()[0]
        found.append((first, end))
    return found


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Raises: OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _value(folder: Path) -> str:
    return value_of(folder.name)


def value_of(part: str) -> str:
    """Return the value of a part of a partition's path, like `symbol=BTCUSDT`."""
    return unquote(part.partition("=")[2])


def _quoted(name: str) -> str:
    return "".join(letter if letter.isalnum() else quote(letter, safe="-_.") for letter in name)

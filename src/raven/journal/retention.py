"""What leaves a journal, and when: full resolution, then one record a minute, then the archive, then nothing.

Whole partitions (a day of a symbol and type) go from one stage to the next. What left stands in the partition's
manifest, so that nobody takes "removed" for "never seen".

    full resolution ─(downsample_days)─► type=trades_by_minute … ─(archive_days)─► archive ─(retention_days)─► gone

A day that a database has still to read stays as it is, however old. Only the quota takes it, and takes it last.
"""

from __future__ import annotations

import filecmp
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from raven.errors import ConfigurationError, InternalError
from raven.journal.compaction import locked
from raven.journal.cursors import Position, cursors_in
from raven.journal.downsampling import SHRINKING, downsample
from raven.journal.manifests import Manifest, manifest_to_change, segment_rows, write_manifest
from raven.journal.partitions import BY_MINUTE, parquet_folder, sync
from raven.journal.replacing import finish_replacing
from raven.journal.segment import segments_in
from raven.observe import get_logger

__all__ = ["Days", "Readers", "Retention", "Retired", "apply_retention"]

log = get_logger("journal")

Readers = Mapping[str, Collection[str]]
"""Databases that are written from a journal, and the types that each takes; an empty collection is all of them."""


@dataclass(frozen=True, slots=True)
class Days:
    """How long a type is kept, counted from the day on which a record arrived; 0 is for ever."""

    downsample: int = 0
    """After so many days one record a minute is kept: of trades a bar, of states the last one; see `SHRINKING`."""
    archive: int = 0
    """After so many days files go to the archive folder."""
    delete: int = 0
    """After so many days they are removed, from the archive too."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What leaves. Raises: ConfigurationError when there is nowhere to archive to."""

    days: Days = field(default_factory=Days)
    """Of every type that has no days of its own."""
    types: Mapping[str, Days] = field(default_factory=dict)
    """By type, as the folders are called."""
    archive: Path | None = None
    """Where old files go."""
    max_bytes: int = 0
    """Of segments and Parquet together; above it days leave, the oldest first. 0 is no limit."""
    first: Sequence[str] = ()
    """Types that leave before all others when there is too much, in this order."""

    def __post_init__(self) -> None:
        """Check that the stages make sense."""
        if self.archive is None and any(one.archive for one in (self.days, *self.types.values())):
            raise ConfigurationError("journal.archive_days is set without journal.archive_dir; name a folder")

    def of(self, name: str) -> Days:
        """Return the days of a type; what was downsampled is kept as long as what it was made of."""
        return self.types.get(name.removesuffix(BY_MINUTE), self.days)

    def rank(self, name: str) -> int:
        """Return when a type leaves if there is too much: the lower, the sooner."""
        base = name.removesuffix(BY_MINUTE)
        return self.first.index(base) if base in self.first else len(self.first)


@dataclass(slots=True)
class Retired:
    """What left in one run."""

    files: dict[str, int] = field(default_factory=dict)
    """How many were `downsampled`, `archived`, `removed`."""
    unread: dict[str, int] = field(default_factory=dict)
    """By database, records that the quota took before it had them."""
    held: int = 0
    """Days of a symbol and type that are old enough, but a database has not had them."""

    def add(self, how: str, files: int) -> None:
        """Count files that left."""
        self.files[how] = self.files.get(how, 0) + files


@dataclass(frozen=True, slots=True, order=True)
class _Partition:
    day: str
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.parent.name.partition("=")[2]

    def age(self, today: date) -> int:
        return (today - date.fromisoformat(self.day)).days

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def finish(self) -> None:
        """Remove what a crash has left of files that are written off already."""
        manifest = manifest_to_change(self.folder)
        for name in manifest.get("removed", {}).keys() - manifest["files"].keys():
            (self.folder / name).unlink(missing_ok=True)

    def unread_by(self, cursors: Mapping[str, Position], readers: Readers) -> Counter[str]:
        """Return how many records each database has not had; what it would not take is none of them."""
        found: Counter[str] = Counter()
        if self.name.endswith(BY_MINUTE):
            return found
        entries = manifest_to_change(self.folder)["files"]
        for path in self.files():
            rows = segment_rows(path.name, entries.get(path.name, {}))
            for reader, position in cursors.items():
                if readers[reader] and self.name not in readers[reader]:
                    continue
                found[reader] += sum(count for number, count in rows.items() if number >= position.segment)
        return +found


def apply_retention(
    journal: Path, retention: Retention, now_ns: int, *, readers: Readers | None = None, done: Retired | None = None
) -> Retired:
    """Let leave what is old enough, and what is too much; return what left, in `done` if that is given.

    `readers` are the databases that count; without them all that have a cursor do, and take everything.
    Raises: DataValidation when another process compacts the same journal; OSError, when all else has been done.
    """
    done = Retired() if done is None else done
    cursors = {name: place for name, place in cursors_in(journal).items() if readers is None or name in readers}
    if readers is None:
        readers = dict.fromkeys(cursors, ())
    with locked(journal):
        finish_replacing(journal)
        _Run(journal, retention, datetime.fromtimestamp(now_ns / 1e9, UTC).date(), cursors, readers, done).apply()
    return done


def _partitions(root: Path) -> Iterator[_Partition]:
    for folder in sorted(root.glob("date=*/venue=*/type=*/symbol=*")):
        if any(folder.glob("*.parquet")):
            yield _Partition(folder.parts[-4].partition("=")[2], folder)


class _Run:
    """One run over a journal."""

    def __init__(
        self,
        journal: Path,
        retention: Retention,
        today: date,
        cursors: Mapping[str, Position],
        readers: Readers,
        done: Retired,
    ) -> None:
        self._journal = journal
        self._root = parquet_folder(journal)
        self._retention = retention
        self._today = today
        self._cursors = cursors
        self._readers = readers
        self._done = done

    def apply(self) -> None:
        # An archive that is full, say, must not keep the quota from being kept.
        errors: list[OSError] = []
        archive = self._retention.archive and parquet_folder(self._retention.archive)
        steps: list[Callable[[], None]] = [partial(self._age, one) for one in _partitions(self._root)]
        steps += [partial(self._age_archived, one) for one in (_partitions(archive) if archive else ())]
        for step in [*steps, self._keep_within]:
            try:
                step()
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _age_archived(self, partition: _Partition) -> None:
        partition.finish()
        days = self._retention.of(partition.name)
        if days.delete and partition.age(self._today) >= days.delete:
            self._remove(partition, f"older than {days.delete} days, in the archive")

    def _age(self, partition: _Partition) -> None:
        """Let a partition go on to the stage that its age says."""
        partition.finish()
        if not partition.files():
            return
        days, age = self._retention.of(partition.name), partition.age(self._today)
        leaves = bool(days.delete) and age >= days.delete
        moves = bool(days.archive) and age >= days.archive and self._retention.archive is not None
        shrinks = bool(days.downsample) and age >= days.downsample and partition.name in SHRINKING
        if not (leaves or moves or shrinks):
            return
        if unread := partition.unread_by(self._cursors, self._readers):
            self._done.held += 1
            log.warning(
                "a day is kept longer than configured: a database has not had it",
                partition=str(partition.folder), sinks=sorted(unread), every_s=3600,
            )  # fmt: skip
        elif leaves:
            self._remove(partition, f"older than {days.delete} days")
        elif moves and self._retention.archive is not None:
            self._archive(partition, self._retention.archive)
        else:
            self._downsample(partition)

    def _keep_within(self) -> None:
        """Let days leave until the rest fits; segments never do: the newest records stand in them.

        First what every database has had, and of that the types that are to leave first; the oldest days of each.
        """
        max_bytes = self._retention.max_bytes
        if not max_bytes:
            return
        size = sum(path.stat().st_size for path in segments_in(self._journal))
        partitions = list(_partitions(self._root))
        sizes = {partition: sum(path.stat().st_size for path in partition.files()) for partition in partitions}
        size += sum(sizes.values())
        unread = {partition: partition.unread_by(self._cursors, self._readers) for partition in partitions}
        for partition in sorted(partitions, key=lambda one: (bool(unread[one]), self._retention.rank(one.name), one)):
            if size <= max_bytes:
                return
            self._remove(partition, f"the journal was larger than {max_bytes} bytes", unread[partition])
            size -= sizes[partition]
        if size > max_bytes:
            log.warning("the newest segments alone are larger than the quota", bytes=size, quota=max_bytes, every_s=600)

    def _remove(self, partition: _Partition, why: str, unread: Mapping[str, int] | None = None) -> None:
        for sink, rows in (unread or {}).items():
            self._done.unread[sink] = self._done.unread.get(sink, 0) + rows
            log.error(
                "records leave the journal that a database has not had",
                sink=sink, rows=rows, partition=str(partition.folder), reason=why,
            )  # fmt: skip
        files = partition.files()
        self._take_away(partition, files, why, {"unread_by": dict(unread)} if unread else {})
        self._done.add("removed", len(files))
        log.info("removed", partition=str(partition.folder), files=len(files), reason=why)

    def _archive(self, partition: _Partition, archive: Path) -> None:
        # The archive can be read like a journal: it is one without segments.
        target = parquet_folder(archive) / partition.folder.relative_to(self._root)
        target.mkdir(parents=True, exist_ok=True)
        files = partition.files()
        for path in files:
            unfinished = target / f"_{path.stem}.unfinished"
            # Another disk, as a rule: copied, and removed here when the copy is whole.
            shutil.copyfile(path, unfinished)
            if not filecmp.cmp(unfinished, path, shallow=False):
                raise InternalError(f"{unfinished}: the copy differs from {path}, which is kept")
            sync(unfinished)
            unfinished.rename(target / path.name)
        sync(target)
        here, there = manifest_to_change(partition.folder), manifest_to_change(target)
        there["files"] |= {path.name: _entry(here, path) for path in files}
        # Gaps and damage of the day are in them; what left before is told where it was.
        write_manifest(target, there)
        self._take_away(partition, files, f"archived in {target}")
        self._done.add("archived", len(files))
        log.info("archived", partition=str(partition.folder), to=str(target), files=len(files))

    def _downsample(self, partition: _Partition) -> None:
        files = partition.files()
        rows = downsample(self._journal, partition.folder, files)
        self._take_away(partition, files, f"downsampled into type={partition.name}{BY_MINUTE}")
        self._done.add("downsampled", len(files))
        log.info("downsampled", partition=str(partition.folder), files=len(files), minutes=rows)

    def _take_away(
        self, partition: _Partition, files: Sequence[Path], why: str, more: Mapping[str, object] | None = None
    ) -> None:
        """Write into the manifest what leaves, and then let it."""
        manifest = manifest_to_change(partition.folder)
        on = {"why": why, "on": self._today.isoformat()} | dict(more or {})
        for path in files:
            manifest.setdefault("removed", {})[path.name] = _entry(manifest, path) | on
            manifest["files"].pop(path.name, None)
        write_manifest(partition.folder, manifest)
        for path in files:
            path.unlink()


def _entry(manifest: Manifest, path: Path) -> Manifest:
    """Return what a manifest says of a file, or what the file says of itself."""
    entry: Manifest | None = manifest["files"].get(path.name)
    return {"rows": pq.read_metadata(path).num_rows} if entry is None else entry

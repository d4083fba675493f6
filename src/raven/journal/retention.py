"""What leaves a journal, and when: full resolution, then one record a minute, then the archive, then nothing.

Whole partitions (a day of a symbol and type) go from one stage to the next. What left stands in the partition's
manifest, so that nobody takes "removed" for "never seen".

    full resolution ─(downsample_days)─► type=trades_by_minute … ─(archive_days)─► archive folder ─(delete_days)─► gone
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raven.errors import ConfigurationError, InternalError
from raven.journal.compaction import locked
from raven.journal.cursors import cursors_in
from raven.journal.manifests import read_manifest, write_manifest
from raven.journal.partitions import BY_MINUTE, parquet_folder, sync
from raven.journal.segment import segments_in
from raven.journal.tables import decoded
from raven.observe import get_logger, record_retention

__all__ = ["Days", "Retention", "apply_retention"]

log = get_logger("journal")

_MINUTE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Days:
    """How long a type is kept, counted from the day on which a record arrived; 0 is for ever."""

    downsample: int = 0
    """After so many days one record a minute is kept: of trades a bar, of states the last one."""
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
    """Of segments and Parquet together; above it the oldest days leave first. 0 is no limit."""

    def __post_init__(self) -> None:
        """Check that the stages make sense."""
        if self.archive is None and any(one.archive for one in (self.days, *self.types.values())):
            raise ConfigurationError("journal.archive_days is set without journal.archive_dir; name a folder")

    def of(self, name: str) -> Days:
        """Return the days of a type; what was downsampled is kept as long as what it was made of."""
        return self.types.get(name.removesuffix(BY_MINUTE), self.days)


@dataclass(frozen=True, slots=True, order=True)
class _Partition:
    day: str
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.parent.name.partition("=")[2]

    def age(self, today: date) -> int:
        return (today - date.fromisoformat(self.day)).days

    def finish(self) -> None:
        """Remove what a crash has left of files that are written off already."""
        for name in read_manifest(self.folder).get("removed", {}):
            (self.folder / name).unlink(missing_ok=True)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))


def apply_retention(journal: Path, retention: Retention, now_ns: int) -> None:
    """Let leave what is old enough, and what is too much.

    Raises: DataValidation when another process compacts the same journal; OSError.
    """
    with locked(journal):
        _apply(journal, retention, now_ns)


def _apply(journal: Path, retention: Retention, now_ns: int) -> None:
    today = datetime.fromtimestamp(now_ns / 1e9, UTC).date()
    root = parquet_folder(journal)
    for partition in list(_partitions(root)):
        partition.finish()
        if not partition.files():
            continue
        days, age = retention.of(partition.name), partition.age(today)
        if days.delete and age >= days.delete:
            _remove(partition, "older than delete_days", journal)
        elif days.archive and age >= days.archive and retention.archive is not None:
            _archive(partition, root, retention.archive)
        elif days.downsample and age >= days.downsample and not partition.name.endswith(BY_MINUTE):
            _downsample(partition, journal)
    if retention.archive is not None:
        for partition in list(_partitions(retention.archive)):
            days = retention.of(partition.name)
            if days.delete and partition.age(today) >= days.delete:
                _remove(partition, "older than delete_days", journal)
    if retention.max_bytes:
        _keep_within(journal, retention.max_bytes)


def _partitions(root: Path) -> Iterator[_Partition]:
    for folder in sorted(root.glob("date=*/venue=*/type=*/symbol=*")):
        if any(folder.glob("*.parquet")):
            yield _Partition(folder.parts[-4].partition("=")[2], folder)


def _keep_within(journal: Path, max_bytes: int) -> None:
    """Let the oldest days leave until the rest fits; segments never do: the newest records stand in them."""
    size = sum(path.stat().st_size for path in segments_in(journal))
    partitions = sorted(_partitions(parquet_folder(journal)))
    sizes = {partition: sum(path.stat().st_size for path in partition.files()) for partition in partitions}
    size += sum(sizes.values())
    for partition in partitions:
        if size <= max_bytes:
            return
        _remove(partition, f"the journal is larger than retention_bytes ({max_bytes})", journal)
        size -= sizes[partition]
    if size > max_bytes:
        log.warning("the newest segments alone are larger than the quota", bytes=size, quota=max_bytes, every_s=600)


def _remove(partition: _Partition, why: str, journal: Path) -> None:
    _tell_readers(partition, journal, why)
    files = partition.files()
    _note(partition, files, why)
    for path in files:
        path.unlink()
    record_retention("removed", len(files))
    log.info("removed", partition=str(partition.folder), files=len(files), reason=why)


def _archive(partition: _Partition, root: Path, archive: Path) -> None:
    target = archive / partition.folder.relative_to(root)
    target.mkdir(parents=True, exist_ok=True)
    files = partition.files()
    for path in files:
        unfinished = target / f"_{path.stem}.unfinished"
        # Another disk, as a rule: copied, and removed here when the copy is whole.
        shutil.copyfile(path, unfinished)
        if unfinished.read_bytes() != path.read_bytes():
            raise InternalError(f"{unfinished}: the copy differs from {path}, which is kept")
        sync(unfinished)
        unfinished.rename(target / path.name)
    sync(target)
    _note(partition, files, f"archived in {target}")
    for path in files:
        path.unlink()
    record_retention("archived", len(files))
    log.info("archived", partition=str(partition.folder), to=str(target), files=len(files))


def _downsample(partition: _Partition, journal: Path) -> None:
    files = partition.files()
    if partition.name == "gaps":
        return
    tables = [pq.read_table(path, partitioning=None) for path in files]
    order = [("recv_time", "ascending"), ("sequence", "ascending")]
    table = pa.concat_tables([decoded(one) for one in tables]).sort_by(order)
    small = _bars(table) if partition.name == "trades" else _last_of_minute(table)
    folder = partition.folder.parent.parent / f"type={partition.name}{BY_MINUTE}" / partition.folder.name
    folder.mkdir(parents=True, exist_ok=True)
    path, unfinished = folder / f"{files[0].stem}-{files[-1].stem}.parquet", folder / "_day.unfinished"
    pq.write_table(small, unfinished, compression="zstd")
    if not pq.read_table(unfinished, partitioning=None).equals(small):
        raise InternalError(f"{unfinished}: what was written is not what was read back; the day is kept as it is")
    sync(unfinished)
    unfinished.rename(path)
    about = {"rows": len(small), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    write_manifest(folder, {"files": {path.name: about}})
    _tell_readers(partition, journal, "downsampled")
    _note(partition, files, f"downsampled to {len(small)} records in {folder.parent.name}")
    for old in files:
        old.unlink()
    record_retention("downsampled", len(files))
    log.info("downsampled", partition=str(partition.folder), records=len(table), to=len(small))


def _minutes(table: pa.Table) -> pa.ChunkedArray:
    times = table["exchange_time"].cast(pa.int64())
    return pc.multiply(pc.divide(times, _MINUTE_NS), _MINUTE_NS).cast(pa.timestamp("ns", tz="UTC"))


def _bars(trades: pa.Table) -> pa.Table:
    """Return open, high, low, close, volume and number of the trades of each minute."""
    # Arrow has no first and last of decimals: the rows of them are found, and the prices taken from there.
    rows = trades.append_column("minute", _minutes(trades)).append_column(
        "row", pa.array(range(len(trades)), pa.int64())
    )
    grouped = rows.group_by("minute", use_threads=False).aggregate(
        [
            ("row", "min"), ("row", "max"), ("price", "max"), ("price", "min"), ("quantity", "sum"),
            ("id", "count"), ("id", "min"), ("id", "max"),
        ]
    )  # fmt: skip
    return pa.table(
        {
            "minute": grouped["minute"],
            "open": trades["price"].take(grouped["row_min"]),
            "high": grouped["price_max"],
            "low": grouped["price_min"],
            "close": trades["price"].take(grouped["row_max"]),
            "volume": grouped["quantity_sum"],
            "trades": grouped["id_count"],
            "first_id": grouped["id_min"],
            "last_id": grouped["id_max"],
        }
    )


def _last_of_minute(states: pa.Table) -> pa.Table:
    """Return the last state of each minute, with all its columns."""
    rows = pa.table({"minute": _minutes(states), "row": pa.array(range(len(states)), pa.int64())})
    last = rows.group_by("minute", use_threads=False).aggregate([("row", "max")])
    return states.take(last["row_max"])


def _note(partition: _Partition, files: list[Path], why: str) -> None:
    """Write into the manifest what leaves, before it does."""
    manifest = read_manifest(partition.folder)
    for one in files:
        entry = manifest["files"].pop(one.name, {"rows": pq.read_metadata(one).num_rows})
        manifest.setdefault("removed", {})[one.name] = entry | {"why": why}
    write_manifest(partition.folder, manifest)


def _tell_readers(partition: _Partition, journal: Path, why: str) -> None:
    """Say aloud when something leaves that a database has not read."""
    stems = [int(path.stem.partition("-")[0]) for path in partition.files()]
    for reader, position in cursors_in(journal).items():
        behind = [stem for stem in stems if stem >= position.segment]
        if behind:
            log.error(
                "records leave the journal that a database has not had",
                sink=reader, partition=str(partition.folder), segments=behind[:10], reason=why,
            )  # fmt: skip

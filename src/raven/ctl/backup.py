"""`ravenctl backup` and `restore`: the journal, the dead letters and the configuration, while the server runs.

A backup is a folder. Files that nobody changes any more are linked, not copied: on the same disk it costs nearly
nothing, and protects from deletion, not from a broken disk; a folder on another disk gets copies of everything.
Every file is read back and its checksum written into `backup.json`; restoring checks them again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raven import __version__
from raven.errors import DataValidation
from raven.journal import Verdict, verify_journal
from raven.journal.partitions import parquet_folder
from raven.journal.segment import cut_torn_tail, segments_in
from raven.resilience.dead_letters import DeadLetterQueue

__all__ = ["Backup", "back_up", "list_backups", "restore"]

MANIFEST = "backup.json"
_JOURNAL, _LETTERS, _CONFIG = "journal", "dead_letters.sqlite", "config"
_CHUNK = 1 << 20
_LOCK_S = 60.0

Progress = Callable[[str, int, int], None]
"""Is told what is done now, files done, and files to do."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds."""

    folder: Path
    files: int
    size: int
    """Bytes of all files, linked ones included."""
    copied: int
    """Bytes that were copied."""
    records: int
    """Records in segments; those in Parquet are checked by checksum."""


def back_up(
    name: str,
    into: Path,
    *,
    journal: Path,
    letters: Path,
    configuration: Sequence[Path] = (),
    progress: Progress = lambda what, done, of: None,
) -> Backup:
    """Make a backup and read it back. Safe while the server writes.

    Raises: DataValidation when there is no journal, a backup of this name exists, or the copy is not sound; OSError.
    """
    target, unfinished = into / name, into / f".{name}.unfinished"
    if target.exists():
        raise DataValidation(f"{target} exists; a backup is never overwritten: choose another name")
    if not segments_in(journal) and not parquet_folder(journal).exists():
        raise DataValidation(f"{journal}: no journal there; expected files named like 0000000001.segment")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / _JOURNAL).mkdir(parents=True)
    copied = 0
    with _no_compaction(journal):
        segments, compacted = segments_in(journal), parquet_folder(journal)
        # Cursors first: one that is older than the records only makes a database read some of them again.
        files = [*sorted((journal / "cursors").glob("*.json")), *segments[:-1]]
        files += [*sorted(compacted.rglob("*.parquet")), *sorted(compacted.rglob("_manifest.json"))]
        for number, path in enumerate(files):
            copied += _link(path, unfinished / _JOURNAL / path.relative_to(journal))
            progress("copying", number + 1, len(files) + 1)
        for newest in segments[-1:]:
            copy = unfinished / _JOURNAL / newest.name
            shutil.copyfile(newest, copy)
            # What was being written while it was copied is not part of it.
            cut_torn_tail(copy)
            copied += copy.stat().st_size
    if letters.exists():
        queue = DeadLetterQueue(letters)
        queue.backup(unfinished / _LETTERS)
        queue.close()
        copied += (unfinished / _LETTERS).stat().st_size
    for path in configuration:
        if path.is_file():
            (unfinished / _CONFIG).mkdir(exist_ok=True)
            shutil.copyfile(path, unfinished / _CONFIG / path.name)
    sums = _checksums(unfinished, progress)
    verdict = _check(unfinished / _JOURNAL)
    about = {"raven": __version__, "made": datetime.now(UTC).isoformat(timespec="seconds"), "files": sums}
    (unfinished / MANIFEST).write_text(json.dumps(about, indent=1) + "\n")
    _sync_all(unfinished)
    unfinished.rename(target)
    records = sum(topic.records for topic in verdict.topics) if verdict else 0
    return Backup(target, len(sums), sum(entry["bytes"] for entry in sums.values()), copied, records)


def restore(
    backup: Path,
    *,
    journal: Path,
    letters: Path,
    configuration: Path,
    force: bool = False,
    progress: Progress = lambda what, done, of: None,
) -> Backup:
    """Put a backup where the server looks for it. What is there already is moved aside with `force`, never removed.

    Raises: DataValidation when the backup is damaged, something is there already, or the journal is in use; OSError.
    """
    about = _about(backup)
    damaged = [name for name, entry in about["files"].items() if _sum(backup / name) != entry["sha256"]]
    if damaged:
        raise DataValidation(f"{backup / damaged[0]} is not what was backed up; {len(damaged)} file(s) are damaged")
    _refuse_if_in_use(journal)
    aside = f".before-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for path in (journal, letters):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            if not force:
                raise DataValidation(f"{path} exists; --force moves it aside (to {path.name}{aside})")
            path.rename(path.with_name(path.name + aside))
    copied = 0
    for number, name in enumerate(about["files"]):
        source = backup / name
        kind, *rest = Path(name).parts
        target = {_JOURNAL: journal.joinpath(*rest), _LETTERS: letters, _CONFIG: configuration.joinpath(*rest)}[kind]
        if kind == _CONFIG and target.exists() and not force:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.unfinished")
        shutil.copyfile(source, unfinished)
        unfinished.replace(target)
        copied += target.stat().st_size
        progress("restoring", number + 1, len(about["files"]))
    verdict = _check(journal)
    records = sum(topic.records for topic in verdict.topics) if verdict else 0
    return Backup(backup, len(about["files"]), copied, copied, records)


def list_backups(into: Path) -> list[tuple[str, str, int]]:
    """Return name, time and size in bytes of every backup in a folder, oldest first."""
    found = []
    for path in sorted(into.glob(f"*/{MANIFEST}")):
        about = _about(path.parent)
        found.append((path.parent.name, about["made"], sum(entry["bytes"] for entry in about["files"].values())))
    return sorted(found, key=lambda one: one[1])


# --- inside ---------------------------------------------------------------------------------------------


def _link(source: Path, target: Path) -> int:
    """Link a file, or copy it to another disk; return the bytes copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        return target.stat().st_size
    return 0


def _checksums(folder: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {}
    for number, path in enumerate(files):
        sums[str(path.relative_to(folder))] = {"bytes": path.stat().st_size, "sha256": _sum(path)}
        progress("reading back", number + 1, len(files))
    return sums


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return "missing"
    return digest.hexdigest()


def _check(journal: Path) -> Verdict | None:
    """Read the segments of a journal record by record. Raises: DataValidation when one is damaged."""
    if not segments_in(journal):
        return None
    verdict = verify_journal(journal)
    if verdict.damage:
        raise DataValidation(f"{verdict.damage[0]}; the journal it comes from has the same damage: ravenctl verify")
    return verdict


def _about(backup: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((backup / MANIFEST).read_text())
    except FileNotFoundError:
        known = ", ".join(name for name, _, _ in list_backups(backup.parent)) if backup.name else ""
        raise DataValidation(f"{backup} is no backup; there are: {known or 'none'}") from None
    return about


@contextmanager
def _no_compaction(journal: Path) -> Iterator[None]:
    """Keep files from being turned into others; a compaction that is under way is waited for."""
    with (journal / "compaction.lock").open("a") as lock:
        until = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise DataValidation(f"{journal} is being compacted for {_LOCK_S:g} s; try again later") from None
                time.sleep(0.1)
        yield


def _refuse_if_in_use(journal: Path) -> None:
    with suppress(FileNotFoundError), (journal / "journal.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataValidation(f"{journal} is written by a running server; stop it first") from None


def _sync_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

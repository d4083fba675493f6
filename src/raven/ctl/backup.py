"""`ravenctl backup` and `restore`: the journal, the dead letters and the configuration, while the server runs.

A backup is a folder. Files that nobody changes any more are linked, not copied: on the same disk it costs nearly
nothing, and protects from deletion, not from a broken disk; a folder on another disk gets copies of everything.
Every file is read back and its checksum written into `backup.json`; restoring checks them again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from raven import __version__
from raven.errors import DataValidation
from raven.journal import Verdict, verify_journal
from raven.journal.partitions import parquet_folder
from raven.journal.segment import cut_torn_tail, no_journal, segments_in
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
    """Records in it."""
    damage: Sequence[str] = ()
    """What was damaged in the journal before it was backed up."""
    kept: Sequence[Path] = ()
    """Configuration that was there and stayed."""


class _File(msgspec.Struct, frozen=True):
    bytes: int
    sha256: str


class _About(msgspec.Struct, frozen=True):
    """What stands in `backup.json`."""

    raven: str
    made: str
    files: dict[str, _File]

    @property
    def size(self) -> int:
        return sum(file.bytes for file in self.files.values())


def back_up(
    name: str,
    into: Path,
    *,
    journal: Path,
    letters: Path,
    configuration: Sequence[Path] = (),
    progress: Progress = lambda what, done, of: None,
) -> Backup:
    """Make a backup and read it back. Safe while the server writes. What is damaged is backed up as it is, and told.

    Raises: DataValidation when there is no journal or a backup of this name exists; OSError.
    """
    if name != Path(name).name or name.startswith("."):
        raise DataValidation(f"{name!r} is no name for a backup: expected one without / and without a dot in front")
    target, unfinished = into / name, into / f".{name}.unfinished"
    if target.exists():
        raise DataValidation(f"{target} exists; a backup is never overwritten: choose another name")
    if not segments_in(journal) and not parquet_folder(journal).exists():
        raise no_journal(journal)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        copied = _copy(unfinished, journal, letters, configuration, progress)
        sums = _checksums(unfinished, progress)
        verdict = verify_journal(unfinished / _JOURNAL)
        about = _About(__version__, datetime.now(UTC).isoformat(timespec="seconds"), sums)
        (unfinished / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=1) + b"\n")
        _sync_all(unfinished)
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return _made(target, about, verdict, copied)


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

    Nothing changes before everything was copied and read back. Configuration that is there stays without `force`.
    Raises: DataValidation when the backup is damaged, something is there already, or the journal is in use; OSError.
    """
    # On the disk that they really are on, whatever links to them.
    journal, letters, configuration = journal.resolve(), letters.resolve(), configuration.resolve()
    about = _about(backup)
    damaged = [name for name, entry in about.files.items() if _sum(backup / name) != entry.sha256]
    if damaged:
        raise DataValidation(f"{backup / damaged[0]} is not what was backed up; {len(damaged)} file(s) are damaged")
    _refuse_if_in_use(journal)
    aside = f".before-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for path in (journal, letters):
        if not force and path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise DataValidation(f"{path} exists; --force moves it aside (to {path.name}{aside})")
    staged = {path: path.with_name(f".{path.name}.unfinished") for path in (journal, letters, configuration)}
    places = {_JOURNAL: staged[journal], _LETTERS: staged[letters], _CONFIG: staged[configuration]}
    # A restore that was killed may have left some of another backup.
    _remove(staged.values())
    try:
        staged[journal].mkdir(parents=True)
        for number, name in enumerate(about.files):
            kind, *rest = Path(name).parts
            target = places[kind].joinpath(*rest)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(backup / name, target)
            progress("restoring", number + 1, len(about.files))
        verdict = verify_journal(staged[journal])
        for path in places.values():
            _sync_all(path)
        # The write-ahead log of other dead letters must not meet these.
        for path in (journal, letters, *(letters.with_name(letters.name + end) for end in ("-wal", "-shm"))):
            if path.exists() and not (path.is_dir() and not any(path.iterdir())):
                path.rename(path.with_name(_aside(path, letters, aside)))
        _put(staged[journal], journal)
        if staged[letters].exists():
            staged[letters].replace(letters)
        kept = _put_configuration(staged[configuration], configuration, aside, force=force)
    finally:
        _remove(staged.values())
    return replace(_made(backup, about, verdict, about.size), kept=kept)


def list_backups(into: Path) -> list[tuple[str, str, int]]:
    """Return name, time and size in bytes of every backup in a folder that can be read, oldest first."""
    found = []
    for path in into.glob(f"*/{MANIFEST}"):
        with suppress(DataValidation):
            about = _about(path.parent)
            found.append((path.parent.name, about.made, about.size))
    return sorted(found, key=lambda one: one[1])


# --- inside ---------------------------------------------------------------------------------------------


def _copy(unfinished: Path, journal: Path, letters: Path, configuration: Sequence[Path], progress: Progress) -> int:
    """Copy or link everything into a folder; return the bytes copied."""
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
    return copied


def _made(folder: Path, about: _About, verdict: Verdict, copied: int) -> Backup:
    records = sum(topic.records for topic in verdict.topics)
    damage = [str(one) for one in (*verdict.damage, *verdict.problems)]
    return Backup(folder, len(about.files), about.size, copied, records, damage)


def _aside(path: Path, letters: Path, aside: str) -> str:
    """Return the name under which something is moved aside; that of a write-ahead log goes with its database."""
    end = path.name.removeprefix(letters.name)
    return f"{letters.name}{aside}{end}" if end in ("-wal", "-shm") else path.name + aside


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink()


def _put(staged: Path, target: Path) -> None:
    """Let a folder take its place, which is empty or not there."""
    try:
        staged.replace(target)
    except OSError:
        # The place is a disk of its own.
        for path in staged.iterdir():
            shutil.move(path, target / path.name)


def _put_configuration(staged: Path, folder: Path, aside: str, *, force: bool) -> list[Path]:
    """Put files where they belong; return those that others kept out."""
    kept = []
    for path in sorted(staged.glob("*")):
        target = folder / path.name
        if target.exists() and target.read_bytes() != path.read_bytes():
            if not force:
                kept.append(target)
                continue
            target.rename(target.with_name(target.name + aside))
        folder.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    return kept


def _link(source: Path, target: Path) -> int:
    """Link a file, or copy it to another disk; return the bytes copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        return target.stat().st_size
    return 0


def _checksums(folder: Path, progress: Progress) -> dict[str, _File]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {}
    for number, path in enumerate(files):
        sums[str(path.relative_to(folder))] = _File(path.stat().st_size, _sum(path))
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


def _about(backup: Path) -> _About:
    """Read what a backup has. Raises: DataValidation when it is none, or what it says makes no sense."""
    try:
        about = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=_About)
    except (FileNotFoundError, NotADirectoryError):
        known = ", ".join(name for name, _, _ in list_backups(backup.parent)) if backup.name else ""
        raise DataValidation(f"{backup} is no backup; there are: {known or 'none'}") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise DataValidation(f"{backup / MANIFEST} cannot be read ({error}); take another backup") from None
    for name in about.files:
        kind, *rest = Path(name).parts or ("",)
        if kind not in (_JOURNAL, _LETTERS, _CONFIG) or ".." in rest:
            raise DataValidation(f"{backup / MANIFEST} names {name!r}, which belongs nowhere; take another backup")
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
    # Without a lock, or a folder for it, nobody writes.
    with suppress(FileNotFoundError, NotADirectoryError), (journal / "journal.lock").open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataValidation(f"{journal} is written by a running server; stop it first") from None


def _sync_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")] if folder.exists() else []:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

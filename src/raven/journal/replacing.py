"""A folder becomes another one in one step: nobody sees half of the old files and half of the new ones.

The new folder is made beside the Parquet files, in `.replacing`, where nobody looks for them. Then the two change
places. A crash before that leaves everything as it was, one after it leaves the old files to be removed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from raven.journal.partitions import parquet_folder, sync

__all__ = ["begin_replacing", "finish_replacing", "replace_folder"]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# The system, or the file system, cannot do it.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def begin_replacing(journal: Path, folder: Path, without: Collection[str]) -> Path:
    """Return a new folder that has the Parquet files of this one, except some; they are links. Raises: OSError."""
    staged = _stage(journal) / folder.relative_to(parquet_folder(journal))
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    for path in folder.glob("*.parquet"):
        if path.name not in without:
            try:
                os.link(path, staged / path.name)
            except OSError:
                shutil.copyfile(path, staged / path.name)
                sync(staged / path.name)
    return staged


def replace_folder(journal: Path, staged: Path) -> None:
    """Put a folder from `begin_replacing` where the old one is, and remove that one. Raises: OSError."""
    folder = parquet_folder(journal) / staged.relative_to(_stage(journal))
    sync(staged)
    try:
        _exchange(staged, folder)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        # In two steps, then. Between them the records are nowhere to be seen; see `finish_replacing`.
        old = staged.with_name(f"old-{staged.name}")
        folder.rename(old)
        staged.rename(folder)
        sync(folder.parent)
        shutil.rmtree(old)
        return
    sync(folder.parent)
    shutil.rmtree(staged)


def finish_replacing(journal: Path) -> None:
    """Tidy up what a crash left. Raises: OSError."""
    stage = _stage(journal)
    for staged in stage.glob("date=*/venue=*/type=*/symbol=*"):
        folder = parquet_folder(journal) / staged.relative_to(stage)
        if not folder.exists():
            staged.rename(folder)
            sync(folder.parent)
    if stage.exists():
        shutil.rmtree(stage)


def _stage(journal: Path) -> Path:
    return journal / ".replacing"


def _exchange(one: Path, other: Path) -> None:
    """Let two folders change places. Raises: OSError."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))

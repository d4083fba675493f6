"""A disk with room for little, and how to take that."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

__all__ = ["SMALL_DISK_BYTES", "fill", "small_disk"]

SMALL_DISK_BYTES = 4 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(ballast: Path) -> None:
    """Take all room of the file system that a new file stands on, while others take and give back some."""
    with ballast.open("wb") as file:
        for _ in range(1_000):
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, ballast.stat().st_size + shutil.disk_usage(ballast.parent).free)
                return
    raise AssertionError(f"{ballast.parent} cannot be filled")

"""D9 for the whole program: a second server on the journal of the first is refused, and harms nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raven.journal import verify_journal
from raven.journal.segment import segments_in

pytestmark = pytest.mark.fault("D9")


def test_a_second_server_on_one_journal_names_the_first_and_ends(
    program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "journal"
    monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(folder))
    with program("--demo") as first:
        deadline = time.monotonic() + 20
        while not segments_in(folder):
            assert time.monotonic() < deadline, first.lines[-3:]
            time.sleep(0.02)

        main = "import sys; from raven.app.cli import main; sys.argv[0] = 'raven'; main()"
        second = subprocess.run(
            [sys.executable, "-c", main, "--demo", "--plain", "--port", "0", "--monitoring-port", "0"],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src")},
            cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

        assert second.returncode == 2
        said = second.stdout + second.stderr
        assert f"journal.dir: {folder} is written by another process (pid {first.process.pid})" in said
        assert "Traceback" not in said
        assert first.process.is_running()
        assert first.end(signal.SIGTERM) == 0
    assert len(segments_in(folder)) == 1
    assert verify_journal(folder).is_sound

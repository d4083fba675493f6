"""D7 for the whole server: dead letters are tried again while it runs, with `ravenctl`; each is delivered once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.servers.postgres import PostgresServer, postgres_server

from raven.journal import Batch, read_journal
from raven.journal.cursors import load_cursor
from raven.records import Kind
from raven.sinks.postgres import schema_sql

__all__ = ["postgres_server"]

pytestmark = [pytest.mark.fault("D7"), pytest.mark.timeout(180)]

CTL = "import sys; from raven.ctl.cli import main; sys.argv[0] = 'ravenctl'; main()"


def until(holds: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_letters_go_in_when_the_cause_is_mended_and_asking_twice_delivers_once(
    program: Callable[..., Any], postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters, journal = tmp_path / "letters.sqlite", tmp_path / "journal"
    monkeypatch.setenv("RAVEN__TIMESCALE__URL", postgres_server.url)
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(journal))
    monkeypatch.setenv("RAVEN__SINKS__DEAD_LETTERS", str(letters))
    monkeypatch.setenv("RAVEN__SINKS__BATCH_INTERVAL_MS", "50")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3] / "src"))

    def dlq(*arguments: str) -> str:
        command = [sys.executable, "-c", CTL, "dlq", *arguments, "--file", str(letters)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def left() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(dlq("list", "--json", "--limit", "1000"))
        return rows

    postgres_server.query(schema_sql())
    postgres_server.query("ALTER TABLE raven.trades ADD CONSTRAINT odd CHECK (symbol <> 'SOLUSDT' OR id % 2 = 0)")
    with program("--demo") as server:
        until(lambda: letters.exists() and len(left()) > 5, "records are refused")
        assert {row["symbol"] for row in left()} == {"SOLUSDT"}
        assert "odd" in dlq("show", str(left()[0]["number"]))

        # The cause is still there: a try is counted, and each comes back with the database's words.
        first = str(left()[0]["number"])
        assert "1 letter(s) would be tried again" in dlq("retry", first, "--dry-run")
        assert left()[0]["attempts"] == 0
        dlq("retry", first)
        until(lambda: left()[0]["attempts"] == 1 and left()[0]["state"] == "waiting", "it was tried, and refused")

        postgres_server.query("ALTER TABLE raven.trades DROP CONSTRAINT odd")
        for _ in range(3):
            dlq("retry", "--all", "--source", "timescale")
        until(lambda: not left(), "all are delivered")
        wanted = load_cursor(journal, "timescale").rows + 100
        until(lambda: load_cursor(journal, "timescale").rows > wanted, "it goes on with what comes")
        assert "0 letter(s) will be" in dlq("retry", "--all")
        assert server.end(signal.SIGTERM) == 0

    kept = Counter[str]()
    for batch in read_journal(journal, [Kind.TRADE]):
        assert isinstance(batch, Batch)
        kept.update(batch.topics[topic].symbol for topic in batch.records["topic"].to_pylist())
    rows = postgres_server.query("SELECT symbol, count(*), count(DISTINCT id) FROM raven.trades GROUP BY symbol")
    assert sorted(rows) == sorted(f"{symbol}|{count}|{count}" for symbol, count in kept.items())

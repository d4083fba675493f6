"""The whole program and a real database: after `kill -9` and a restart it has what the journal has."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.servers.influx import InfluxServer, influx_server
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.questdb import QuestdbServer, questdb_server

from raven.journal import Batch, read_journal
from raven.journal.cursors import load_cursor
from raven.records import Kind

__all__ = ["influx_server", "postgres_server", "questdb_server"]

Database = InfluxServer | PostgresServer | QuestdbServer
SECTIONS = {InfluxServer: "INFLUX", PostgresServer: "TIMESCALE", QuestdbServer: "QUESTDB"}

NAMES = {Kind.TRADE: "trades", Kind.QUOTE: "quotes", Kind.BOOK: "orderbook"}


@pytest.fixture(params=["influx", "postgres", "questdb"])
def database(request: pytest.FixtureRequest) -> Database:
    made: Database = request.getfixturevalue(f"{request.param}_server")
    return made


def kept(folder: Path) -> Counter[str]:
    """Count what the journal has, by table."""
    counts: Counter[str] = Counter()
    for item in read_journal(folder, list(NAMES)):
        if isinstance(item, Batch):
            counts[NAMES[item.kind]] += len(item.records)
    return counts


def test_a_database_has_what_the_journal_has_also_after_a_crash(
    database: Database, program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = SECTIONS[type(database)]
    folder = tmp_path / "journal"
    monkeypatch.setenv(f"RAVEN__{section}__URL", database.url)
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(folder))
    monkeypatch.setenv("RAVEN__SINKS__DEAD_LETTERS", str(tmp_path / "letters.sqlite"))
    monkeypatch.setenv("RAVEN__SINKS__BATCH_INTERVAL_MS", "50")
    for how in (signal.SIGKILL, signal.SIGTERM):
        with program("--demo") as raven:
            before = load_cursor(folder, section.lower()).rows
            deadline = time.monotonic() + 30
            while load_cursor(folder, section.lower()).rows < before + 500:
                assert time.monotonic() < deadline, raven.lines[-3:]
                time.sleep(0.02)
            raven.end(how)

    # A stop gives a database that is well the time to take the rest.
    counts = kept(folder)

    assert min(counts.values()) > 0
    assert {table: database.count(table) for table in counts} == dict(counts)

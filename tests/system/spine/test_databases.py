"""The whole program and a real database: after `kill -9` and a restart it has what the journal has."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.servers.influx import InfluxServer, influx_server
from tests.servers.postgres import PostgresServer, folder_for_postgres, postgres_server, skip_without_postgres
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


def health(http: str) -> Any:
    """Ask the program how it is."""
    with urllib.request.urlopen(f"{http}/health", timeout=5) as answer:
        return json.load(answer)


def degraded(said: Any) -> list[str]:
    """Name the components that are degraded; others may still be starting."""
    return [name for name, component in said["components"].items() if component["status"] == "degraded"]


def until(ask: Callable[[], Any], is_it: Callable[[Any], bool], seconds: float = 30.0) -> Any:
    """Ask until the answer is right; return it."""
    deadline = time.monotonic() + seconds
    while not is_it(said := ask()):
        assert time.monotonic() < deadline, said
        time.sleep(0.02)
    return said


def kept(folder: Path) -> Counter[str]:
    """Count what the journal has, by table."""
    counts: Counter[str] = Counter()
    for item in read_journal(folder, list(NAMES)):
        if isinstance(item, Batch):
            counts[NAMES[item.kind]] += len(item.records)
    return counts


@pytest.mark.fault("P1")
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


@pytest.mark.fault("P6")
def test_a_database_that_is_not_there_yet_is_no_reason_not_to_start(
    program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without_postgres()
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(tmp_path / "journal"))
    monkeypatch.setenv("RAVEN__SINKS__DEAD_LETTERS", str(tmp_path / "letters.sqlite"))
    with folder_for_postgres() as folder:
        server = PostgresServer(folder)
        monkeypatch.setenv("RAVEN__TIMESCALE__URL", server.url)
        with program("--demo") as raven:
            said = until(lambda: health(raven.http), lambda said: "timescale" in degraded(said))
            assert "of the journal are not written yet" in said["components"]["timescale"]["reason"]
            assert said["status"] == "degraded"
            server.start()
            try:
                until(lambda: load_cursor(tmp_path / "journal", "timescale").rows, lambda rows: rows > 500)
                assert server.count("trades") > 0
                until(lambda: health(raven.http), lambda said: said["status"] == "healthy")
                raven.end(signal.SIGTERM)
            finally:
                server.stop()

"""What each database takes from a journal: rows a second from the first read to the last synced cursor.

    python benches/sinks.py [--rows 1000000] [--rounds 3]

Each round starts a private server on the same machine, brings a journal of trades (three in each millisecond, three
symbols) into it through cursor, breaker and sink, counts what is there, and then does all of it again: every row comes
a second time and none is added. `lines` is the writing of the lines alone, on one core. Needs `influxd` (Debian's
package `influxdb`), PostgreSQL (Debian's `postgresql`), and for QuestDB a Java and its jar (tests/servers/questdb.py);
what is not there is skipped. Writes `results/sinks.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from system_parts import ROOT, keep

sys.path.insert(0, str(ROOT))

from tests.batches import trades
from tests.servers.influx import InfluxServer, require_influxd
from tests.servers.postgres import PostgresServer, folder_for_postgres, skip_without_postgres
from tests.servers.questdb import QuestdbServer, require_questdb

from raven._core import Hub
from raven.journal import Journal
from raven.journal.cursors import Position, load_cursor, save_cursor
from raven.ports import Sink, SinkBatch
from raven.resilience.breaker import BreakerSettings, CircuitBreaker
from raven.resilience.dead_letters import DeadLetterQueue
from raven.roles.persistence import Persistence
from raven.sinks.influx import InfluxSink, influx_lines
from raven.sinks.postgres import TABLES, PostgresSink, copy_text
from raven.sinks.questdb import QuestdbSink, questdb_lines
from raven.topics import DataType

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
START_MS = 1_700_000_000_000
STEP = 30_000


def write_journal(folder: Path, rows: int) -> None:
    """Write a journal of trades as an exchange sends them."""
    hub = Hub()
    journal = Journal(hub, folder)
    journal.open()
    topics = [hub.create_topic("binance_futures", symbol, int(DataType.TRADES), 1 << 24) for symbol in SYMBOLS]
    for number in range(1, rows + 1):
        moment = (START_MS + number // 9) * 1_000_000
        topics[number % 3].trade(
            moment + 2_345_678, moment, 3_000_000_000 + number, 618_000 + number * 7 % 5_000, 1 + number * 13 % 90_000,
            price_scale=1, quantity_scale=3, taker_sells=number % 2 == 0,
        )  # fmt: skip
        if number % STEP == 0:
            journal.turn()
    journal.close()


async def bring(sink: Sink, journal: Path, rows: int) -> float:
    """Bring all of a journal into a database; return the seconds."""
    letters = DeadLetterQueue(journal.parent / "letters.sqlite")
    breaker = CircuitBreaker("bench", BreakerSettings())
    save_cursor(journal, "bench", Position())
    persistence = Persistence("bench", sink, journal, breaker=breaker, letters=letters)
    began = time.perf_counter()
    task = asyncio.create_task(persistence.run())
    while load_cursor(journal, "bench").rows < rows:  # noqa: ASYNC110 - a file says it
        await asyncio.sleep(0.005)
    took = time.perf_counter() - began
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not letters.letters(), "records were refused"
    letters.close()
    return took


@dataclass(frozen=True, slots=True)
class Database:
    """One that is measured."""

    require: Callable[[], None]
    """Raises when it is not installed."""
    server: Callable[[Path], Any]
    sink: Callable[[str], Sink]
    count: Callable[[Any], int]
    """Trades that are there."""
    encode: Callable[[SinkBatch], Any]
    """What it is sent: its length in bytes is asked of `size`."""
    size: Callable[[Any], int]


def _size_of_lines(lines: Any) -> int:
    return sum(len(body) for body in lines.bodies(1 << 20))


DATABASES = {
    "influx": Database(
        require_influxd, InfluxServer, InfluxSink, lambda server: server.count("trades"), influx_lines, _size_of_lines
    ),
    "questdb": Database(
        require_questdb,
        QuestdbServer,
        QuestdbSink,
        lambda server: server.count("trades"),
        questdb_lines,
        _size_of_lines,
    ),
    "timescale": Database(
        skip_without_postgres,
        PostgresServer,
        PostgresSink,
        lambda server: int(server.query("SELECT count(*) FROM raven.trades")[0]),
        lambda batch: copy_text(batch.records, TABLES["trades"]),
        len,
    ),
}


def one_round(database: Database, rows: int, journal: Path) -> dict[str, Any]:
    """Start a server and write everything twice."""
    with folder_for_postgres() as folder:
        server = database.server(folder)
        server.start()
        try:
            result: dict[str, Any] = {"rows": rows}
            for what in ("new", "again"):
                took = asyncio.run(bring(database.sink(server.url), journal, rows))
                result[f"{what}_rows_per_second"] = round(rows / took)
                stored = database.count(server)
                assert stored == rows, f"{stored} of {rows} rows are there"
            return result
        finally:
            server.stop()


def lines_per_second(database: Database) -> dict[str, Any]:
    """Write lines on one core."""
    batch = trades(50_000)
    database.encode(batch)
    began = time.perf_counter()
    for _ in range(5):
        made = database.encode(batch)
    took = time.perf_counter() - began
    count = len(batch.records)
    return {"rows_per_second": round(5 * count / took), "bytes_per_row": round(database.size(made) / count, 1)}


def main() -> None:
    """Measure all of them."""
    options = argparse.ArgumentParser(description="What each database takes from a journal.")
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", choices=sorted(DATABASES), default="")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="raven-journal-") as folder:
        journal = Path(folder) / "journal"
        write_journal(journal, chosen.rows)
        for name, database in DATABASES.items():
            if chosen.only not in ("", name):
                continue
            try:
                database.require()
            except pytest.skip.Exception as why:
                print(f"{name}: skipped, {why}")
                continue
            rounds = [one_round(database, chosen.rows, journal) for _ in range(chosen.rounds)]
            keep("sinks", name, rounds, "trades, keys and idempotence included")
            keep("sinks", f"{name} lines", [lines_per_second(database)], "one core")


if __name__ == "__main__":
    main()

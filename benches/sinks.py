"""What each database takes from a journal: rows a second from the first read to the last synced cursor.

    python benches/sinks.py [--rows 1000000] [--rounds 3] [--of trades|tick_bars]

Each round starts a private server on the same machine, brings a journal of trades (three in each millisecond, three
symbols), or of bars of one such trade each, into it through cursor, breaker and sink, counts what is there, and then
does all of it again: every row comes a second time and none is added. `lines` is the writing of the lines alone, on one
core. Needs `influxd` (Debian's
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

from tests.batches import tick_bars, trades
from tests.servers.influx import InfluxServer, require_influxd
from tests.servers.postgres import PostgresServer, folder_for_postgres, skip_without_postgres
from tests.servers.questdb import QuestdbServer, require_questdb

from raven._core import BarSpec, Hub, LiveBars
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
RECORDS: dict[str, Callable[[int], SinkBatch]] = {"trades": trades, "tick_bars": tick_bars}
START_MS = 1_700_000_000_000
STEP = 30_000


def write_journal(folder: Path, rows: int, of: str) -> None:
    """Write a journal of trades as an exchange sends them, or of the bars that are made of them."""
    hub, bars_hub = Hub(), Hub()
    live = LiveBars(BarSpec("tick", [1.0]), hub, bars_hub)
    journal = Journal(hub if of == "trades" else bars_hub, folder)
    journal.open()
    topics = [hub.create_topic("binance_futures", symbol, int(DataType.TRADES), 1 << 24) for symbol in SYMBOLS]
    for topic in topics if of == "tick_bars" else ():
        live.add(topic.topic_id, ring_bytes=1 << 24)
    for number in range(1, rows + 1):
        moment = (START_MS + number // 9) * 1_000_000
        topics[number % 3].trade(
            moment + 2_345_678, moment, 3_000_000_000 + number, 618_000 + number * 7 % 5_000, 1 + number * 13 % 90_000,
            price_scale=1, quantity_scale=3, taker_sells=number % 2 == 0,
        )  # fmt: skip
        if number % STEP == 0:
            live.step(0, STEP)
            journal.turn()
    live.step(0, STEP)
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
    count: Callable[[Any, str], int]
    """Rows of a type that are there."""
    encode: Callable[[SinkBatch], Any]
    """What it is sent: its length in bytes is asked of `size`."""
    size: Callable[[Any], int]


def _size_of_lines(lines: Any) -> int:
    return sum(len(body) for body in lines.bodies(1 << 20))


DATABASES = {
    "influx": Database(
        require_influxd,
        InfluxServer,
        InfluxSink,
        lambda server, of: server.count(of),
        influx_lines,
        _size_of_lines,
    ),
    "questdb": Database(
        require_questdb,
        QuestdbServer,
        QuestdbSink,
        lambda server, of: server.count(of),
        questdb_lines,
        _size_of_lines,
    ),
    "timescale": Database(
        skip_without_postgres,
        PostgresServer,
        PostgresSink,
        lambda server, of: int(server.query(f"SELECT count(*) FROM raven.{of}")[0]),
        lambda batch: copy_text(batch.records, TABLES[batch.type]),
        len,
    ),
}


def one_round(database: Database, rows: int, journal: Path, of: str) -> dict[str, Any]:
    """Start a server and write everything twice."""
    with folder_for_postgres() as folder:
        server = database.server(folder)
        server.start()
        try:
            result: dict[str, Any] = {"rows": rows}
            for what in ("new", "again"):
                took = asyncio.run(bring(database.sink(server.url), journal, rows))
                result[f"{what}_rows_per_second"] = round(rows / took)
                stored = database.count(server, of)
                assert stored == rows, f"{stored} of {rows} rows are there"
            return result
        finally:
            server.stop()


def lines_per_second(database: Database, of: str) -> dict[str, Any]:
    """Write lines on one core."""
    batch = RECORDS[of](50_000)
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
    options.add_argument("--of", choices=list(RECORDS), default="trades")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="raven-journal-") as folder:
        journal = Path(folder) / "journal"
        write_journal(journal, chosen.rows, chosen.of)
        for name, database in DATABASES.items():
            if chosen.only not in ("", name):
                continue
            try:
                database.require()
            except pytest.skip.Exception as why:
                print(f"{name}: skipped, {why}")
                continue
            rounds = [one_round(database, chosen.rows, journal, chosen.of) for _ in range(chosen.rounds)]
            named = name if chosen.of == "trades" else f"{name} {chosen.of}"
            keep("sinks", named, rounds, f"{chosen.of}, keys and idempotence included")
            keep("sinks", f"{named} lines", [lines_per_second(database, chosen.of)], "one core")


if __name__ == "__main__":
    main()

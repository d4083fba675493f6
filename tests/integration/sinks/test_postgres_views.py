"""The views of deploy/sql/views.sql, on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.batches import START_NS, bars, books, gaps, tick_bars, trades
from tests.servers.postgres import PostgresServer

from raven.ports import SinkBatch
from raven.sinks.postgres import PostgresSink

SQL = Path(__file__).resolve().parents[3] / "deploy" / "sql"


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> PostgresServer:
    """Tables and views made with the files, and nothing else."""
    postgres_server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    for name in ("postgres.sql", "views.sql", "postgres.sql", "views.sql"):
        postgres_server.query((SQL / name).read_text())
    return postgres_server


async def write(server: PostgresServer, *batches: SinkBatch) -> None:
    sink = PostgresSink(server.url)
    await sink.open()
    for one in batches:
        await sink.write(one)
    await sink.close()


async def test_views_say_what_was_written(database: PostgresServer) -> None:
    whole = trades(10, exchange_ns=START_NS, price=[5, 9, 1, 2, 3, 3, 3, 3, 3, 7], quantity=1000)
    missing_4 = SinkBatch("trades", whole.records.take([0, 1, 2, 4, 5, 6, 7, 8, 9]))
    await write(database, missing_4, books(1, levels=3), gaps(2), bars(3), tick_bars(2))

    (bar,) = database.query("SELECT open, high, low, close, volume, ticks FROM raven.bars_1m")
    assert bar == "0.5|0.9|0.1|0.7|9|9"
    assert database.query("SELECT first_id, last_id, missing FROM raven.missing_trade_ids") == ["4|4|1"]
    assert database.query("SELECT level, price, quantity FROM raven.book_levels WHERE side = 'bid' ORDER BY level") == [
        "1|61799.9|0.01",
        "2|61799.8|0.011",
        "3|61799.7|0.012",
    ]
    assert database.query("SELECT sum(gaps) FROM raven.gaps_by_day") == ["2"]
    of_bars = "SELECT kind, interval, count(*), min(round(vwap, 2)), max(total_ticks) FROM raven.bars GROUP BY 1, 2"
    assert sorted(database.query(of_bars)) == ["tick|tick_10|2|61800.00|100", "time|1m|3|61800.00|100"]
    assert database.query("SELECT * FROM raven.last_trades") == [], "those are years old"

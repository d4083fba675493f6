"""W5: many trades in one millisecond, and a late one. By itself InfluxDB keeps one point for each moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pipeline import Pipeline
from tests.servers.influx import InfluxServer, influx_server
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.questdb import QuestdbServer, questdb_server

from raven.sinks.influx import InfluxSink
from raven.sinks.postgres import PostgresSink
from raven.sinks.questdb import QuestdbSink

__all__ = ["influx_server", "postgres_server", "questdb_server"]

pytestmark = pytest.mark.fault("W5")

MOMENT_NS = 1_700_000_000_000 * 1_000_000


async def test_influx_keeps_ten_thousand_trades_of_one_millisecond_and_a_late_one(
    influx_server: InfluxServer, tmp_path: Path
) -> None:
    async with Pipeline(tmp_path, InfluxSink(influx_server.url)) as pipeline:
        pipeline.publish(10_000, exchange_ns=MOMENT_NS)
        pipeline.publish(1_000)
        pipeline.publish(1, exchange_ns=MOMENT_NS)
        await pipeline.all_written()

        within = f"time >= {MOMENT_NS} AND time < {MOMENT_NS + 1_000_000}"
        (row,) = influx_server.query(f'SELECT COUNT("id") AS points FROM "trades" WHERE {within}')
        assert row["points"] == 10_001
        assert influx_server.count("trades") == 11_001


async def test_questdb_keeps_them_with_the_exchange_s_own_time(questdb_server: QuestdbServer, tmp_path: Path) -> None:
    async with Pipeline(tmp_path, QuestdbSink(questdb_server.url)) as pipeline:
        pipeline.publish(10_000, exchange_ns=MOMENT_NS)
        pipeline.publish(1_000)
        pipeline.publish(1, exchange_ns=MOMENT_NS)
        await pipeline.all_written()

        assert questdb_server.count("trades") == 11_001
        (row,) = questdb_server.query(
            "SELECT count() AS rows FROM trades WHERE exchange_time = '2023-11-14T22:13:20.000000000Z'"
        )
        assert row["rows"] == 10_001


async def test_postgres_keeps_them_by_the_exchange_s_id(postgres_server: PostgresServer, tmp_path: Path) -> None:
    async with Pipeline(tmp_path, PostgresSink(postgres_server.url)) as pipeline:
        pipeline.publish(10_000, exchange_ns=MOMENT_NS)
        pipeline.publish(1_000)
        pipeline.publish(1, exchange_ns=MOMENT_NS)
        await pipeline.all_written()

        assert postgres_server.count("trades") == 11_001
        at = "WHERE exchange_time = '2023-11-14 22:13:20+00'"
        assert postgres_server.query(f"SELECT count(*) FROM raven.trades {at}") == ["10001"]

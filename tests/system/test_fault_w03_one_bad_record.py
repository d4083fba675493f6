"""W3: a real database refuses one record of 5,000. It goes to the dead letters, and its neighbours are stored."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.pipeline import Pipeline, until
from tests.servers.influx import InfluxServer, influx_server
from tests.servers.influx_v2 import InfluxV2
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.questdb import QuestdbServer, questdb_server

from raven.sinks.influx import InfluxSink
from raven.sinks.postgres import PostgresSink, schema_sql
from raven.sinks.questdb import QuestdbSink

__all__ = ["influx_server", "postgres_server", "questdb_server"]

pytestmark = pytest.mark.fault("W3")

MS = 1_000_000
LONG_AGO = 1_500_000_000_000 * MS


async def publish_with_one_bad(pipeline: Pipeline) -> None:
    pipeline.publish(1_233)
    pipeline.publish(1, exchange_ns=LONG_AGO)
    pipeline.publish(3_766)
    await pipeline.all_written()


@pytest.mark.parametrize("version", [1, 2])
async def test_one_record_of_another_type_is_the_only_one_that_influx_misses(
    influx_server: InfluxServer, tmp_path: Path, version: int
) -> None:
    influx_server.query('CREATE DATABASE "market_data"')
    # Somebody wrote text where prices go. Types hold for a shard, which is a week: only the old record meets it.
    influx_server.post(f'trades,venue=other price="a text" {LONG_AGO}\n')
    v2 = InfluxV2(influx_server)
    await v2.start()
    sink = InfluxSink(influx_server.url) if version == 1 else InfluxSink(v2.url, token=v2.token, org=v2.org)
    async with Pipeline(tmp_path, sink) as pipeline:
        await publish_with_one_bad(pipeline)

        assert influx_server.count("trades", "id") == 4_999
        (letter,) = pipeline.letters.letters()
        assert "id 1234 " in letter.key
        assert "field type conflict" in letter.reason
        assert not pipeline.opened_breaker
        # The batch is not tried again for ever.
        assert v2.writes < 100
    await v2.stop()


async def test_one_record_that_its_column_cannot_hold_is_the_only_one_that_questdb_misses(
    questdb_server: QuestdbServer, tmp_path: Path
) -> None:
    # The table of somebody who is sure that the exchange never has more than 1,000 fills in a trade.
    questdb_server.query(
        "CREATE TABLE trades (exchange_time TIMESTAMP_NS, venue SYMBOL, symbol SYMBOL, id LONG, quantity DECIMAL(3,3))"
        " TIMESTAMP(exchange_time) PARTITION BY DAY WAL DEDUP UPSERT KEYS(exchange_time, venue, symbol, id)"
    )
    async with Pipeline(tmp_path, QuestdbSink(questdb_server.url)) as pipeline:
        # Quantities rise by 0.001 with each id: that of id 999 is 1.000.
        pipeline.publish(999)
        await pipeline.all_written()

        assert questdb_server.count("trades") == 998
        (letter,) = pipeline.letters.letters()
        assert "id 999 " in letter.key
        assert not pipeline.opened_breaker


async def test_one_record_against_a_rule_is_the_only_one_that_postgres_misses_until_the_rule_is_gone(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    postgres_server.query(schema_sql())
    postgres_server.query("ALTER TABLE raven.trades ADD CONSTRAINT recent CHECK (exchange_time > '2020-01-01')")
    async with Pipeline(tmp_path, PostgresSink(postgres_server.url)) as pipeline:
        await publish_with_one_bad(pipeline)

        assert postgres_server.query("SELECT count(*), sum(id) FROM raven.trades") == [
            f"4999|{5_000 * 5_001 // 2 - 1_234}"
        ]
        (letter,) = pipeline.letters.letters()
        assert "id 1234 " in letter.key
        assert 'violates check constraint "recent"' in letter.reason
        assert not pipeline.opened_breaker

        postgres_server.query("ALTER TABLE raven.trades DROP CONSTRAINT recent")
        pipeline.letters.ask_retry([letter.number])

        await until(lambda: not pipeline.letters.letters())
        assert postgres_server.query("SELECT count(*) FROM raven.trades") == ["5000"]


async def test_a_letter_goes_in_when_its_reason_is_gone(influx_server: InfluxServer, tmp_path: Path) -> None:
    influx_server.query('CREATE DATABASE "market_data"')
    influx_server.post(f'trades,venue=other price="a text" {LONG_AGO}\n')
    async with Pipeline(tmp_path, InfluxSink(influx_server.url)) as pipeline:
        await publish_with_one_bad(pipeline)
        (letter,) = pipeline.letters.letters()

        influx_server.query(f"DROP SHARD {shard_of(influx_server, LONG_AGO)}")
        pipeline.letters.ask_retry([letter.number])

        await until(lambda: not pipeline.letters.letters())
        assert influx_server.count("trades", "id") == 5_000


def shard_of(server: InfluxServer, time_ns: int) -> int:
    """Return the number of the shard that has a time."""
    day = time.strftime("%Y-%m-%d", time.gmtime(time_ns / 1e9))
    return next(
        row["id"] for row in server.query("SHOW SHARDS") if row["start_time"][:10] <= day < row["end_time"][:10]
    )

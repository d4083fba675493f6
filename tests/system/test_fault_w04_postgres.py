"""W4: whatever ends the connections to PostgreSQL, five seconds after it is well again records are written again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from tests.pipeline import Pipeline, until
from tests.servers.postgres import PostgresServer, folder_for_postgres, skip_without_postgres

from raven.config.backends import SinksSettings
from raven.roles.persistence import PersistenceSettings
from raven.sinks.postgres import PostgresSink

pytestmark = [pytest.mark.fault("W4"), pytest.mark.timeout(300)]

HEALED_WITHIN_S = 5.0
CONNECTIONS = 8


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    skip_without_postgres()
    with folder_for_postgres() as folder:
        server = PostgresServer(folder, f"max_connections={CONNECTIONS}", "superuser_reserved_connections=0")
        server.start()
        yield server
        server.stop()


@pytest.fixture
async def pipeline(server: PostgresServer, tmp_path: Path) -> AsyncIterator[Pipeline]:
    """One that writes already, and pauses between attempts as the built-in configuration says."""
    if not server.is_running:
        server.start()
    server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    pauses = SinksSettings()
    settings = PersistenceSettings(
        batch_s=0.05,
        first_pause_s=pauses.retry_delay_ms / 1000,
        longest_pause_s=pauses.max_retry_delay_ms / 1000,
    )
    async with Pipeline(tmp_path, PostgresSink(server.url, answer_timeout_s=1.0), settings=settings) as pipeline:
        pipeline.publish(1_000)
        await pipeline.all_written()
        yield pipeline


async def fails_for_a_while(pipeline: Pipeline, seconds: float = 2.0) -> None:
    """Publish until the database has been given up, and then on until pauses are at their longest."""
    await pipeline.publish_for(seconds, 500)
    await until(lambda: pipeline.opened_breaker)


async def heals(pipeline: Pipeline, server: PostgresServer) -> None:
    """Prove that everything is there soon, and once."""
    began = time.monotonic()
    pipeline.publish(100)
    await pipeline.all_written()
    took = time.monotonic() - began
    print(f"W4: everything written {took:.2f} s after the database was well again")
    assert took < HEALED_WITHIN_S
    stored = server.query("SELECT count(*), count(DISTINCT id), sum(id) FROM raven.trades")
    count, ids = pipeline.journalled()
    assert stored == [f"{count}|{count}|{ids}"]
    assert count == pipeline.published
    assert pipeline.letters.letters() == []


async def test_killed(pipeline: Pipeline, server: PostgresServer) -> None:
    server.kill()
    await fails_for_a_while(pipeline)
    await asyncio.to_thread(server.start)
    await heals(pipeline, server)


async def test_restarted_in_order(pipeline: Pipeline, server: PostgresServer) -> None:
    await asyncio.to_thread(server.stop)
    await fails_for_a_while(pipeline)
    await asyncio.to_thread(server.start)
    await heals(pipeline, server)


async def test_hanging(pipeline: Pipeline, server: PostgresServer) -> None:
    server.suspend()
    await fails_for_a_while(pipeline, seconds=4)
    server.resume()
    await heals(pipeline, server)


async def test_connections_ended_by_an_administrator_again_and_again(
    pipeline: Pipeline, server: PostgresServer
) -> None:
    """57P01, admin_shutdown."""
    load = asyncio.create_task(pipeline.publish_for(3, 2_000))
    ended = 0
    while not load.done():
        rows = await asyncio.to_thread(
            server.query, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'raven'"
        )
        ended += len(rows)
        await asyncio.sleep(0.2)
    assert ended > CONNECTIONS
    await heals(pipeline, server)


async def test_read_only_after_a_failover(pipeline: Pipeline, server: PostgresServer) -> None:
    """25006: the server that is left is still a standby, say."""
    server.query("ALTER SYSTEM SET default_transaction_read_only = on")
    server.query("SELECT pg_reload_conf()")
    await fails_for_a_while(pipeline)
    server.query("ALTER SYSTEM RESET default_transaction_read_only")
    server.query("SELECT pg_reload_conf()")
    await heals(pipeline, server)


async def test_out_of_connections(pipeline: Pipeline, server: PostgresServer) -> None:
    """53300: others hold all that the server gives."""
    async with AsyncExitStack() as others:
        held = 0
        while held < CONNECTIONS:
            try:
                other = await asyncpg.connect(server.url)
            except asyncpg.TooManyConnectionsError:
                continue
            others.push_async_callback(other.close)
            held += 1
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'raven'"
            )
        await fails_for_a_while(pipeline)
    await heals(pipeline, server)


async def test_a_database_that_was_dropped_and_made_again_gets_its_tables(
    pipeline: Pipeline, server: PostgresServer
) -> None:
    server.query("DROP SCHEMA raven CASCADE")
    gone = pipeline.published
    pipeline.publish(1_000)
    await pipeline.all_written()
    assert server.query("SELECT min(id), count(*) FROM raven.trades") == [f"{gone + 1}|1000"]

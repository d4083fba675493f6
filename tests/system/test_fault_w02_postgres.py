"""W2: the way to PostgreSQL fails before, within and after a commit. What was taken without an answer is there once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.pipeline import Pipeline, until
from tests.servers.chaos_proxy import ChaosProxy, Fault
from tests.servers.postgres import PostgresServer, postgres_server
from yarl import URL

from raven.sinks.postgres import PostgresSink

__all__ = ["postgres_server"]

pytestmark = pytest.mark.fault("W2")


@pytest.fixture
async def proxy(postgres_server: PostgresServer) -> AsyncIterator[ChaosProxy]:
    postgres_server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    async with ChaosProxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
async def pipeline(postgres_server: PostgresServer, proxy: ChaosProxy, tmp_path: Path) -> AsyncIterator[Pipeline]:
    """One that writes through the proxy already."""
    url = str(URL(postgres_server.url).with_port(proxy.port))
    async with Pipeline(tmp_path, PostgresSink(url, answer_timeout_s=1.0)) as pipeline:
        pipeline.publish(100)
        await pipeline.all_written()
        yield pipeline


async def everything_is_there_once(pipeline: Pipeline, server: PostgresServer) -> None:
    await pipeline.all_written()
    count, ids = pipeline.journalled()
    assert count == pipeline.published
    assert server.query("SELECT count(*), count(DISTINCT id), sum(id) FROM raven.trades") == [f"{count}|{count}|{ids}"]
    assert pipeline.letters.letters() == []


async def test_no_answer_to_a_commit_that_was_made(pipeline: Pipeline, postgres_server: PostgresServer) -> None:
    """The server commits, and waits for a standby that does not exist before it says so."""
    postgres_server.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    postgres_server.query("SELECT pg_reload_conf()")
    try:
        await pipeline.publish_for(2, 2_000)
        await until(lambda: pipeline.opened_breaker)
        assert pipeline.breaker.last_failure == "timescale: no answer in time"
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        assert postgres_server.query(waiting) != ["0"]
    finally:
        postgres_server.query("ALTER SYSTEM RESET synchronous_standby_names")
        postgres_server.query("SELECT pg_reload_conf()")
    await everything_is_there_once(pipeline, postgres_server)


async def test_no_answers_at_all(pipeline: Pipeline, proxy: ChaosProxy, postgres_server: PostgresServer) -> None:
    proxy.fault = Fault(swallow_answers=True)
    await pipeline.publish_for(2, 2_000)
    await until(lambda: pipeline.opened_breaker)
    proxy.fault = Fault()
    await everything_is_there_once(pipeline, postgres_server)


@pytest.mark.parametrize("cut_after", [1, 1_000, 100_000, 1_000_000])
async def test_connections_are_reset_in_the_midst_of_a_copy(
    pipeline: Pipeline, proxy: ChaosProxy, postgres_server: PostgresServer, cut_after: int
) -> None:
    proxy.fault = Fault(cut_after=cut_after)
    pipeline.publish(30_000)
    await until(lambda: pipeline.persistence and pipeline.persistence.status.trouble)
    proxy.fault = Fault()
    await everything_is_there_once(pipeline, postgres_server)

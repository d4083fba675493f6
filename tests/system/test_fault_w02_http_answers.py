"""W2: an HTTP database answers wrongly, late, or not at all. Every record is stored once, and none is put aside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.pipeline import Pipeline, until
from tests.servers.chaos_proxy import ChaosProxy, Fault
from tests.servers.influx import InfluxServer, influx_server
from tests.servers.influx_v2 import InfluxV2, Scripted
from yarl import URL

from raven.sinks.influx import InfluxSink

__all__ = ["influx_server"]

pytestmark = pytest.mark.fault("W2")

COUNT = 20_000


@pytest.fixture
async def proxy(influx_server: InfluxServer) -> AsyncIterator[ChaosProxy]:
    async with ChaosProxy(URL(influx_server.url).port or 0) as made:
        yield made


@pytest.fixture
async def v2(influx_server: InfluxServer) -> AsyncIterator[InfluxV2]:
    """The endpoint of InfluxDB 2, with a real 1.x behind it."""
    influx_server.query('CREATE DATABASE "market_data"')
    made = InfluxV2(influx_server)
    await made.start()
    yield made
    await made.stop()


def sink_of(v2: InfluxV2) -> InfluxSink:
    return InfluxSink(v2.url, token=v2.token, org=v2.org, bucket=v2.bucket)


async def all_once(pipeline: Pipeline, server: InfluxServer) -> None:
    await pipeline.all_written()
    (row,) = server.query('SELECT COUNT("id") AS points, SUM("id") AS ids FROM "trades"')
    assert (row["points"], row["ids"]) == pipeline.journalled()
    assert pipeline.letters.letters() == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(swallow_answers=True), id="the answer never comes although all is stored"),
        pytest.param(Fault(swallow_requests=True), id="nothing arrives and nobody says so"),
        pytest.param(Fault(cut_after=300_000), id="the connection is cut in the middle of a body"),
        pytest.param(Fault(refuse=True), id="connections are reset"),
    ],
)
async def test_a_broken_connection_stores_every_record_once(
    influx_server: InfluxServer, proxy: ChaosProxy, tmp_path: Path, fault: Fault
) -> None:
    sink = InfluxSink(f"http://127.0.0.1:{proxy.port}", answer_timeout_s=0.3)
    async with Pipeline(tmp_path, sink) as pipeline:
        pipeline.publish(100)
        await pipeline.all_written()

        proxy.fault = fault
        pipeline.publish(COUNT)
        await until(lambda: pipeline.opened_breaker)
        proxy.fault = Fault()

        await all_once(pipeline, influx_server)


async def test_a_slow_way_only_takes_longer(influx_server: InfluxServer, proxy: ChaosProxy, tmp_path: Path) -> None:
    proxy.fault = Fault(latency_s=0.02)
    async with Pipeline(tmp_path, InfluxSink(f"http://127.0.0.1:{proxy.port}")) as pipeline:
        pipeline.publish(COUNT)

        await all_once(pipeline, influx_server)
        assert pipeline.opened_breaker == 0


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([Scripted(500)] * 5, id="500"),
        pytest.param([Scripted(500, after_storing=True)] * 4, id="500 although all is stored"),
        pytest.param([Scripted(502), Scripted(504), Scripted(503)], id="a proxy without its server"),
        pytest.param([Scripted(401), Scripted(403), Scripted(404)], id="what a person puts right"),
        pytest.param([Scripted(429, headers={"Retry-After": "0.2"})] * 3, id="429"),
        pytest.param([Scripted(413), Scripted(413), Scripted(413)], id="413"),
        pytest.param([Scripted(301, headers={"Location": "http://127.0.0.1:1/"})], id="a redirection"),
    ],
)
async def test_an_answer_that_says_nothing_about_records_costs_none(
    influx_server: InfluxServer, v2: InfluxV2, tmp_path: Path, answers: list[Scripted]
) -> None:
    v2.script.extend(answers)
    async with Pipeline(tmp_path, sink_of(v2)) as pipeline:
        pipeline.publish(COUNT)

        await all_once(pipeline, influx_server)
        assert not v2.script


@pytest.mark.parametrize("status", [429, 503])
async def test_nothing_is_sent_before_the_time_that_the_server_named(
    influx_server: InfluxServer, v2: InfluxV2, tmp_path: Path, status: int
) -> None:
    v2.script.append(Scripted(status, headers={"Retry-After": "1"}))
    async with Pipeline(tmp_path, sink_of(v2)) as pipeline:
        pipeline.publish(10)
        await until(lambda: not v2.script)
        refused_at = asyncio.get_running_loop().time()
        await until(lambda: v2.writes == 2)

        assert asyncio.get_running_loop().time() - refused_at > 0.9
        await all_once(pipeline, influx_server)

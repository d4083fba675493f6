"""W1: InfluxDB is away while records come. None is lost, none is there twice, and afterwards it catches up.

Short by default: two seconds of outage at 2,000 records a second. The full length is 300 seconds at 20,000.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.pipeline import Pipeline, until
from tests.servers.chaos_proxy import ChaosProxy, Fault
from tests.servers.influx import InfluxServer, influx_server, require_influxd
from yarl import URL

from raven.sinks.influx import InfluxSink

__all__ = ["influx_server"]

IS_FULL_LENGTH = bool(os.environ.get("RAVEN_CHAOS"))
OUTAGE_S, RATE = (300.0, 20_000) if IS_FULL_LENGTH else (2.0, 2_000)
ANSWER_TIMEOUT_S = 10.0 if IS_FULL_LENGTH else 0.5
DRAIN_S = 300.0 if IS_FULL_LENGTH else 30.0

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True, slots=True)
class Before:
    """How things stood when the outage began."""

    published: int
    rss_bytes: int


async def live_before(pipeline: Pipeline) -> Before:
    """Write for a while, as on any day."""
    await pipeline.publish_for(OUTAGE_S / 10, RATE)
    await pipeline.all_written()
    return Before(pipeline.published, pipeline.peak_rss_bytes)


async def balance(pipeline: Pipeline, server: InfluxServer, name: str, before: Before) -> None:
    """Wait for the rest, then compare the database with the journal, to the unit."""
    behind, began = pipeline.published - before.published, time.monotonic()
    await pipeline.publish_for(OUTAGE_S / 20, RATE)
    await pipeline.all_written(DRAIN_S)
    took = time.monotonic() - began
    (row,) = server.query('SELECT COUNT("id") AS points, SUM("id") AS ids FROM "trades"')
    count, ids = pipeline.journalled()
    print(
        f"W1 {name}: outage {OUTAGE_S:g} s at {RATE}/s, journal {count}, database {row['points']}, "
        f"{behind} behind, caught up in {took:.1f} s, memory {before.rss_bytes / 1e6:.0f} MB before, "
        f"{pipeline.peak_rss_bytes / 1e6:.0f} MB at most"
    )
    assert (count, ids) == (pipeline.published, pipeline.published * (pipeline.published + 1) // 2)
    assert (row["points"], row["ids"]) == (count, ids)
    assert pipeline.letters.letters() == []
    # Records wait on disk, not in memory.
    assert pipeline.peak_rss_bytes < before.rss_bytes * 1.5 + 50e6


async def test_killed_and_back_later(influx_server: InfluxServer, tmp_path: Path) -> None:
    async with Pipeline(tmp_path, InfluxSink(influx_server.url, answer_timeout_s=ANSWER_TIMEOUT_S)) as pipeline:
        before = await live_before(pipeline)

        influx_server.kill()
        await pipeline.publish_for(OUTAGE_S, RATE)
        assert pipeline.opened_breaker
        await asyncio.to_thread(influx_server.start)

        await balance(pipeline, influx_server, "kill -9", before)


async def test_killed_again_and_again_while_it_writes(influx_server: InfluxServer, tmp_path: Path) -> None:
    async with Pipeline(tmp_path, InfluxSink(influx_server.url, answer_timeout_s=ANSWER_TIMEOUT_S)) as pipeline:
        before = await live_before(pipeline)

        load = asyncio.create_task(pipeline.publish_for(OUTAGE_S, RATE))
        for _ in range(20 if IS_FULL_LENGTH else 3):
            await asyncio.sleep(OUTAGE_S / 40)
            influx_server.kill()
            await asyncio.to_thread(influx_server.start)
        await load

        await balance(pipeline, influx_server, "kill -9 again and again", before)


async def test_hanging_and_going_on_later(influx_server: InfluxServer, tmp_path: Path) -> None:
    async with Pipeline(tmp_path, InfluxSink(influx_server.url, answer_timeout_s=ANSWER_TIMEOUT_S)) as pipeline:
        before = await live_before(pipeline)

        influx_server.suspend()
        await pipeline.publish_for(OUTAGE_S, RATE)
        await until(lambda: pipeline.opened_breaker)
        influx_server.resume()

        await balance(pipeline, influx_server, "SIGSTOP", before)


async def test_out_of_reach_and_back_later(influx_server: InfluxServer, tmp_path: Path) -> None:
    async with ChaosProxy(URL(influx_server.url).port or 0) as proxy:
        sink = InfluxSink(f"http://127.0.0.1:{proxy.port}", answer_timeout_s=ANSWER_TIMEOUT_S)
        async with Pipeline(tmp_path, sink) as pipeline:
            before = await live_before(pipeline)

            proxy.fault = Fault(refuse=True)
            proxy.cut()
            await pipeline.publish_for(OUTAGE_S, RATE)
            assert pipeline.opened_breaker
            proxy.fault = Fault()

            await balance(pipeline, influx_server, "RST", before)


async def test_a_restart_of_ours_in_the_middle_goes_on_where_it_was(
    influx_server: InfluxServer, tmp_path: Path
) -> None:
    async with Pipeline(tmp_path, InfluxSink(influx_server.url, answer_timeout_s=ANSWER_TIMEOUT_S)) as pipeline:
        pipeline.publish(5 * RATE)
        await until(lambda: pipeline.persistence and pipeline.persistence.status.behind_bytes)
        await pipeline.stop_persisting()
        before = pipeline.published

        pipeline.publish(RATE)
        pipeline.persist()
        await until(lambda: influx_server.count("trades", "id") == before + RATE)

        (row,) = influx_server.query('SELECT COUNT("id") AS points, SUM("id") AS ids FROM "trades"')
        await until(lambda: pipeline.journalled() == (row["points"], row["ids"]))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for little."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = "256m" if IS_FULL_LENGTH else "24m"
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root and a kernel that allows it")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_its_disk_is_full_until_somebody_makes_room(small_disk: Path, tmp_path: Path) -> None:
    """What can be read is not yet durable: a 1.6 answers 500 to a batch on a full disk and serves it all the same."""
    require_influxd()
    server = InfluxServer(small_disk / "influx")
    server.start()
    try:
        async with Pipeline(tmp_path, InfluxSink(server.url, answer_timeout_s=ANSWER_TIMEOUT_S)) as pipeline:
            before = await live_before(pipeline)

            (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - 65_536))
            await pipeline.publish_for(OUTAGE_S, RATE)
            await until(lambda: pipeline.opened_breaker)
            # It has shown what it could not keep. A crash makes it forget that; the cursor has not moved.
            server.kill()
            (small_disk / "ballast").unlink()
            await asyncio.to_thread(server.start)

            await balance(pipeline, server, "disk full and kill -9", before)
    finally:
        server.stop()

"""W1: a database is away while records come. None is lost, none is there twice, and afterwards it catches up.

Short by default: two seconds of outage at 2,000 records a second. At full length (`--chaos`) 300 seconds at 20,000.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.pipeline import Pipeline, until
from tests.servers.chaos_proxy import ChaosProxy, Fault
from tests.servers.disk import fill
from tests.servers.influx import InfluxServer, require_influxd
from tests.servers.postgres import PostgresServer, folder_for_postgres, skip_without_postgres
from tests.servers.questdb import QuestdbServer, require_questdb
from yarl import URL

from raven.ports import Sink
from raven.sinks.influx import InfluxSink
from raven.sinks.postgres import PostgresSink
from raven.sinks.questdb import QuestdbSink

pytestmark = [pytest.mark.fault("W1"), pytest.mark.timeout(1200)]


@dataclass(frozen=True, slots=True)
class Length:
    """How much a test asks for."""

    outage_s: float = 2.0
    rate: int = 2_000
    """Records a second."""
    answer_timeout_s: float = 1.0
    catch_up_s: float = 60.0
    kills: int = 3


FULL = Length(outage_s=300.0, rate=20_000, answer_timeout_s=10.0, catch_up_s=300.0, kills=20)


@pytest.fixture
def length(chaos: bool) -> Length:
    return FULL if chaos else Length()


class Influx:
    """The real thing, and how to ask it what it has."""

    def __init__(self, folder: Path, length: Length) -> None:
        require_influxd()
        self.server = InfluxServer(folder)
        # What one test needs in all.
        self.disk = "2g" if length is FULL else "24m"
        self._length = length

    def sink(self, url: str = "") -> Sink:
        return InfluxSink(url or self.server.url, answer_timeout_s=self._length.answer_timeout_s)

    def totals(self) -> tuple[int, int]:
        """Return the number of trades and the sum of their ids."""
        (row,) = self.server.query('SELECT COUNT("id") AS points, SUM("id") AS ids FROM "trades"')
        return row["points"], row["ids"]


class Questdb:
    """As above."""

    def __init__(self, folder: Path, length: Length) -> None:
        require_questdb()
        self.server = QuestdbServer(folder)
        self.disk = "4g" if length is FULL else "1g"
        self._length = length

    def sink(self, url: str = "") -> Sink:
        return QuestdbSink(url or self.server.url, answer_timeout_s=self._length.answer_timeout_s)

    def totals(self) -> tuple[int, int]:
        self.server.count("trades")
        (row,) = self.server.query("SELECT count() AS points, sum(id) AS ids FROM trades")
        return row["points"], row["ids"]


class Postgres:
    """As above."""

    def __init__(self, folder: Path, length: Length) -> None:
        skip_without_postgres()
        self.server = PostgresServer(folder, "min_wal_size=32MB", "max_wal_size=256MB")
        self.disk = "5g" if length is FULL else "300m"
        self._length = length

    def sink(self, url: str = "") -> Sink:
        return PostgresSink(url or self.server.url, answer_timeout_s=self._length.answer_timeout_s)

    def totals(self) -> tuple[int, int]:
        (row,) = self.server.query("SELECT count(*), sum(id) FROM raven.trades")
        points, ids = row.split("|")
        return int(points), int(ids)


Database = Influx | Questdb | Postgres


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where a server may keep its data, whoever it runs as."""
    with folder_for_postgres() as folder:
        yield folder.parent


@pytest.fixture(params=[Influx, Questdb, Postgres])
def database(request: pytest.FixtureRequest, folder: Path, length: Length) -> Iterator[Database]:
    made: Database = request.param(folder / "server", length)
    made.server.start()
    yield made
    made.server.stop()


@dataclass(frozen=True, slots=True)
class Before:
    """How things stood when the outage began."""

    published: int
    rss_bytes: int


async def live_before(pipeline: Pipeline, length: Length) -> Before:
    """Write for a while, as on any day."""
    await pipeline.publish_for(length.outage_s / 10, length.rate)
    await pipeline.all_written()
    return Before(pipeline.published, pipeline.peak_rss_bytes)


async def balance(pipeline: Pipeline, database: Database, length: Length, name: str, before: Before) -> None:
    """Wait for the rest while more comes, then compare the database with the journal, to the unit."""
    behind, began = pipeline.published - before.published, time.monotonic()
    await pipeline.publish_for(length.outage_s / 20, length.rate)
    await pipeline.all_written(length.catch_up_s)
    took = time.monotonic() - began
    journalled, stored = pipeline.journalled(), database.totals()
    print(
        f"W1 {type(database).__name__} {name}: outage {length.outage_s:g} s at {length.rate}/s,",
        f"journal {journalled[0]}, database {stored[0]}, {behind} behind, caught up within {took:.1f} s,",
        f"memory {before.rss_bytes / 1e6:.0f} MB before and {pipeline.peak_rss_bytes / 1e6:.0f} MB at most",
    )
    assert journalled == (pipeline.published, pipeline.published * (pipeline.published + 1) // 2)
    assert stored == journalled
    assert pipeline.letters.letters() == []
    # Records wait on disk; in memory there are two full batches on their way, however long the outage was.
    assert pipeline.peak_rss_bytes < before.rss_bytes + 250e6


async def test_killed_and_back_later(database: Database, length: Length, tmp_path: Path) -> None:
    async with Pipeline(tmp_path, database.sink()) as pipeline:
        before = await live_before(pipeline, length)

        database.server.kill()
        await pipeline.publish_for(length.outage_s, length.rate)
        assert pipeline.opened_breaker
        await asyncio.to_thread(database.server.start)

        await balance(pipeline, database, length, "kill -9", before)


async def test_killed_again_and_again_while_it_writes(database: Database, length: Length, tmp_path: Path) -> None:
    async with Pipeline(tmp_path, database.sink()) as pipeline:
        before = await live_before(pipeline, length)

        load = asyncio.create_task(pipeline.publish_for(length.outage_s, length.rate))
        for _ in range(length.kills):
            await asyncio.sleep(length.outage_s / 40)
            database.server.kill()
            await asyncio.to_thread(database.server.start)
        await load

        await balance(pipeline, database, length, "kill -9 again and again", before)


async def test_hanging_and_going_on_later(database: Database, length: Length, tmp_path: Path) -> None:
    async with Pipeline(tmp_path, database.sink()) as pipeline:
        before = await live_before(pipeline, length)

        database.server.suspend()
        await pipeline.publish_for(length.outage_s, length.rate)
        await until(lambda: pipeline.opened_breaker)
        database.server.resume()

        await balance(pipeline, database, length, "SIGSTOP", before)


async def test_out_of_reach_and_back_later(database: Database, length: Length, tmp_path: Path) -> None:
    async with (
        ChaosProxy(URL(database.server.url).port or 0) as proxy,
        Pipeline(tmp_path, database.sink(str(URL(database.server.url).with_port(proxy.port)))) as pipeline,
    ):
        before = await live_before(pipeline, length)

        proxy.fault = Fault(refuse=True)
        proxy.cut()
        await pipeline.publish_for(length.outage_s, length.rate)
        assert pipeline.opened_breaker
        proxy.fault = Fault()

        await balance(pipeline, database, length, "RST", before)


async def test_a_restart_of_ours_in_the_middle_goes_on_where_it_was(
    database: Database, length: Length, tmp_path: Path
) -> None:
    async with Pipeline(tmp_path, database.sink()) as pipeline:
        pipeline.publish(5 * length.rate)
        await until(lambda: pipeline.persistence and pipeline.persistence.status.behind_bytes)
        await pipeline.stop_persisting()

        pipeline.publish(length.rate)
        pipeline.persist()
        await pipeline.all_written()

        assert database.totals() == pipeline.journalled()


@pytest.fixture
def on_a_small_disk(request: pytest.FixtureRequest, folder: Path, length: Length) -> Iterator[tuple[Database, Path]]:
    """A database on a file system of its own with room for little."""
    disk = folder / "disk"
    disk.mkdir()
    made: Database = request.param(disk / "server", length)
    command = ["mount", "-t", "tmpfs", "-o", f"size={made.disk}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root and a kernel that allows it")
    made = request.param(disk / "server", length)
    made.server.start()
    yield made, disk
    made.server.stop()
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    ("on_a_small_disk", "and_then"),
    [
        # After a full disk it takes nothing until it is started anew, even when there is room again.
        pytest.param(Influx, "restart", id="Influx-restart"),
        pytest.param(Influx, "kill -9", id="Influx-kill"),
        pytest.param(Questdb, "room", id="Questdb-room"),
        pytest.param(Questdb, "kill -9", id="Questdb-kill"),
        pytest.param(Postgres, "room", id="Postgres-room"),
        pytest.param(Postgres, "kill -9", id="Postgres-kill"),
    ],
    indirect=["on_a_small_disk"],
)
async def test_its_disk_is_full_until_somebody_makes_room(
    on_a_small_disk: tuple[Database, Path], length: Length, tmp_path: Path, and_then: str
) -> None:
    """What can be read is not yet durable: InfluxDB 1.6 answers 500 to a batch on a full disk, and yet serves it."""
    database, disk = on_a_small_disk
    async with Pipeline(tmp_path, database.sink()) as pipeline:
        before = await live_before(pipeline, length)

        ballast = disk / "ballast"
        fill(ballast)
        await pipeline.publish_for(length.outage_s, length.rate)
        # QuestDB has taken room in advance, and goes on until that is used up.
        while not pipeline.opened_breaker:
            await pipeline.publish_for(1, 50_000)
        if and_then == "kill -9":
            # It may show what it could not keep; a crash makes it forget that, and the cursor has not moved.
            database.server.kill()
        ballast.unlink()
        if and_then == "restart":
            await asyncio.to_thread(database.server.stop)
        # A QuestDB whose disk stays full for minutes may end by itself.
        if not database.server.is_running:
            await asyncio.to_thread(database.server.start)

        await balance(pipeline, database, length, f"disk full, then {and_then}", before)

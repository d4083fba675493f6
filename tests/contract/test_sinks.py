"""What every database on the shelf keeps: run against the real server, skipped with the reason where there is none.

A new database adds one line to `KINDS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.batches import EVERY_TYPE, START_NS, bars, candles, quality, tick_bars, trades, vpin_bars
from tests.servers.influx import InfluxServer, require_influxd
from tests.servers.postgres import PostgresServer, folder_for_postgres, skip_without_postgres
from tests.servers.process import free_port
from tests.servers.questdb import QuestdbServer, require_questdb

from raven._core import BarSpec
from raven.errors import DatabaseConnection, NetworkTimeout
from raven.ports import Sink, SinkBatch
from raven.registry import SINKS, load


@dataclass(frozen=True, slots=True)
class Kind:
    """How to run a database and ask it what it has."""

    require: Callable[[], None]
    """Skips where the server is not installed."""
    start: Callable[[Path], Any]
    empty: Callable[[Any], object]
    count: Callable[[Any, str], int]
    """Rows of a type."""
    price: Callable[[Any], str]
    """Price of the only trade."""
    revisions: Callable[[Any, str], list[int]]
    """Revisions of the bars of a type, lowest first."""
    wholes: Callable[[Any, str], list[bool]]
    """Whether the bars of a type are complete."""
    nobody: Callable[[int], str]
    """Address of a port where nobody is, with a password in it."""


def questdb_rows(server: QuestdbServer, name: str) -> list[dict[str, Any]]:
    """Return the rows of a table when all that it was sent is in it."""
    server.count(name)
    return server.query(f'SELECT * FROM "{name}"')


KINDS = {
    "influx": Kind(
        require_influxd,
        InfluxServer,
        lambda server: server.query('DROP DATABASE "market_data"'),
        lambda server, name: server.count(name),
        lambda server: repr(server.query('SELECT "price" FROM "trades"')[0]["price"]),
        lambda server, name: sorted(row["revision"] for row in server.query(f'SELECT "revision" FROM "{name}"')),
        lambda server, name: [row["complete"] for row in server.query(f'SELECT "complete" FROM "{name}"')],
        lambda port: f"http://raven:nevermore@127.0.0.1:{port}",
    ),
    "questdb": Kind(
        require_questdb,
        QuestdbServer,
        lambda server: server.query("DROP ALL TABLES"),
        lambda server, name: server.count(name),
        lambda server: server.count("trades") and server.query("SELECT price FROM trades")[0]["price"],
        lambda server, name: sorted(row["revision"] for row in questdb_rows(server, name)),
        lambda server, name: [row["complete"] for row in questdb_rows(server, name)],
        lambda port: f"http://raven:nevermore@127.0.0.1:{port}",
    ),
    "timescale": Kind(
        skip_without_postgres,
        PostgresServer,
        lambda server: server.query("DROP SCHEMA IF EXISTS raven CASCADE"),
        lambda server, name: int(server.query(f"SELECT count(*) FROM raven.{name}")[0]),
        lambda server: server.query("SELECT price FROM raven.trades")[0],
        lambda server, name: [int(row) for row in server.query(f"SELECT revision FROM raven.{name} ORDER BY 1")],
        lambda server, name: [row == "t" for row in server.query(f"SELECT complete FROM raven.{name}")],
        lambda port: f"postgresql://raven:nevermore@127.0.0.1:{port}/postgres",
    ),
}


ORDERS = [(0, 1, 2), (2, 1, 0), (1, 2, 0)]
BAR_SPECS = {
    kind: BarSpec(kind, [0.5 + number for number, _ in enumerate(parameters)]) for kind, parameters in BarSpec.kinds()
}


@dataclass(frozen=True, slots=True)
class Database:
    """A running server, empty, and its sink."""

    name: str
    server: Any
    sink: Sink

    def count(self, name: str) -> int:
        return KINDS[self.name].count(self.server, name)

    def revisions(self, name: str) -> list[int]:
        return KINDS[self.name].revisions(self.server, name)


@pytest.fixture(scope="module", params=sorted(KINDS))
def running(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """One server for all tests here."""
    kind = KINDS[request.param]
    kind.require()
    with folder_for_postgres() as folder:
        server = kind.start(folder)
        server.start()
        yield request.param, server
        server.stop()


@pytest.fixture
async def database(running: tuple[str, Any]) -> AsyncIterator[Database]:
    name, server = running
    KINDS[name].empty(server)
    sink: Sink = load(SINKS, name, "database")(server.url)
    await sink.open()
    yield Database(name, server, sink)
    await sink.close()


def cut(batch: SinkBatch, start: int, stop: int) -> SinkBatch:
    return SinkBatch(batch.type, batch.records.slice(start, stop - start))


def test_every_database_on_the_shelf_is_held_to_this() -> None:
    assert set(KINDS) == set(SINKS)


@pytest.mark.parametrize("name", EVERY_TYPE)
async def test_every_record_is_kept_once_however_often_and_in_whatever_batch_it_comes(
    database: Database, name: str
) -> None:
    batch = EVERY_TYPE[name](60)

    for one in (cut(batch, 0, 30), batch, cut(batch, 10, 50), batch):
        await database.sink.write(one)

    assert database.count(batch.type) == 60


async def test_a_thousand_trades_of_one_moment_are_a_thousand(database: Database) -> None:
    await database.sink.write(trades(1_000, exchange_ns=START_NS))

    assert database.count("trades") == 1_000


async def test_the_same_trade_of_another_run_is_the_same_trade(database: Database) -> None:
    await database.sink.write(trades(10))
    await database.sink.write(trades(10, sequence=list(range(501, 511)), recv_ns=START_NS + 9_000_000))

    assert database.count("trades") == 10


async def test_symbols_are_kept_apart(database: Database) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "1000PEPE USDT", "币安"):
        await database.sink.write(trades(5, symbol=symbol))

    assert database.count("trades") == 20


async def test_a_candle_that_comes_again_replaces_the_old_one(database: Database) -> None:
    for close in (618_001, 618_002):
        await database.sink.write(candles(3, close=close, recv_ns=START_NS + close))

    assert database.count("candles_1m") == 3


@pytest.mark.parametrize("kind", BAR_SPECS)
async def test_bars_of_every_kind_are_kept_once(database: Database, kind: str) -> None:
    batch = bars(60, spec=BAR_SPECS[kind])

    for one in (cut(batch, 0, 30), batch, batch):
        await database.sink.write(one)

    assert batch.type == f"{kind}_bars"
    assert database.count(batch.type) == 60


async def test_bars_that_open_in_one_millisecond_all_stay_and_so_do_bars_of_other_rules(database: Database) -> None:
    for ticks in (10.0, 20.0):
        await database.sink.write(tick_bars(500, spec=BarSpec("tick", [ticks])))

    assert database.count("tick_bars") == 1_000


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("make", [bars, tick_bars, vpin_bars])
async def test_of_a_bar_the_highest_revision_stays_in_whatever_order_they_come(
    database: Database, make: Callable[..., SinkBatch], order: tuple[int, ...]
) -> None:
    for revision in order:
        await database.sink.write(make(2, quality=[quality(revision, part=part) for part in range(2)]))
    await database.sink.open()
    for revision in order:
        await database.sink.write(make(1, quality=quality(revision)))

    assert database.revisions(make(1).type) == [2, 2]


@pytest.mark.parametrize("order", ORDERS)
async def test_of_a_bar_that_is_in_a_batch_several_times_the_highest_revision_stays(
    database: Database, order: tuple[int, ...]
) -> None:
    of_one = [bars(1, quality=quality(revision)).records for revision in (*order, 0)]
    of_others = [bars(3, quality=quality(revision), symbol=symbol).records for revision, symbol in ((1, "A"), (0, "A"))]

    await database.sink.write(SinkBatch("time_bars", pa.concat_tables([*of_one, *of_others])))

    assert database.revisions("time_bars") == [1, 1, 1, 2]


async def test_a_correction_that_begins_and_ends_with_other_trades_replaces_the_bar_of_the_clock(
    database: Database,
) -> None:
    await database.sink.write(bars(1))
    await database.sink.write(bars(1, first_trade_id=0, last_trade_id=101, id=101, quality=quality(1)))

    assert database.revisions("time_bars") == [1]


async def test_a_whole_bar_is_not_replaced_by_a_part_of_it_with_the_same_revision(database: Database) -> None:
    for revision, complete in ((0, True), (0, False), (1, False), (1, True), (1, False)):
        await database.sink.write(bars(1, quality=quality(revision, complete=complete), recv_ns=START_NS + revision))

    assert database.count("time_bars") == 1
    assert KINDS[database.name].wholes(database.server, "time_bars") == [True]


async def test_a_correction_finds_the_bar_of_a_symbol_with_a_strange_name(database: Database) -> None:
    for symbol in ("1000PEPE USDT", "币安", "a%b", "a,b=c", "back\\slash"):
        for revision in (1, 0):
            await database.sink.write(tick_bars(1, symbol=symbol, quality=quality(revision)))

    assert database.revisions("tick_bars") == [1] * 5


async def test_a_price_comes_back_as_it_was_sent(database: Database) -> None:
    await database.sink.write(trades(1, price=123_456_789_012_345, price_scale=8))

    assert Decimal(KINDS[database.name].price(database.server)) == Decimal("1234567.89012345")


async def test_nothing_to_write_is_no_trouble(database: Database) -> None:
    await database.sink.write(trades(0))
    await database.sink.write(trades(1))

    assert database.count("trades") == 1


async def test_it_can_be_opened_again_and_again(database: Database) -> None:
    await database.sink.write(trades(5))
    await database.sink.open()
    await database.sink.close()
    await database.sink.open()
    await database.sink.write(trades(10))

    assert database.count("trades") == 10


@pytest.mark.parametrize("name", sorted(KINDS))
async def test_nobody_there_is_said_without_the_password_and_closing_is_quiet(name: str) -> None:
    sink: Sink = load(SINKS, name, "database")(KINDS[name].nobody(free_port()))

    with pytest.raises((DatabaseConnection, NetworkTimeout)) as raised:
        await sink.open()

    assert "nevermore" not in str(raised.value)
    await sink.close()
    await sink.close()

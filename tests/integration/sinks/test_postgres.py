"""PostgreSQL keeps every record once, digit by digit, and says which one it cannot keep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pyarrow as pa
import pytest
from tests.batches import EVERY_TYPE, START_NS, bars, batch, bits, books, candles, gaps, quality, tick_bars, trades
from tests.servers.postgres import PostgresServer

from raven.errors import ConfigurationError, DatabaseConnection, DataValidation, NetworkTimeout
from raven.ports import SinkBatch
from raven.records import Kind
from raven.sinks.postgres import TABLES, PostgresSink


@pytest.fixture
async def sink(postgres_server: PostgresServer) -> AsyncIterator[PostgresSink]:
    postgres_server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    sink = PostgresSink(postgres_server.url)
    await sink.open()
    yield sink
    await sink.close()


def tomorrow() -> str:
    return f"{datetime.now(UTC) + timedelta(days=1):%Y%m%d}"


def count(server: PostgresServer, table: str) -> int:
    return int(server.query(f"SELECT count(*) FROM raven.{table}")[0])


@pytest.mark.parametrize("name", EVERY_TYPE)
async def test_a_batch_that_comes_again_adds_nothing(
    sink: PostgresSink,
    postgres_server: PostgresServer,
    name: str,
) -> None:
    whole = EVERY_TYPE[name](40)
    await sink.write(SinkBatch(whole.type, whole.records.slice(0, 20)))
    assert count(postgres_server, whole.type) == 20
    await sink.write(whole)
    await sink.write(whole)
    assert count(postgres_server, whole.type) == 40


async def test_digits_and_times_come_back_as_they_were(sink: PostgresSink, postgres_server: PostgresServer) -> None:
    exact = trades(3, price=[1, 12_345_678_901_234_567, 618_002], quantity=[10**18, 1, 5])
    await sink.write(exact)
    connection = await asyncpg.connect(postgres_server.url)
    rows = await connection.fetch("SELECT * FROM raven.trades ORDER BY id")
    await connection.close()
    assert [row["price"] for row in rows] == exact.records["price"].to_pylist()
    assert [row["quantity"] for row in rows] == exact.records["quantity"].to_pylist()
    assert str(rows[0]["price"]) == "0.1", "no zeros at the end"
    assert [row["exchange_time"].timestamp() * 1e9 for row in rows] == pytest.approx(
        [START_NS, START_NS, START_NS + 1e6]
    )
    assert [row["side"] for row in rows] == ["sell", "buy", "sell"]


@pytest.mark.parametrize("name", EVERY_TYPE)
async def test_times_with_nanoseconds_are_kept_to_the_microsecond(
    sink: PostgresSink, postgres_server: PostgresServer, name: str
) -> None:
    await sink.write(EVERY_TYPE[name](1, exchange_ns=START_NS + 123_456_789))
    (kept,) = postgres_server.query(f"SELECT to_char(exchange_time, 'SS.US') FROM raven.{EVERY_TYPE[name](1).type}")
    assert kept == "20.123456"


async def test_ten_thousand_trades_of_one_millisecond_all_stay(
    sink: PostgresSink,
    postgres_server: PostgresServer,
) -> None:
    await sink.write(trades(10_000, per_ms=10_000_000))
    assert count(postgres_server, "trades") == 10_000


async def test_books_are_arrays(sink: PostgresSink, postgres_server: PostgresServer) -> None:
    await sink.write(books(2, levels=3))
    (first, _) = postgres_server.query(
        "SELECT bid_prices, ask_quantities, ask_proven FROM raven.orderbook ORDER BY sequence"
    )
    assert first == "{61799.9,61799.8,61799.7}|{0.01,0.011,0.012}|3"


async def test_of_a_candle_the_newest_state_stays(sink: PostgresSink, postgres_server: PostgresServer) -> None:
    later = candles(1, close=618_099, recv_ns=START_NS + 10**9, sequence=2)
    both = SinkBatch("candles_1m", pa.concat_tables([later.records, candles(1).records], promote_options="permissive"))
    await sink.write(both)
    await sink.write(candles(1))
    assert postgres_server.query("SELECT close, sequence FROM raven.candles_1m") == ["61809.9|2"]


async def test_a_bar_keeps_every_digit(sink: PostgresSink, postgres_server: PostgresServer) -> None:
    # 2**64 * 3 + 1 in ten thousandths: more than a double, and more than one word.
    await sink.write(bars(1, quote_volume=1, quote_volume_high=3, close=12_345_678_901_234_567, theta=bits(0.1)))
    columns = "quote_volume, close, sell_volume, theta, interval, part, first_trade_id, complete, revision"
    assert postgres_server.query(f"SELECT {columns} FROM raven.time_bars") == [
        f"{Decimal(3 * 2**64 + 1).scaleb(-4)}|1234567890123456.7|6.345|0.1|1m|0|1|t|0"
    ]


async def test_a_large_batch_of_bars_with_their_corrections_is_taken_in_any_order(
    sink: PostgresSink, postgres_server: PostgresServer
) -> None:
    first, corrected = tick_bars(12_000), tick_bars(12_000, quality=quality(1))
    backwards = pa.concat_tables([corrected.records, first.records]).take(list(range(23_999, -1, -1)))
    await sink.write(SinkBatch("tick_bars", backwards.slice(0, 18_000)))
    await sink.write(SinkBatch("tick_bars", backwards))
    await sink.write(first)
    assert postgres_server.query("SELECT revision, count(*) FROM raven.tick_bars GROUP BY 1") == ["1|12000"]


async def test_two_writers_of_the_same_bars_leave_the_highest_revision(
    sink: PostgresSink, postgres_server: PostgresServer
) -> None:
    sinks = [PostgresSink(postgres_server.url) for _ in range(4)]
    batches = [tick_bars(3_000, quality=quality(revision)) for revision in (2, 0, 3, 1)]
    await asyncio.gather(*(one.write(batch) for one, batch in zip(sinks, batches, strict=True)))
    assert postgres_server.query("SELECT revision, count(*) FROM raven.tick_bars GROUP BY 1") == ["3|3000"]
    for one in sinks:
        await one.close()


async def test_a_symbol_may_be_called_anything(sink: PostgresSink, postgres_server: PostgresServer) -> None:
    names = ["币安人生USDT", "tab\there", "line\nbreak", "back\\slash", "quo'te", "\\N", "{}", ""]
    for number, name in enumerate(names, 1):
        await sink.write(trades(1, first_id=number, symbol=name))
    connection = await asyncpg.connect(postgres_server.url)
    assert [row[0] for row in await connection.fetch("SELECT symbol FROM raven.trades ORDER BY id")] == names
    await connection.close()


async def test_what_it_cannot_keep_is_refused_and_nothing_of_the_batch_stays(
    sink: PostgresSink,
    postgres_server: PostgresServer,
) -> None:
    with pytest.raises(DataValidation, match=r"timescale: .*0x00"):
        await sink.write(trades(5, symbol="nul\x00"))
    await sink.write(trades(5))
    assert count(postgres_server, "trades") == 5


async def test_repetitions_within_a_large_batch_in_whatever_order_are_recognised(
    sink: PostgresSink,
    postgres_server: PostgresServer,
) -> None:
    once = trades(20_000).records
    backwards = once.take(list(range(19_999, -1, -1)))
    await sink.write(SinkBatch("trades", pa.concat_tables([once, backwards])))
    assert count(postgres_server, "trades") == 20_000


async def test_of_a_large_batch_one_record_is_refused_and_the_others_go_in_when_they_come_again(
    sink: PostgresSink,
    postgres_server: PostgresServer,
) -> None:
    good, bad = trades(30_000), trades(1, first_id=30_001, symbol="nul\x00")
    with pytest.raises(DataValidation):
        await sink.write(SinkBatch("trades", pa.concat_tables([good.records, bad.records])))
    await sink.write(good)
    assert count(postgres_server, "trades") == 30_000


async def test_each_day_has_its_partition_and_nonsense_the_default_one(
    sink: PostgresSink,
    postgres_server: PostgresServer,
) -> None:
    day = 86_400 * 10**9
    times = [START_NS, START_NS + day, START_NS + 2 * day, 0, 9_000_000_000 * 10**9]
    await sink.write(batch("trades", Kind.TRADE, 5, {"exchange_ns": times}))
    rows = postgres_server.query(
        "SELECT relname FROM pg_class JOIN raven.trades t ON t.tableoid = pg_class.oid ORDER BY exchange_time, id"
    )
    assert rows[0] == rows[4] == "trades_default"
    assert rows[1:4] == [f"trades_202311{number}" for number in (14, 15, 16)]


async def test_a_day_of_which_the_default_partition_has_records_already_needs_no_other(
    sink: PostgresSink,
    postgres_server: PostgresServer,
) -> None:
    await sink.write(trades(1))
    columns = ", ".join(TABLES["trades"].columns)
    values = columns.replace("exchange_time", "now() + INTERVAL '1 day'")
    postgres_server.query("DROP TABLE raven.trades_" + tomorrow())
    postgres_server.query(f"INSERT INTO raven.trades ({columns}) SELECT {values} FROM raven.trades")

    await sink.open()
    await sink.write(trades(5, exchange_ns=time.time_ns() + 86_400 * 10**9))

    assert count(postgres_server, "trades_default") == 6


async def test_two_processes_may_create_everything_at_once(postgres_server: PostgresServer) -> None:
    postgres_server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    sinks = [PostgresSink(postgres_server.url) for _ in range(4)]
    await asyncio.gather(*(sink.open() for sink in sinks))
    await asyncio.gather(*(sink.write(trades(10, first_id=1 + 10 * n)) for n, sink in enumerate(sinks)))
    assert count(postgres_server, "trades") == 40
    for sink in sinks:
        await sink.close()


async def test_a_user_may_lose_the_right_to_create_schemas_when_the_tables_are_there(
    postgres_server: PostgresServer,
) -> None:
    postgres_server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    for text in ("DROP ROLE IF EXISTS plain", "CREATE ROLE plain LOGIN", "GRANT CREATE ON DATABASE postgres TO plain"):
        postgres_server.query(text)
    sink = PostgresSink(postgres_server.url.replace("raven@", "plain@"))
    await sink.open()
    postgres_server.query("REVOKE CREATE ON DATABASE postgres FROM plain")

    await sink.open()
    await sink.write(trades(5))

    assert count(postgres_server, "trades") == 5
    await sink.close()
    postgres_server.query("DROP SCHEMA raven CASCADE")
    postgres_server.query("DROP ROLE plain")


async def test_tables_of_a_newer_raven_are_not_touched(sink: PostgresSink, postgres_server: PostgresServer) -> None:
    postgres_server.query("UPDATE raven.schema_version SET version = 9")
    with pytest.raises(ConfigurationError, match=r"version 9, but this Raven writes 1; upgrade Raven"):
        await PostgresSink(postgres_server.url).open()


async def test_what_a_person_must_mend_is_said(postgres_server: PostgresServer) -> None:
    with pytest.raises(ConfigurationError, match=r'database "nowhere" does not exist; check timescale.url'):
        await PostgresSink(postgres_server.url.replace("/postgres", "/nowhere")).open()


async def test_a_server_that_is_not_there_is_a_reason_to_wait(postgres_server: PostgresServer) -> None:
    away = PostgresSink("postgresql://raven:secret@127.0.0.1:1/postgres")
    with pytest.raises(DatabaseConnection) as raised:
        await away.open()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("ending", ["crash", "backend"])
async def test_after_a_lost_connection_the_next_write_goes_in(
    sink: PostgresSink,
    postgres_server: PostgresServer,
    ending: str,
) -> None:
    await sink.write(trades(5))
    if ending == "crash":
        await asyncio.to_thread(postgres_server.kill)
        await asyncio.to_thread(postgres_server.start)
    else:
        postgres_server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'raven'")
    with pytest.raises(DatabaseConnection):
        await sink.write(trades(5, first_id=6))
    await sink.write(trades(5, first_id=6))
    assert count(postgres_server, "trades") == 10


async def test_a_server_that_hangs_is_given_up_in_time(postgres_server: PostgresServer) -> None:
    sink = PostgresSink(postgres_server.url, answer_timeout_s=0.5)
    await sink.write(trades(5, first_id=101))
    postgres_server.suspend()
    try:
        with pytest.raises(NetworkTimeout, match="no answer in time"):
            await sink.write(trades(5, first_id=106))
    finally:
        postgres_server.resume()
    await sink.write(trades(5, first_id=106))
    assert postgres_server.query("SELECT count(*) FROM raven.trades WHERE id BETWEEN 101 AND 110") == ["10"]
    await sink.close()


async def test_a_database_that_may_only_be_read_is_a_reason_to_wait(
    sink: PostgresSink,
    postgres_server: PostgresServer,
) -> None:
    await sink.write(trades(1))
    postgres_server.query("ALTER ROLE raven SET default_transaction_read_only = on")
    await sink.close()
    try:
        with pytest.raises(DatabaseConnection, match="read-only"):
            await sink.write(trades(1, first_id=2))
    finally:
        postgres_server.query("ALTER ROLE raven RESET ALL")
    await sink.close()
    await sink.write(trades(1, first_id=2))
    assert count(postgres_server, "trades") == 2


def test_every_kind_of_record_has_a_table() -> None:
    for name, make in EVERY_TYPE.items():
        made = make(1)
        assert set(TABLES[made.type].columns) == set(made.records.column_names), name
    assert gaps(1).records["count"].to_pylist() == [1]
    assert Decimal("0.1") == trades(1, price=1).records["price"][0].as_py()

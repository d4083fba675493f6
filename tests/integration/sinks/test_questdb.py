"""What a real QuestDB keeps of what it is handed, and what it does to a writer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.batches import EVERY_TYPE, START_NS, bars, bits, candles, quality, trades
from tests.servers.questdb import QuestdbServer, require_questdb

from raven.errors import DatabaseConnection, DataValidation, NetworkTimeout
from raven.ports import SinkBatch
from raven.sinks.questdb import QuestdbSink


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuestdbServer]:
    """One server for all tests here: it needs two seconds to start."""
    require_questdb()
    server = QuestdbServer(tmp_path_factory.mktemp("questdb"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def server(running: QuestdbServer) -> QuestdbServer:
    running.query("DROP ALL TABLES")
    return running


@pytest.fixture
async def sink(server: QuestdbServer) -> AsyncIterator[QuestdbSink]:
    made = QuestdbSink(server.url)
    await made.open()
    yield made
    await made.close()


@pytest.mark.parametrize("name", EVERY_TYPE)
async def test_every_record_of_every_type_is_there_once_however_often_it_came(
    sink: QuestdbSink, server: QuestdbServer, name: str
) -> None:
    records = EVERY_TYPE[name](300)

    for one in (records, records, SinkBatch(records.type, records.records.slice(100, 50))):
        await sink.write(one)

    assert server.count(records.type) == 300


async def test_trades_read_back_are_the_exchange_s_to_the_last_digit(sink: QuestdbSink, server: QuestdbServer) -> None:
    sent = trades(3, price=[1_234_567_890_123_456_789, 1, -5], price_scale=18)

    await sink.write(sent)
    server.count("trades")

    rows = server.query('SELECT exchange_time, price, side FROM "trades" ORDER BY id')
    assert [Decimal(row["price"]) for row in rows] == sent.records["price"].to_pylist()
    assert [row["side"] for row in rows] == sent.records["side"].to_pylist()
    assert rows[0]["exchange_time"] == "2023-11-14T22:13:20.000000000Z"


async def test_ten_thousand_trades_of_one_millisecond_are_all_stored(sink: QuestdbSink, server: QuestdbServer) -> None:
    await sink.write(trades(10_000, exchange_ns=START_NS))

    assert server.count("trades") == 10_000


async def test_a_bar_that_is_rewritten_has_its_last_state(sink: QuestdbSink, server: QuestdbServer) -> None:
    for close in (618_001, 618_002):
        await sink.write(candles(1, close=close))

    assert server.count("candles_1m") == 1
    assert Decimal(server.query('SELECT close FROM "candles_1m"')[0]["close"]) == Decimal("61800.2")


async def test_a_bar_keeps_every_digit(sink: QuestdbSink, server: QuestdbServer) -> None:
    await sink.write(bars(1, quote_volume=1, quote_volume_high=3, theta=bits(0.1), quality=quality(complete=False)))
    server.count("time_bars")

    (row,) = server.query("SELECT quote_volume, theta, interval, complete, close_time FROM time_bars")
    assert Decimal(row["quote_volume"]) == Decimal(3 * 2**64 + 1).scaleb(-4)
    assert row | {"quote_volume": ""} == {
        "quote_volume": "", "theta": 0.1, "interval": "1m", "complete": False,
        "close_time": "2023-11-14T22:14:19.999000000Z",
    }  # fmt: skip


async def test_a_lower_revision_does_not_replace_what_waits_in_the_log(
    sink: QuestdbSink, server: QuestdbServer
) -> None:
    many = bars(2_000, quality=quality(1))
    await sink.write(many)
    await sink.write(bars(2_000))

    assert server.count("time_bars") == 2_000
    assert server.query("SELECT DISTINCT revision FROM time_bars") == [{"revision": 1}]


async def test_bars_wait_while_their_table_is_suspended(tmp_path: Path) -> None:
    require_questdb()
    server = QuestdbServer(tmp_path / "questdb", more="dev.mode.enabled=true")
    server.start()
    sink = QuestdbSink(server.url)
    try:
        await sink.write(bars(1))
        assert server.count("time_bars") == 1
        server.query("ALTER TABLE time_bars SUSPEND WAL WITH 28, 'no space left'")
        await sink.write(bars(2))

        with pytest.raises(DatabaseConnection, match="suspended the table time_bars"):
            await sink.write(bars(3))
        await sink.open()
        await sink.write(bars(3))

        assert server.count("time_bars") == 3
    finally:
        await sink.close()
        server.stop()


@pytest.mark.parametrize("symbol", ["A B", "A,B", "A=B", "A\\", "A\nB", "ÜΩ測", 'A"B'])
async def test_a_strange_symbol_is_one_symbol(sink: QuestdbSink, server: QuestdbServer, symbol: str) -> None:
    await sink.write(trades(2, symbol=symbol))

    assert server.count("trades") == 2
    found = server.query('SELECT DISTINCT symbol FROM "trades"')
    assert found == [{"symbol": symbol.replace("\\", "%5C").replace("\n", "%0A")}]


async def test_a_record_that_a_column_cannot_hold_is_refused(sink: QuestdbSink, server: QuestdbServer) -> None:
    # Somebody made the table himself, and his prices have room for eight digits.
    server.query(
        'CREATE TABLE "trades" (exchange_time TIMESTAMP_NS, venue SYMBOL, symbol SYMBOL, id LONG, price DECIMAL(10,2))'
        " TIMESTAMP(exchange_time) PARTITION BY DAY WAL DEDUP UPSERT KEYS(exchange_time, venue, symbol, id)"
    )
    many = trades(50, price=[618_000] * 20 + [99_999_999_999_999] + [618_000] * 29)

    with pytest.raises(DataValidation, match=r"/write answers 400"):
        await sink.write(many)
    for start, stop in ((0, 20), (21, 50)):
        await sink.write(SinkBatch("trades", many.records.slice(start, stop - start)))

    assert server.count("trades") == 49


async def test_what_was_acknowledged_survives_a_crash(sink: QuestdbSink, server: QuestdbServer) -> None:
    await sink.write(trades(20_000))
    server.kill()
    with pytest.raises((DatabaseConnection, NetworkTimeout)):
        await sink.write(trades(20_000, first_id=20_001))

    server.start()
    await sink.open()
    await sink.write(trades(20_000, first_id=20_001))

    assert server.count("trades") == 40_000


async def test_an_address_of_something_else_is_said() -> None:
    sink = QuestdbSink("http://127.0.0.1:1")

    with pytest.raises(DatabaseConnection, match=r"questdb: http://127\.0\.0\.1:1/exec cannot be reached"):
        await sink.open()

    await sink.close()


async def test_a_table_that_was_suspended_goes_on_when_raven_connects(tmp_path: Path) -> None:
    require_questdb()
    server = QuestdbServer(tmp_path / "questdb", more="dev.mode.enabled=true")
    server.start()
    sink = QuestdbSink(server.url)
    try:
        await sink.open()
        await sink.write(trades(10))
        assert server.count("trades") == 10
        # What QuestDB does by itself when its disk is full.
        server.query("ALTER TABLE trades SUSPEND WAL WITH 28, 'no space left'")
        await sink.write(trades(10, first_id=11))
        assert server.count("trades") == 10

        await sink.open()

        assert server.count("trades") == 20
    finally:
        await sink.close()
        server.stop()

"""What a real InfluxDB 1.x keeps of what it is handed, and what it does to a writer."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from tests.batches import EVERY_TYPE, MS, START_NS, bars, bits, books, candles, quality, quotes, tick_bars, trades
from tests.servers.influx import InfluxServer, require_influxd
from tests.servers.influx_v2 import InfluxV2

from raven.errors import DatabaseConnection, DataValidation, NetworkTimeout
from raven.ports import SinkBatch
from raven.sinks.influx import InfluxSink


@pytest.fixture
async def sink(influx_server: InfluxServer) -> AsyncIterator[InfluxSink]:
    made = InfluxSink(influx_server.url, answer_timeout_s=20)
    await made.open()
    yield made
    await made.close()


@pytest.mark.parametrize("name", EVERY_TYPE)
async def test_every_record_of_every_type_is_there_once_however_often_it_came(
    sink: InfluxSink, influx_server: InfluxServer, name: str
) -> None:
    records = EVERY_TYPE[name](300)

    for one in (records, records, SinkBatch(records.type, records.records.slice(100, 50))):
        await sink.write(one)

    assert influx_server.count(records.type) == 300


async def test_trades_read_back_are_the_exchange_s(sink: InfluxSink, influx_server: InfluxServer) -> None:
    sent = trades(1_000)

    await sink.write(sent)

    rows = sorted(influx_server.query('SELECT * FROM "trades"'), key=lambda row: int(row["id"]))
    assert [Decimal(repr(row["price"])) for row in rows] == sent.records["price"].to_pylist()
    assert [Decimal(repr(row["quantity"])) for row in rows] == sent.records["quantity"].to_pylist()
    assert [row["side"] for row in rows] == sent.records["side"].to_pylist()
    # A millisecond has 1,000,000 ns: what the exchange says is the time without what the id put into it.
    times = sent.records["exchange_time"].cast(pa.int64()).to_pylist()
    assert [row["time"] // MS * MS for row in rows] == times
    assert [row["recv_ns"] for row in rows] == sent.records["recv_time"].cast(pa.int64()).to_pylist()


async def test_ten_thousand_trades_of_one_millisecond_are_all_stored(
    sink: InfluxSink, influx_server: InfluxServer
) -> None:
    await sink.write(trades(10_000, first_id=3_456_789_000, exchange_ns=START_NS))

    assert influx_server.count("trades") == 10_000
    within = f"WHERE time >= {START_NS} AND time < {START_NS + MS}"
    assert influx_server.query(f'SELECT COUNT("id") AS points FROM "trades" {within}')[0]["points"] == 10_000


async def test_a_late_trade_finds_its_place(sink: InfluxSink, influx_server: InfluxServer) -> None:
    await sink.write(trades(100, first_id=1_000))

    await sink.write(trades(1, first_id=7))

    rows = influx_server.query('SELECT "id", "price" FROM "trades" LIMIT 1')
    assert [(row["id"], row["price"]) for row in rows] == [(7, 61800.7)]
    assert influx_server.count("trades") == 101


async def test_a_bar_that_is_rewritten_has_its_last_state(sink: InfluxSink, influx_server: InfluxServer) -> None:
    one = candles(3, open=[618_000, 618_000, 618_000], close=[1, 2, 3], open_time_ms=START_NS // MS)

    for _ in range(2):
        await sink.write(one)

    rows = influx_server.query('SELECT "close" FROM "candles_1m"')
    assert [(row["time"], row["close"]) for row in rows] == [(START_NS, 0.3)]


async def test_a_bar_reads_back_with_what_made_it(sink: InfluxSink, influx_server: InfluxServer) -> None:
    await sink.write(bars(1, theta=bits(-0.1), quality=quality(3, complete=False), gap_count=2))

    (row,) = influx_server.query('SELECT * FROM "time_bars"')
    assert row == {
        "time": START_NS, "venue": "binance_futures", "symbol": "BTCUSDT", "interval": "1m",
        "open": 61800.0, "high": 61810.0, "low": 61790.0, "close": 61805.0, "volume": 12.345, "buy_volume": 6.0,
        "sell_volume": 6.345, "quote_volume": 762921.0001, "buy_ticks": 60, "sell_ticks": 40, "theta": -0.1,
        "threshold": 0.0, "first_trade_id": 1, "last_trade_id": 100, "id": 100, "complete": False, "warming_up": False,
        "gap_count": 2, "revision": 3, "close_time": START_NS + 59_999 * MS, "recv_ns": START_NS + 3 * MS, "flags": 0,
        "exact": "",
    }  # fmt: skip


async def test_bars_of_one_millisecond_have_its_time(sink: InfluxSink, influx_server: InfluxServer) -> None:
    await sink.write(tick_bars(3))

    times = [row["time"] for row in influx_server.query('SELECT "close" FROM "tick_bars"')]
    assert times == [START_NS + 1, START_NS + 11, START_NS + 21]


async def test_a_correction_of_a_bar_of_last_year_is_found_beside_bars_of_today(
    sink: InfluxSink, influx_server: InfluxServer
) -> None:
    last_year = START_NS // MS - 365 * 86_400_000
    await sink.write(bars(2, quality=quality(2), open_time_ms=[last_year, START_NS // MS]))

    await sink.write(bars(2, quality=quality(1), open_time_ms=[last_year, START_NS // MS]))

    assert [row["revision"] for row in influx_server.query('SELECT "revision" FROM "time_bars"')] == [2, 2]


async def test_a_book_reads_back_level_by_level(sink: InfluxSink, influx_server: InfluxServer) -> None:
    await sink.write(books(1, levels=20))

    (row,) = influx_server.query('SELECT "bids", "ask_price_5" FROM "orderbook"')
    bids = json.loads(row["bids"], parse_float=Decimal, parse_int=Decimal)
    assert bids[:2] == [[Decimal("61799.9"), Decimal("0.01")], [Decimal("61799.8"), Decimal("0.011")]]
    assert (len(bids), row["ask_price_5"]) == (20, 61800.5)


@pytest.mark.parametrize("symbol", ["A B", "A,B", "A=B", "A\\", "A\nB", "ÜΩ測", 'A"B', "A'B"])
async def test_a_strange_symbol_is_a_tag_like_any_other(
    sink: InfluxSink, influx_server: InfluxServer, symbol: str
) -> None:
    await sink.write(trades(5, symbol=symbol))
    await sink.write(trades(5))

    counts = influx_server.query('SELECT COUNT("id") AS points FROM "trades" GROUP BY "symbol"')
    written = symbol.replace("\\", "%5C").replace("\n", "%0A")
    assert {row["symbol"]: row["points"] for row in counts} == {written: 5, "BTCUSDT": 5}


async def test_a_record_against_the_type_of_a_field_is_refused_and_the_others_go_in_when_they_come_again(
    sink: InfluxSink, influx_server: InfluxServer
) -> None:
    long_ago = START_NS - 90 * 86_400_000 * MS
    # Types hold for a shard, here a week: one old record conflicts, those of today do not.
    influx_server.post(f'trades,venue=other price="a text" {long_ago}\n')
    times = [START_NS + number * MS for number in range(5_000)]
    times[1_234] = long_ago

    with pytest.raises(DataValidation, match="field type conflict"):
        await sink.write(trades(5_000, exchange_ns=times))

    # An unknown part is kept: influxd answers before it has written to all shards.
    whole = trades(5_000, exchange_ns=times)
    for start, stop in ((0, 1_234), (1_235, 5_000)):
        await sink.write(SinkBatch("trades", whole.records.slice(start, stop - start)))
    assert influx_server.count("trades", "id") == 4_999


async def test_records_older_than_the_retention_are_told_and_not_held_against_the_others(
    influx_server: InfluxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = InfluxSink(influx_server.url)
    await sink.open()
    influx_server.query('CREATE RETENTION POLICY "short" ON "market_data" DURATION 1h REPLICATION 1 DEFAULT')

    await sink.write(quotes(10))

    assert influx_server.count("quotes") == 0
    assert "influx keeps no records of that age" in capsys.readouterr().out
    await sink.close()


async def test_of_old_and_new_records_the_new_ones_are_all_kept(influx_server: InfluxServer) -> None:
    sink = InfluxSink(influx_server.url)
    await sink.open()
    influx_server.query('CREATE RETENTION POLICY "short" ON "market_data" DURATION 1h REPLICATION 1 DEFAULT')
    now = time.time_ns() // MS * MS

    # More bodies than are under way at once, and in each of them some of either.
    await sink.write(trades(50_000, exchange_ns=[now if number % 2 else START_NS for number in range(50_000)]))

    assert influx_server.count("trades") == 25_000
    await sink.close()


async def test_a_limit_on_series_waits_for_a_person(tmp_path: Path) -> None:
    require_influxd()
    server = InfluxServer(tmp_path / "limited", data="max-values-per-tag = 2\n", index="inmem")
    server.start()
    sink = InfluxSink(server.url)
    try:
        await sink.open()
        for symbol in ("A", "B"):
            await sink.write(trades(1, symbol=symbol))
        with pytest.raises(DatabaseConnection, match=r"raise this limit of InfluxDB"):
            await sink.write(trades(1, symbol="C"))
    finally:
        await sink.close()
        server.stop()


async def test_a_database_that_was_dropped_is_made_again(sink: InfluxSink, influx_server: InfluxServer) -> None:
    await sink.write(trades(1))
    influx_server.query('DROP DATABASE "market_data"')

    with pytest.raises(DatabaseConnection, match="database not found"):
        await sink.write(trades(1))
    await sink.open()
    await sink.write(trades(1))

    assert influx_server.count("trades") == 1


async def test_a_wrong_password_is_said_and_nothing_is_put_aside(tmp_path: Path) -> None:
    require_influxd()
    server = InfluxServer(tmp_path / "secured", http="auth-enabled = true")
    server.start()
    server.query("CREATE USER raven WITH PASSWORD 'nevermore' WITH ALL PRIVILEGES")
    good, bad = (InfluxSink(server.url, username="raven", password=one) for one in ("nevermore", "wrong"))
    try:
        await good.open()
        await good.write(trades(5))
        with pytest.raises(DatabaseConnection, match=r"401.*check influx\.username and influx\.password") as raised:
            await bad.write(trades(5))
        assert "wrong" not in str(raised.value)
    finally:
        await good.close()
        await bad.close()
        server.stop()


async def test_a_body_over_the_server_s_limit_goes_in_parts(tmp_path: Path) -> None:
    require_influxd()
    server = InfluxServer(tmp_path / "small", http="max-body-size = 100000")
    server.start()
    sink = InfluxSink(server.url)
    try:
        await sink.open()
        await sink.write(trades(10_000))
        assert server.count("trades") == 10_000
    finally:
        await sink.close()
        server.stop()


async def test_what_was_acknowledged_survives_a_crash_and_what_was_not_comes_again(
    sink: InfluxSink, influx_server: InfluxServer
) -> None:
    await sink.write(trades(20_000))
    influx_server.kill()
    with pytest.raises((DatabaseConnection, NetworkTimeout)):
        await sink.write(trades(20_000, first_id=20_001))

    influx_server.start()
    assert influx_server.count("trades") >= 20_000
    await sink.write(trades(20_000, first_id=20_001))

    assert influx_server.count("trades") == 40_000


async def test_decimals_beyond_a_double_are_there_as_text(sink: InfluxSink, influx_server: InfluxServer) -> None:
    await sink.write(trades(1, price=1_234_567_890_123_456_789, price_scale=18))

    (row,) = influx_server.query('SELECT "price", "exact" FROM "trades"')
    assert (row["price"], row["exact"]) == (1.2345678901234568, "price=1.234567890123456789")


@pytest.fixture
async def v2(influx_server: InfluxServer) -> AsyncIterator[InfluxV2]:
    """The endpoint of InfluxDB 2, with a real 1.x behind it."""
    influx_server.query('CREATE DATABASE "market_data"')
    made = InfluxV2(influx_server, max_body_bytes=100_000)
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize("compressed", [False, True])
async def test_with_a_token_the_endpoint_of_influxdb_2_is_used(
    v2: InfluxV2, influx_server: InfluxServer, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    sink = InfluxSink(v2.url, token=v2.token, org=v2.org, bucket=v2.bucket)
    monkeypatch.setattr(sink._writer, "_compress", compressed)
    await sink.open()

    await sink.write(trades(10_000))

    assert influx_server.count("trades") == 10_000
    assert v2.encodings == {"gzip" if compressed else "identity"}
    await sink.close()


async def test_bars_replace_lower_revisions_in_influxdb_2_too_if_the_token_may_read(
    v2: InfluxV2, influx_server: InfluxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = InfluxSink(v2.url, token=v2.token, org=v2.org, bucket=v2.bucket)
    for revision in (1, 0):
        await sink.write(bars(1, quality=quality(revision)))
    kept = influx_server.query('SELECT "revision" FROM "time_bars"')

    v2.may_read = False
    for revision in (3, 2):
        await sink.write(bars(1, quality=quality(revision)))

    assert [row["revision"] for row in kept] == [1]
    assert [row["revision"] for row in influx_server.query('SELECT "revision" FROM "time_bars"')] == [2]
    assert capsys.readouterr().out.count("influx does not say which bars it has") == 1
    await sink.close()


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"token": "wrong"}, "401: unauthorized access; check influx.token"),
        ({"org": "elsewhere"}, "404: organization .*; check influx.org"),
        ({"bucket": "other"}, "404: bucket .*bucket 'other' exists"),
    ],
)
async def test_what_a_person_must_put_right_at_influxdb_2_is_said(
    v2: InfluxV2, options: dict[str, str], advice: str
) -> None:
    sink = InfluxSink(v2.url, **({"token": v2.token, "org": v2.org, "bucket": v2.bucket} | options))
    await sink.open()

    with pytest.raises(DatabaseConnection, match=advice) as raised:
        await sink.write(trades(1))

    assert v2.token not in str(raised.value)
    await sink.close()

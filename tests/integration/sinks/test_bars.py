"""Bars made live, through a journal, into real databases: there they are what the same trades make offline."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow as pa
import pytest
from tests.servers.influx import InfluxServer
from tests.servers.postgres import PostgresServer
from tests.servers.questdb import QuestdbServer, questdb_server

from raven._core import Hub, LiveBars
from raven.bars import bar_spec, build
from raven.errors import DatabaseConnection, NetworkTimeout
from raven.journal import Journal, compact
from raven.journal.cursors import Position, save_cursor
from raven.ports import Sink, SinkBatch
from raven.resilience.breaker import BreakerSettings, CircuitBreaker
from raven.resilience.dead_letters import DeadLetterQueue
from raven.roles.persistence import Persistence, PersistenceSettings
from raven.sinks.influx import InfluxSink
from raven.sinks.postgres import PostgresSink
from raven.sinks.questdb import QuestdbSink
from raven.topics import DataType

__all__ = ["questdb_server"]

MS = 1_000_000
START_MS = 1_699_999_980_000
SYMBOLS = ("BTCUSDT", "1000PEPEUSDT")
KINDS: dict[str, dict[str, Any]] = {
    # Their topics are called after candles, as are those of the venue.
    "time": {"seconds": 60},
    "tick": {"ticks": 3},
    "volume": {"volume": 2.5, "split": True},
    "tick_imbalance": {"initial_size": 10},
    "vpin": {"bucket_volume": 0.7, "buckets": 5},
}
VALUES = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "sell_volume")
COLUMNS = (
    *("close_time", *VALUES, "buy_ticks", "sell_ticks", "theta", "threshold", "first_trade_id", "last_trade_id"),
    *("interval", "complete", "warming_up", "gap_count", "revision"),
)
Trade = tuple[int, int, int, int, bool]
Bars = list[tuple[Any, ...]]


def trades(count: int, seed: int) -> list[Trade]:
    """Time (ms), id, price and quantity (in thousandths) and side: three of a ms, some late, some missing."""
    chance = random.Random(seed)
    made = []
    for number in range(1, count + 1):
        made.append((START_MS + number // 3 * 4_000, number, 61_800_000 + chance.randint(-900, 900),
                     chance.choice((1, 70, 250, 4_000)), chance.random() < 0.5))  # fmt: skip
    for _ in range(count // 40):
        at = chance.randrange(count - 8)
        made.insert(at + chance.randint(1, 7), made.pop(at))
    for _ in range(count // 200):
        made.pop(chance.randrange(len(made)))
    return made


def write_journal(folder: Path, kind: str) -> dict[str, list[Trade]]:
    """Make bars live of trades of several symbols and keep them; return the trades."""
    source, target = Hub(), Hub()
    live = LiveBars(bar_spec(kind, **KINDS[kind]), source, target)
    journal = Journal(target, folder)
    journal.open()
    all_trades = {symbol: trades(1_500, seed) for seed, symbol in enumerate(SYMBOLS)}
    for symbol, some in all_trades.items():
        topic = source.create_topic("binance_spot", symbol, int(DataType.TRADES), 1 << 20)
        live.add(topic.topic_id, ring_bytes=1 << 20)
        for time_ms, number, price, quantity, sells in some:
            topic.trade(time_ms * MS + number, time_ms * MS, number, price, quantity, price_scale=3, quantity_scale=3,
                        taker_sells=sells)  # fmt: skip
            live.step(0, 10)
            if number % 500 == 0:
                journal.turn()
    journal.close()
    return all_trades


def offline(some: list[Trade], kind: str) -> Bars:
    """Return the bars of trades, in the order of their opening."""
    times, ids, prices, quantities, sells = zip(*some, strict=True)
    decimals = [pa.array([Decimal(one).scaleb(-3) for one in column], pa.decimal128(20, 3))
                for column in (prices, quantities)]  # fmt: skip
    table = pa.table(
        {"timestamp": times, "price": decimals[0], "quantity": decimals[1], "trade_id": ids,
         "side": ["sell" if one else "buy" for one in sells]}
    )  # fmt: skip
    bars = build(table, kind, open_bar=False, exact=True, details=True, **KINDS[kind])
    rows = zip(*(bars[name].to_pylist() for name in ("timestamp", *COLUMNS)), strict=True)
    return sorted(rows, key=lambda row: (row[0], row[COLUMNS.index("first_trade_id") + 1]))


async def bring(sink: Sink, journal: Path, *, batch_rows: int) -> None:
    """Write everything that is in a journal, from its beginning."""
    letters = DeadLetterQueue(journal.parent / "letters.sqlite")
    save_cursor(journal, "test", Position())
    settings = PersistenceSettings(batch_rows=batch_rows, batch_s=0.001)
    breaker = CircuitBreaker("test", BreakerSettings())
    persistence = Persistence("test", sink, journal, breaker=breaker, letters=letters, settings=settings)
    persistence.finish()
    await persistence.run()
    assert letters.letters() == []
    letters.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_postgres_has_the_bars_of_the_trades_to_the_last_digit_and_once(
    postgres_server: PostgresServer, tmp_path: Path, kind: str
) -> None:
    postgres_server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    all_trades = write_journal(tmp_path / "journal", kind)

    # Again from the beginning, as after a crash before the cursor was saved, in other batches.
    for batch_rows in (50_000, 7):
        await bring(PostgresSink(postgres_server.url), tmp_path / "journal", batch_rows=batch_rows)

    for symbol, some in all_trades.items():
        bars = await of_postgres(postgres_server, kind, symbol)
        assert bars == offline(some, kind)
        assert max(bar[-1] for bar in bars) > 0, "some were corrected"


async def test_what_has_become_parquet_comes_too(postgres_server: PostgresServer, tmp_path: Path) -> None:
    for kind in KINDS:
        folder = tmp_path / kind / "journal"
        all_trades = write_journal(folder, kind)
        with_a_newer_segment(folder)
        assert compact(folder).rows > 0
        postgres_server.query("DROP SCHEMA IF EXISTS raven CASCADE")

        await bring(PostgresSink(postgres_server.url), folder, batch_rows=500)

        for symbol, some in all_trades.items():
            assert await of_postgres(postgres_server, kind, symbol) == offline(some, kind)


def with_a_newer_segment(folder: Path) -> None:
    """Let a journal begin anew, with one trade: its newest segment is never compacted."""
    hub = Hub()
    journal = Journal(hub, folder)
    journal.open()
    topic = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 12)
    topic.trade(START_MS * MS, START_MS * MS, 1, 1, 1, price_scale=0, quantity_scale=0, taker_sells=False)
    journal.close()


async def of_postgres(server: PostgresServer, kind: str, symbol: str) -> Bars:
    connection = await asyncpg.connect(server.url)
    rows = await connection.fetch(
        f"SELECT (extract(epoch from open_time) * 1000)::bigint, {', '.join(COLUMNS)} FROM raven.{kind}_bars"
        " WHERE symbol = $1 ORDER BY open_time, first_trade_id, part",
        symbol,
    )
    await connection.close()
    return [(row[0], int(row[1].timestamp() * 1000 + 0.5), *tuple(row)[2:]) for row in rows]


async def of_influx(server: InfluxServer, kind: str, symbol: str) -> Bars:
    rows = await asyncio.to_thread(server.query, f"SELECT * FROM \"{kind}_bars\" WHERE symbol = '{symbol}'")
    rows.sort(key=lambda row: (row["time"] // MS, row["first_trade_id"], int(row.get("part") or 0)))
    return [(row["time"] // MS, row["close_time"] // MS, *(row[name] for name in COLUMNS[1:])) for row in rows]


async def of_questdb(server: QuestdbServer, kind: str, symbol: str) -> Bars:
    await asyncio.to_thread(server.count, f"{kind}_bars")
    times = ", ".join(f"cast({name} AS long) / {MS} AS {name}" for name in ("open_time", "close_time"))
    rows = await asyncio.to_thread(
        server.query,
        f"SELECT {times}, {', '.join(COLUMNS[1:])} FROM {kind}_bars WHERE symbol = '{symbol}'"
        " ORDER BY open_time, first_trade_id, part",
    )
    return [tuple(float(value) if name in VALUES else value for name, value in row.items()) for row in rows]


Asked = Callable[[Any, str, str], Awaitable[Bars]]


@pytest.mark.parametrize(
    ("server", "sink", "ask"),
    [("influx_server", InfluxSink, of_influx), ("questdb_server", QuestdbSink, of_questdb)],
    ids=["influx", "questdb"],
)
async def test_the_others_have_them_too(
    request: pytest.FixtureRequest, tmp_path: Path, server: str, sink: Callable[[str], Sink], ask: Asked
) -> None:
    running = request.getfixturevalue(server)
    for kind in KINDS:
        folder = tmp_path / kind / "journal"
        all_trades = write_journal(folder, kind)

        for batch_rows in (50_000, 300):
            await bring(sink(running.url), folder, batch_rows=batch_rows)

        for symbol, some in all_trades.items():
            assert await ask(running, kind, symbol) == doubles(offline(some, kind)), kind


def doubles(bars: Bars) -> Bars:
    """Return bars as databases have them that know no decimals, or say them as texts."""
    return [tuple(float(one) if isinstance(one, Decimal) else one for one in bar) for bar in bars]


class Killing:
    """A sink whose server is killed before one write, and after another one whose answer is lost."""

    def __init__(self, sink: Sink, server: Any) -> None:
        self._sink, self._server = sink, server
        self.writes = 0

    async def open(self) -> None:
        await self._sink.open()

    async def write(self, batch: SinkBatch) -> None:
        self.writes += 1
        if self.writes == 3:
            await asyncio.to_thread(self._server.kill)
            with pytest.raises((DatabaseConnection, NetworkTimeout)):
                await self._sink.write(batch)
            await asyncio.to_thread(self._server.start)
            raise DatabaseConnection("killed before it was written")
        await self._sink.write(batch)
        if self.writes == 6:
            await asyncio.to_thread(self._server.kill)
            await asyncio.to_thread(self._server.start)
            raise NetworkTimeout("killed before it answered")

    async def close(self) -> None:
        await self._sink.close()


@pytest.mark.parametrize(
    ("server", "sink", "ask"),
    [("influx_server", InfluxSink, of_influx), ("postgres_server", PostgresSink, of_postgres)],
    ids=["influx", "postgres"],
)
async def test_a_server_that_is_killed_twice_has_every_bar_once(
    request: pytest.FixtureRequest, tmp_path: Path, server: str, sink: Callable[[str], Sink], ask: Asked
) -> None:
    running = request.getfixturevalue(server)
    if server == "postgres_server":
        running.query("DROP SCHEMA IF EXISTS raven CASCADE")
    all_trades = write_journal(tmp_path / "journal", "vpin")
    killing = Killing(sink(running.url), running)

    await bring(killing, tmp_path / "journal", batch_rows=150)

    assert killing.writes > 6, "both writes that failed came again"
    for symbol, some in all_trades.items():
        found = await ask(running, "vpin", symbol)
        assert doubles(found) == doubles(offline(some, "vpin"))

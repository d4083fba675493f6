"""What `subscribe(...).batches()` yields."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any

import grpc
import polars as pl
import pyarrow as pa
import pytest
from tests.unit.client.messages import VENUE, book, gap, trade

import raven
from raven.client import Batch, RequestRefused
from raven.proto.market_data_pb2 import MarketDataMessage

if TYPE_CHECKING:
    from tests.unit.client.conftest import ScriptedServer

GONE = (grpc.StatusCode.UNAVAILABLE, "gone")


async def first(server: ScriptedServer, *messages: MarketDataMessage, count: int = 1) -> list[Batch]:
    server.plays(MarketDataMessage(batch=messages))
    async with raven.connect(server.address) as feed:
        batches = feed.subscribe("BTCUSDT").batches(wait_s=0.01)
        taken = [await anext(batches) for _ in range(count)]
        await batches.aclose()
    return taken


async def test_trades_are_columns_as_in_files_with_venue_and_symbol_in_front(server: ScriptedServer) -> None:
    sold = trade(2, "ETHUSDT")
    sold.trade.side, sold.trade.first_fill_id, sold.trade.last_fill_id = "sell", 5, 6

    (batch,) = await first(server, trade(1), sold)

    assert (batch.kind, len(batch)) == ("trades", 2)
    assert batch.records.schema.names == [
        *("venue", "symbol", "exchange_time", "recv_time", "id", "price", "quantity", "side"),
        *("first_fill_id", "last_fill_id", "sequence", "flags"),
    ]
    rows = batch.records.to_pylist()
    assert rows[0]["price"] == 61000.5
    assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT"]
    assert [row["side"] for row in rows] == ["buy", "sell"]
    assert (rows[1]["venue"], rows[1]["id"], rows[1]["last_fill_id"], rows[1]["sequence"]) == (VENUE, 2, 6, 2)
    assert batch.records.column("recv_time").cast(pa.int64()).to_pylist() == [2_001, 2_002]


async def test_books_are_lists_of_levels(server: ScriptedServer) -> None:
    (batch,) = await first(server, book(1), book(2, bid=200.0))

    assert batch.kind == "orderbook"
    assert batch.records.column("bid_prices").to_pylist() == [[100.0, 99.5], [200.0, 199.5]]
    assert batch.records.column("ask_quantities").to_pylist() == [[2.0], [2.0]]
    assert batch.records.column("bid_proven").to_pylist() == [1, 1]
    assert batch.records.column("id").to_pylist() == [901, 902]


async def test_each_batch_is_of_one_kind_and_gaps_are_rows(server: ScriptedServer) -> None:
    batches = await first(server, trade(1), book(1), gap(3, 2, "slow_reader"), trade(4), trade(7), count=3)

    assert [batch.kind for batch in batches] == ["orderbook", "trades", "gaps"]
    assert batches[1].records.column("sequence").to_pylist() == [1, 4, 7]
    gaps = batches[2].records.select(["data_type", "count", "reason", "repaired"]).to_pylist()
    assert gaps == [
        {"data_type": "trades", "count": 2, "reason": "slow_reader", "repaired": False},
        {"data_type": "trades", "count": 2, "reason": "upstream", "repaired": False},
    ]


async def test_quotes_candles_and_funding_have_their_columns(server: ScriptedServer) -> None:
    quote, candle, funding = (MarketDataMessage(venue=VENUE, sequence=1, receive_time_ns=5) for _ in range(3))
    quote.quote.symbol, quote.quote.bid_price, quote.quote.ask_quantity = "BTCUSDT", 99.5, 2.5
    candle.candle.symbol, candle.candle.timestamp, candle.candle.interval = "BTCUSDT", 60_000, "1m"
    candle.candle.open, candle.candle.close, candle.candle.total_ticks = 1.5, 2.5, 12
    funding.funding.symbol, funding.funding.rate, funding.funding.mark_price = "BTCUSDT", -0.0001, 61000.25

    quotes, candles, fundings = await first(server, quote, candle, funding, count=3)

    assert quotes.records.select(["bid_price", "ask_quantity"]).to_pylist() == [
        {"bid_price": 99.5, "ask_quantity": 2.5}
    ]
    row = candles.records.to_pylist()[0]
    assert (row["open"], row["close"], row["interval_s"], row["ticks"], row["closed"]) == (1.5, 2.5, 60, 12, True)
    assert row["open_time"].timestamp() == 60
    row = fundings.records.to_pylist()[0]
    assert (row["rate"], row["mark_price"], row["index_price"]) == (-0.0001, 61000.25, 0)


async def test_a_frame_is_one_call_away(server: ScriptedServer) -> None:
    (batch,) = await first(server, trade(1), trade(2))

    assert batch.to_polars()["price"].to_list() == [61000.5, 61000.5]
    assert batch.to_pandas()["symbol"].tolist() == ["BTCUSDT", "BTCUSDT"]
    assert pl.DataFrame(batch).height == pa.record_batch(batch).num_rows == 2


async def test_a_batch_ends_when_it_is_full(server: ScriptedServer) -> None:
    server.plays(*(MarketDataMessage(batch=[trade(2 * n + 1), trade(2 * n + 2)]) for n in range(3)))

    async with raven.connect(server.address) as feed:
        batches = feed.subscribe("BTCUSDT").batches(rows=2, wait_s=3600)
        lengths = [len(await anext(batches)) for _ in range(3)]
        await batches.aclose()

    assert lengths == [2, 2, 2]


@pytest.mark.parametrize("face", ["async", "blocking"])
async def test_a_lost_connection_goes_on_and_what_is_missing_is_a_row(server: ScriptedServer, face: str) -> None:
    server.plays(trade(1), ends=GONE)
    server.plays(trade(1), trade(4))

    def program() -> list[Any]:
        with raven.connect(server.address) as feed:
            return list(islice(feed.subscribe("BTCUSDT").batches(rows=1), 3))

    if face == "blocking":
        batches = await asyncio.to_thread(program)
    else:
        async with raven.connect(server.address) as feed:
            stream = feed.subscribe("BTCUSDT").batches(rows=1)
            batches = [await anext(stream) for _ in range(3)]
            await stream.aclose()

    assert [batch.kind for batch in batches] == ["trades", "trades", "gaps"]
    assert batches[1].records.column("sequence").to_pylist() == [4]
    assert batches[2].records.column("count").to_pylist() == [2]
    await server.until(lambda: server.open == 0)


@pytest.mark.parametrize("face", ["async", "blocking"])
async def test_a_refusal_is_raised_behind_what_came_before_it(server: ScriptedServer, face: str) -> None:
    server.plays(trade(1), ends=(grpc.StatusCode.NOT_FOUND, "no such symbol"))
    seen: list[Batch] = []

    def program() -> None:
        with raven.connect(server.address) as feed:
            seen.extend(feed.subscribe("BTCUSDT").batches(wait_s=3600))

    async def asynchronous() -> None:
        async with raven.connect(server.address) as feed:
            async for batch in feed.subscribe("BTCUSDT").batches(wait_s=3600):
                seen.append(batch)

    with pytest.raises(RequestRefused, match="no such symbol"):
        await (asyncio.to_thread(program) if face == "blocking" else asynchronous())

    assert [len(batch) for batch in seen] == [1]


async def test_cancelling_the_task_ends_the_stream(server: ScriptedServer) -> None:
    server.plays(trade(1))

    async def program() -> None:
        async with raven.connect(server.address) as feed:
            async for _ in feed.subscribe("BTCUSDT").batches():
                pass

    task = asyncio.create_task(program())
    await server.until(lambda: server.open == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.until(lambda: server.open == 0)

    assert len(server.asked) == 1


async def test_a_blocking_program_that_waits_is_ended_by_another_thread(server: ScriptedServer) -> None:
    server.plays(trade(1))
    streams: list[Any] = []

    def program() -> int:
        with raven.connect(server.address) as feed:
            streams.append(feed.subscribe("BTCUSDT"))
            return sum(1 for _ in streams[0])

    running = asyncio.create_task(asyncio.to_thread(program))
    await server.until(lambda: bool(streams) and streams[0].is_connected)
    streams[0].close()

    assert await running == 1

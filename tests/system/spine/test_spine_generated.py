"""A made-up market, live: our books are the exchange's own, and what is collected follows what is wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from raven._core import GrpcServer
from raven.exchange import ExchangeConfig
from raven.fanout import Fanout
from raven.ingest.thread import Ingest
from raven.proto import subscription_pb2 as wire
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.serve.grpc import GrpcFace
from raven.topics import DataType

VENUE_OF = {"usdm": "binance_futures", "spot": "binance_spot", "coinm": "binance_coinm"}
KINDS = (DataType.ORDERBOOK, DataType.TRADES, DataType.QUOTES)
SYMBOLS = {
    "spot": ("BTCUSDT", "ETHUSDT"),
    "usdm": ("BTCUSDT", "ETHUSDT"),
    "coinm": ("BTCUSD_PERP", "ETHUSD_PERP"),
}


async def test_books_of_three_markets_are_those_of_the_exchange(
    spine: Callable[..., Any], in_order: Callable[..., None]
) -> None:
    config = ExchangeConfig(markets=tuple(SYMBOLS), rate=2000, levels=300, seed=5)

    async with spine(config, SYMBOLS) as parts:
        await parts.until(parts.are_synced, "all books in sync")
        rows = [(market, symbol) for market, symbols in SYMBOLS.items() for symbol in symbols]
        readers = {
            (market, symbol, kind): parts.reader(VENUE_OF[market], symbol, kind)
            for market, symbol in rows
            for kind in KINDS
        }
        engine = parts.ingest.engine
        handles = {row: parts.instrument(VENUE_OF[row[0]], row[1]) for row in rows}
        before = {row: engine.counters(handles[row])["books"] for row in rows}
        await parts.until(
            lambda: all(engine.counters(handles[row])["books"] > before[row] + 20 for row in rows), "the market moves"
        )
        parts.exchange.pause()

        for market, symbol in rows:
            truth = parts.exchange.book(symbol, market)
            await parts.until(
                lambda row=(market, symbol), truth=truth: engine.book(handles[row])["update_id"] == truth.update_id,
                f"{market} {symbol} at the exchange's update id",
            )
            assert engine.canonical(handles[market, symbol]) == truth.canonical(), (market, symbol)
        for (_, _, kind), reader in readers.items():
            in_order(reader.drain(1_000_000), ids_in_a_row=kind is DataType.TRADES)


@asynccontextmanager
async def served(ingest: Ingest) -> AsyncIterator[MarketDataServiceStub]:
    """Serve what is collected over gRPC; yield a plain client's stub."""
    server = GrpcServer(ingest.hub, port=0)
    face = GrpcFace(server, Fanout(ingest, server))
    await face.start()
    face.set_serving(True)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{face.port}") as channel:
            yield MarketDataServiceStub(channel)
    finally:
        await face.drain(1.0)


@pytest.mark.parametrize("leaves_by", ["unsubscribing", "hanging up"])
async def test_demand_starts_a_symbol_and_its_end_ends_it(spine: Callable[..., Any], leaves_by: str) -> None:
    config = ExchangeConfig(markets=("usdm",), symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"), rate=600, levels=150)
    async with spine(config, {"usdm": ("BTCUSDT",)}) as parts, served(parts.ingest) as stub:
        await parts.until(parts.are_synced, "the configured book is in sync")
        configured = set(parts.ingest.collections.topics())
        subscriptions = parts.exchange.state()["usdm"]["streams"]
        assert {topic.symbol for topic in configured} == {"BTCUSDT"}
        wanted = wire.SubscribeRequest(symbols=["SOLUSDT"], data_types=[int(DataType.TRADES), int(DataType.ORDERBOOK)])
        clients = [stub.StreamMarketData() for _ in range(2)]

        for client in clients:
            await client.write(wire.SubscriptionRequest(subscribe=wanted))
            heard = set()
            while heard != {"trade", "orderbook"}:
                heard.add((await client.read()).WhichOneof("data"))
        started = set(parts.ingest.collections.topics()) - configured
        assert {(topic.symbol, topic.data_type) for topic in started} == {
            ("SOLUSDT", DataType.TRADES),
            ("SOLUSDT", DataType.ORDERBOOK),
        }

        await leave(clients[0], leaves_by)
        await parts.until(
            lambda: all(parts.ingest.collections.topics()[topic] == 1 for topic in started), "the first has left"
        )
        assert (await clients[1].read()).ByteSize() > 0

        await leave(clients[1], leaves_by)
        await parts.until(lambda: set(parts.ingest.collections.topics()) == configured, "only the configured stay")
        await parts.until(
            lambda: parts.exchange.state()["usdm"]["streams"] == subscriptions, "the exchange was told to stop"
        )
        assert [symbol for (_, symbol), _ in parts.ingest.instruments()] == ["BTCUSDT"]
        assert parts.are_synced()
        for client in clients:
            client.cancel()


async def leave(client: Any, how: str) -> None:
    if how == "hanging up":
        client.cancel()
    else:
        await client.write(wire.SubscriptionRequest(unsubscribe=wire.UnsubscribeRequest(symbols=["SOLUSDT"])))

"""From an exchange's socket to a client's hand: the built-in exchange, ingest, fan-out, gRPC, our client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

import raven
from raven.client import OrderBook, RequestRefused, Trade
from raven.exchange import Exchange, ExchangeConfig
from raven.fanout import Fanout
from raven.topics import DataType

_core = pytest.importorskip("raven._core", reason="the native module is not built; run `make build`")
ingest = pytest.importorskip("raven.ingest.thread", reason="ingest is not there")

from raven.ingest.settings import IngestSettings, VenuePlan  # noqa: E402 - after the skips above
from raven.serve.grpc import GrpcFace  # noqa: E402
from raven.venues import binance  # noqa: E402

VENUE = "binance_futures"


@dataclass
class Spine:
    ingest: Any
    face: GrpcFace
    exchange: Exchange

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.face.port}"

    def holders(self) -> dict[str, int]:
        return {topic.name: count for topic, count in self.ingest.collections.topics().items()}

    async def until(self, condition: Any, seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition never became true"
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def spine() -> AsyncIterator[Spine]:
    if not hasattr(_core, "GrpcServer"):
        pytest.skip("the native module was built without the gRPC server; run `make build`")
    config = ExchangeConfig(markets=("usdm",), symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"), seed=7)
    async with Exchange(config) as exchange:
        market = exchange.market("usdm")
        plan = VenuePlan(VENUE, ws_url=market.ws_url, rest_url=market.rest_url, symbols=("BTCUSDT",))
        hub = _core.Hub()
        collecting = ingest.Ingest(hub, [(binance.usdm, plan)], settings=IngestSettings(linger_s=0.2))
        await collecting.start()
        server = _core.GrpcServer(hub, port=0)
        face = GrpcFace(server, Fanout(collecting, server))
        await face.start()
        yield Spine(collecting, face, exchange)
        await face.drain(2.0)
        await collecting.stop()


async def test_books_and_trades_of_a_configured_symbol_reach_the_client(spine: Spine) -> None:
    books: list[OrderBook] = []
    trades: list[Trade] = []
    async with asyncio.timeout(20), raven.connect(spine.address) as feed:
        async for event in feed.subscribe("BTCUSDT", types=["trades", "orderbook"], overflow="gap"):
            (books if isinstance(event, OrderBook) else trades).append(event)
            if len(books) >= 20 and len(trades) >= 5:
                break

    good = [book for book in books if book.is_trustworthy]
    assert good
    assert all(book.spread is not None and book.spread > 0 for book in good)
    assert all(after.sequence == before.sequence + 1 for before, after in pairwise(trades))
    assert all(int(after.trade_id) == int(before.trade_id) + 1 for before, after in pairwise(trades))


async def test_the_first_subscriber_starts_a_symbol_and_the_last_one_to_leave_ends_it(spine: Spine) -> None:
    name = f"{VENUE}.SOLUSDT.TRADES"
    assert name not in spine.holders()

    async with asyncio.timeout(20), raven.connect(spine.address) as feed:
        async for event in feed.subscribe("SOLUSDT", types="trades"):
            assert event.symbol == "SOLUSDT"
            break
        else:
            pytest.fail("the stream ended")
    await spine.until(lambda: name not in spine.holders())

    assert f"{VENUE}.BTCUSDT.TRADES" in spine.holders()


async def test_a_symbol_that_the_venue_does_not_list_is_refused_by_name(spine: Spine) -> None:
    async with asyncio.timeout(20), raven.connect(spine.address) as feed:
        with pytest.raises(RequestRefused, match="NOPEUSDT"):
            await anext(aiter(feed.subscribe("NOPEUSDT", types="trades")))


async def test_a_deeper_book_is_served_beside_the_default_one(spine: Spine) -> None:
    async with asyncio.timeout(20), raven.connect(spine.address) as feed:
        async for event in feed.subscribe("ETHUSDT", types=[DataType.ORDERBOOK], depth=100):
            if len(event.bids) == 100:
                break
        async for shallow in feed.subscribe("ETHUSDT", types=[DataType.ORDERBOOK]):
            if shallow.bids:
                break

    assert len(event.bids) == 100
    assert len(shallow.bids) == 20

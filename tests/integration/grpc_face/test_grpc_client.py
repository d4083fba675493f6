"""Our own client against the native server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import raven
from raven.client import Gap, OrderBook, Reconnected, RequestRefused, Trade

if TYPE_CHECKING:
    from tests.integration.grpc_face.conftest import MakeScene, Scene


async def collect(address: str, into: list[Any], **options: Any) -> None:
    async with raven.connect(address) as feed:
        async for event in feed.subscribe(["BTCUSDT", "BOOKUSDT"], types=["trades", "orderbook"], **options):
            into.append(event)


@pytest.fixture
def events() -> list[Any]:
    return []


async def test_books_and_trades_arrive_as_records(scene: Scene, events: list[Any]) -> None:
    scene.market.writer("BTCUSDT")
    async with raven.connect(scene.address, client_id="desk") as feed:
        books = aiter(feed.subscribe("BOOKUSDT", types="orderbook", depth=3))
        book = await anext(books)
        trades = aiter(feed.subscribe("BTCUSDT", types="trades"))
        pending = asyncio.ensure_future(anext(trades))
        await scene.subscribed("BTCUSDT")
        scene.market.trade("BTCUSDT", 2)
        trade = await pending

        assert isinstance(book, OrderBook)
        assert [price for price, _ in book.bids] == [100.0, 99.9, 99.8]
        assert book.quality.name == "SNAPSHOT"
        assert isinstance(trade, Trade)
        assert (trade.price, trade.quantity, trade.side, trade.trade_id) == (61000.5, 0.25, "sell", "2")
        assert [client["client_id"] for client in scene.face.clients()] == ["desk"]


async def test_a_refusal_reaches_the_program_in_the_servers_words(scene: Scene) -> None:
    async with raven.connect(scene.address) as feed:
        with pytest.raises(RequestRefused, match="did you mean 'BTCUSDT'"):
            await anext(aiter(feed.subscribe("BTCUSD", types="trades")))


async def test_a_program_that_sleeps_gets_a_gap_and_every_loss_is_counted(scene: Scene) -> None:
    async with raven.connect(scene.address, read_ahead_bytes=65_536) as feed:
        stream = aiter(feed.subscribe("BTCUSDT", types="trades"))
        first = asyncio.ensure_future(anext(stream))
        await scene.subscribed("BTCUSDT")
        scene.market.trade("BTCUSDT", 1)
        seen: list[Any] = [await first]
        total = 1_000_000
        for start in range(2, total, 5000):
            scene.market.trades("BTCUSDT", 5000, start)
            await asyncio.sleep(0)
        last = scene.market.hub.head(scene.market.writer("BTCUSDT").topic_id)
        async for event in stream:
            seen.append(event)
            if event.sequence == last:
                break

    gaps = [event for event in seen if isinstance(event, Gap)]
    trades = [event for event in seen if isinstance(event, Trade)]
    assert gaps
    assert len(trades) + sum(gap.count for gap in gaps) == last


async def test_a_restarted_server_shows_as_a_record(make_scene: MakeScene, events: list[Any]) -> None:
    first = await make_scene()
    task = asyncio.create_task(collect(first.address, events))
    await first.until(lambda: events)
    await first.face.drain(1.0)

    second = await make_scene(listen_port=first.port)
    await second.until(lambda: any(isinstance(event, Reconnected) for event in events))
    await second.until(lambda: isinstance(events[-1], OrderBook))
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    lost = next(event for event in events if isinstance(event, Reconnected))
    assert "UNAVAILABLE" in lost.reason
    assert lost.attempts >= 1


async def test_the_blocking_client_reads_the_same_server(scene: Scene) -> None:
    def program() -> Any:
        with raven.connect(scene.address) as feed:
            return next(feed.subscribe("BOOKUSDT", types="orderbook"))

    book = await asyncio.to_thread(program)

    assert isinstance(book, OrderBook)
    assert len(book.bids) == 20

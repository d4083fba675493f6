"""The Python client and a real server: connections that are killed, and a server that is started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import raven
from raven.client import Gap, OrderBook, Reconnected, Trade
from raven.topics import DataType

from .conftest import MakeScene, Scene

UNAVAILABLE = 14


async def collect(address: str, into: list[Any], batches: list[Any] | None = None) -> None:
    """Hear trades, one by one or as batches."""
    async with raven.connect(address) as feed:
        stream = feed.subscribe("BTCUSDT", "trades", overflow="gap", heartbeat_ms=0)
        if batches is None:
            async for event in stream:
                into.append(event)
        else:
            async for batch in stream.batches(wait_s=0.01):
                batches.append(batch)
                column = "count" if batch.kind == "gaps" else "id"
                into.extend((batch.kind, value) for value in batch.records.column(column).to_pylist())


def kill_connections(scene: Scene) -> None:
    """End every stream as a connection that breaks does."""
    for stream in scene.server.streams():
        scene.server.close_stream(stream[0], UNAVAILABLE, "cut")


async def run(scene: Scene, into: list[Any], heard: Callable[[], list[int]], **options: Any) -> asyncio.Task[None]:
    """Begin to collect, and come back when a first trade has come."""
    task = asyncio.create_task(collect(scene.address, into, **options))
    await scene.subscribed("BTCUSDT")
    scene.market.trade("BTCUSDT", 1)
    await scene.until(lambda: heard() == [1])
    return task


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("as_batches", [False, True], ids=["records", "batches"])
async def test_killed_again_and_again_it_gets_every_trade_once(scene: Scene, as_batches: bool) -> None:
    seen: list[Any] = []

    def ids() -> list[int]:
        if as_batches:
            return [value for kind, value in seen if kind == "trades"]
        return [int(event.trade_id) for event in seen if isinstance(event, Trade)]

    def is_there(trade_id: int) -> bool:
        return ids()[-1] == trade_id

    task = await run(scene, seen, ids, batches=[] if as_batches else None)
    for last in range(1001, 5002, 1000):
        for trade_id in range(last - 999, last + 1):
            if trade_id == last - 500:
                # What is published while nobody listens must be there, too.
                kill_connections(scene)
            scene.market.trade("BTCUSDT", trade_id)
        await scene.until(partial(is_there, last))
    await end(task)

    assert ids() == list(range(1, 5002))
    kinds = {kind for kind, _ in seen} if as_batches else {type(event) for event in seen}
    assert kinds == ({"trades"} if as_batches else {Trade, Reconnected})


async def test_what_left_the_servers_memory_meanwhile_is_a_gap_with_its_count(scene: Scene) -> None:
    seen: list[Any] = []

    def ids() -> list[int]:
        return [int(event.trade_id) for event in seen if isinstance(event, Trade)]

    task = await run(scene, seen, ids)
    kill_connections(scene)
    # Several times what the ring holds, before the client is back.
    total = 100_000
    scene.market.trades("BTCUSDT", total - 1, 2)
    await scene.until(lambda: ids()[-1] == total)
    await end(task)

    gaps = [event for event in seen if isinstance(event, Gap)]
    assert [gap.reason for gap in gaps] == ["upstream"]
    assert gaps[0].data_type is DataType.TRADES
    assert len(ids()) + gaps[0].count == total
    assert len(set(ids())) == len(ids())


async def test_a_server_that_is_started_again_begins_anew_and_says_so(make_scene: MakeScene) -> None:
    first = await make_scene()
    seen: list[Any] = []

    def ids() -> list[int]:
        return [int(event.trade_id) for event in seen if isinstance(event, Trade)]

    task = await run(first, seen, ids)
    await first.face.drain(1.0)
    second = await make_scene(listen_port=first.port)
    # Published before the client is back: it comes all the same, for the topic is heard from its beginning.
    second.market.trade("BTCUSDT", 7)
    await second.until(lambda: ids() == [1, 7])
    second.market.trade("BTCUSDT", 8)
    await second.until(lambda: ids() == [1, 7, 8])
    await end(task)

    assert [type(event) for event in seen] == [Trade, Reconnected, Gap, Trade, Trade]
    assert (seen[2].reason, seen[2].count) == ("upstream", 0)


async def test_books_go_on_with_the_newest_state(scene: Scene) -> None:
    async with raven.connect(scene.address) as feed:
        events = aiter(feed.subscribe("BOOKUSDT", "orderbook", depth=3))
        await anext(events)
        scene.market.move_book(quantity=5)
        seen = [await anext(events)]
        kill_connections(scene)
        scene.market.move_book(quantity=9)
        while len(seen) < 3:
            seen.append(await anext(events))

    books = [event for event in seen if isinstance(event, OrderBook)]
    assert {type(event) for event in seen} == {OrderBook, Reconnected}
    assert [book.best_bid for book in books] == [(100.0, 5.0), (100.0, 9.0)]
    assert books[0].sequence + 1 == books[1].sequence

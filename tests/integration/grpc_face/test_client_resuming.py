"""The Python client and a real server (fault S3): connections that are killed, and a server that is started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import raven
from raven.client import Gap, OrderBook, Reconnected, Trade
from raven.topics import DataType

from .conftest import MakeScene, Scene

pytestmark = pytest.mark.fault("S3")

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
    """End every stream as a connection that breaks does, and come back when none is left.

    The loop is held meanwhile, and with it a client on it: what is published next is published while that is away.
    """
    deadline = time.monotonic() + 10
    for stream in scene.server.streams():
        scene.server.close_stream(stream[0], UNAVAILABLE, "cut")
    while scene.server.streams():
        assert time.monotonic() < deadline, "streams that were closed are still there"
        time.sleep(0.001)


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
    # Several times what the ring holds.
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


async def test_books_and_their_gaps_of_a_server_that_is_started_again(make_scene: MakeScene) -> None:
    first = await make_scene()
    async with raven.connect(first.address) as feed:
        events = aiter(feed.subscribe("BOOKUSDT", "orderbook", heartbeat_ms=0))
        seen = [await anext(events)]
        first.market.move_book()
        seen.append(await anext(events))
        await first.face.drain(1.0)
        second = await make_scene(listen_port=first.port)
        seen += [await anext(events) for _ in range(3)]
        # The marks and positions of a book are of the book: it can be taken up once more.
        kill_connections(second)
        second.market.move_book(quantity=9)
        while not isinstance(seen[-1], OrderBook) or seen[-1].best_bid != (100.0, 9.0):
            seen.append(await anext(events))

    assert [type(event) for event in seen[:5]] == [OrderBook, OrderBook, Reconnected, Gap, OrderBook]
    assert (seen[3].data_type, seen[3].reason, seen[3].repaired) == (DataType.ORDERBOOK, "upstream", True)


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


class Cable:
    """A connection that a test can cut: what a client sends to `port` goes to the server, and back."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self.port = 0

    async def plug_in(self) -> None:
        """Listen, on the same port as before."""
        self._listening = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break every connection without a word, and take no new one."""
        if self._listening is not None:
            self._listening.close()
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._ends += [writer, server_writer]
        for source, sink in ((reader, server_writer), (server_reader, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest.mark.parametrize("face", ["async", "blocking"])
async def test_a_cable_that_is_cut_loses_nothing_and_doubles_nothing(scene: Scene, face: str) -> None:
    cable = Cable(scene.port)
    await cable.plug_in()
    seen: list[Any] = []
    last = 3_000

    def is_done() -> bool:
        return isinstance(seen[-1], Trade) and seen[-1].trade_id == str(last)

    def blocking() -> None:
        with raven.connect(f"127.0.0.1:{cable.port}") as feed:
            for event in feed.subscribe("BTCUSDT", "trades"):
                seen.append(event)
                if is_done():
                    return

    async def on_loop() -> None:
        async with raven.connect(f"127.0.0.1:{cable.port}") as feed:
            async for event in feed.subscribe("BTCUSDT", "trades"):
                seen.append(event)
                if is_done():
                    return

    running = asyncio.create_task(asyncio.to_thread(blocking) if face == "blocking" else on_loop())
    await scene.subscribed("BTCUSDT")
    for trade_id in range(1, last + 1):
        scene.market.trade("BTCUSDT", trade_id)
        if trade_id in (1_000, 2_000):
            await scene.until(lambda: bool(seen) and isinstance(seen[-1], Trade))
            cable.cut()
            await cable.plug_in()
        elif trade_id % 50 == 0:
            await asyncio.sleep(0)
    await running
    cable.cut()

    assert [int(event.trade_id) for event in seen if isinstance(event, Trade)] == list(range(1, last + 1))
    assert {type(event) for event in seen} == {Trade, Reconnected}


async def test_a_past_that_is_cut_off_is_whole_in_the_end_and_comes_once(make_scene: MakeScene, tmp_path: Path) -> None:
    scene: Scene = await make_scene(journal=tmp_path)
    for trade_id in range(1, 5_001):
        scene.market.trade("BTCUSDT", trade_id)
    assert scene.journal is not None
    await asyncio.to_thread(scene.journal.commit_now)

    seen: list[int] = []
    async with raven.connect(scene.address) as feed:
        async for event in feed.subscribe("BTCUSDT", "trades", start=0):
            if isinstance(event, Reconnected):
                continue
            assert isinstance(event, Trade), event
            seen.append(int(event.trade_id))
            if len(seen) in (1_000, 3_000):
                kill_connections(scene)
            if len(seen) == 5_000:
                scene.market.trade("BTCUSDT", 5_001)
            if len(seen) == 5_001:
                break

    assert seen == list(range(1, 5_002))


async def test_a_live_book_goes_on_when_the_connection_was_cut(scene: Scene) -> None:
    async with raven.connect(scene.address) as feed, feed.live_book("BOOKUSDT", depth=20) as book:
        assert not book.is_stale
        kill_connections(scene)
        await scene.until(lambda: book.stale_reason == "the server is away")
        scene.market.move_book(quantity=8)
        await scene.until(lambda: not book.is_stale)
        assert book.best_bid == (100.0, 8.0)

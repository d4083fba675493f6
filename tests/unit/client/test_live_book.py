"""A book that keeps itself in sync."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.unit.client.messages import VENUE, book, gap

import raven
from raven.client import LiveBook, RequestRefused
from raven.errors import NetworkTimeout
from raven.proto.market_data_pb2 import MarketDataMessage

if TYPE_CHECKING:
    from tests.unit.client.conftest import ScriptedServer

STALE, RESYNCING = 2, 16


class Gate:
    """An act that sends what the test hands it."""

    def __init__(self, server: ScriptedServer) -> None:
        self._queue: asyncio.Queue[MarketDataMessage | None] = asyncio.Queue()
        server.acts.append(self._act)

    async def _act(self, context: Any) -> None:
        while (message := await self._queue.get()) is not None:
            await context.write(message)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    def send(self, *messages: MarketDataMessage | None) -> None:
        """Send messages; None ends the stream."""
        for message in messages:
            self._queue.put_nowait(message)


async def until(live: LiveBook, sequence: int) -> None:
    while live.sequence != sequence:
        assert await live.changed(10)


async def test_it_has_a_state_at_once_and_follows(server: ScriptedServer) -> None:
    gate = Gate(server)
    gate.send(book(1, flags=1))
    async with raven.connect(server.address) as feed, feed.live_book("BTCUSDT", depth=2) as live:
        assert (live.best_bid, live.best_ask, live.mid, live.spread) == ((100.0, 1.0), (101.0, 2.0), 100.5, 1.0)
        assert (live.depth, live.sequence, live.exchange_ns, live.recv_ns) == ((2, 1), 1, 1_000, 2_001)
        assert not live.is_stale
        gate.send(book(2, bid=200.0))
        assert await live.changed(10)
        assert live.best_bid == (200.0, 1.0)
        assert not await live.changed(0.01), "nothing came since"
    assert server.asked[0].subscribe.filters["depth"] == "2"
    await server.until(lambda: server.open == 0)


async def test_levels_are_arrays_and_arrow(server: ScriptedServer) -> None:
    Gate(server).send(book(1))
    async with raven.connect(server.address) as feed, feed.live_book("BTCUSDT") as live:
        assert live.bids().tolist() == [[100.0, 1.0], [99.5, 3.0]]
        assert live.bids(1).shape == (1, 2)
        assert (live.asks()[:, 1] * 2).tolist() == [4.0]
        rows = live.to_arrow().to_pylist()
    assert rows[1] == {"side": "bid", "level": 1, "price": 99.5, "quantity": 3.0}
    assert [row["side"] for row in rows] == ["bid", "bid", "ask"]


async def test_a_side_may_be_empty(server: ScriptedServer) -> None:
    empty = MarketDataMessage(venue=VENUE, sequence=1)
    empty.orderbook.symbol = "BTCUSDT"
    Gate(server).send(empty)
    async with raven.connect(server.address) as feed, feed.live_book("BTCUSDT") as live:
        assert (live.best_bid, live.best_ask, live.mid, live.spread) == (None, None, None, None)
        assert live.bids().shape == (0, 2)
        assert live.to_arrow().num_rows == 0


async def test_marks_of_the_server_and_gaps_make_it_stale_until_a_good_state(server: ScriptedServer) -> None:
    gate = Gate(server)
    gate.send(book(1))
    async with raven.connect(server.address) as feed, feed.live_book("BTCUSDT") as live:
        gate.send(book(2, flags=STALE | RESYNCING))
        await until(live, 2)
        assert live.stale_reason == "stale and resyncing"
        gate.send(book(3))
        await until(live, 3)
        assert not live.is_stale
        gate.send(gap(4, 5, "venue_gap", data_type=0))
        assert await live.changed(10)
        assert live.stale_reason == "updates are missing since"
        gate.send(book(5))
        await until(live, 5)
        assert not live.is_stale


async def test_it_is_stale_while_the_server_is_away_and_goes_on(server: ScriptedServer) -> None:
    gate, after = Gate(server), Gate(server)
    gate.send(book(1))
    async with raven.connect(server.address) as feed, feed.live_book("BTCUSDT") as live:
        gate.send(None)
        await server.until(lambda: live.stale_reason == "the server is away")
        after.send(book(2))
        await until(live, 2)
        assert not live.is_stale


async def test_what_the_server_refuses_is_raised(server: ScriptedServer) -> None:
    server.plays(ends=(grpc.StatusCode.NOT_FOUND, "no such symbol"))
    async with raven.connect(server.address) as feed:
        with pytest.raises(RequestRefused, match="no such symbol"):
            async with feed.live_book("NOPE"):
                pass


async def test_a_book_that_never_comes_is_an_error_in_time(server: ScriptedServer) -> None:
    server.plays()
    async with raven.connect(server.address) as feed:
        with pytest.raises(NetworkTimeout, match=r"no state of the book came within 0\.05 s"):
            async with feed.live_book("BTCUSDT", timeout_s=0.05):
                pass
    await server.until(lambda: server.open == 0)


async def test_before_it_is_entered_it_says_so(server: ScriptedServer) -> None:
    async with raven.connect(server.address) as feed:
        live = feed.live_book("BTCUSDT")
        assert live.stale_reason == "no state came yet"
        with pytest.raises(NetworkTimeout, match="no state of the book came yet"):
            _ = live.best_bid


async def test_the_blocking_face_follows_in_a_thread(server: ScriptedServer) -> None:
    gate = Gate(server)
    gate.send(book(1))
    loop = asyncio.get_running_loop()
    seen: list[Any] = []

    def program() -> None:
        with raven.connect(server.address) as feed, feed.live_book("BTCUSDT") as live:
            seen.append((live.best_bid, live.is_stale))
            loop.call_soon_threadsafe(gate.send, book(2, bid=200.0))
            seen.append(live.changed(10))
            seen.append(live.best_bid)

    await asyncio.to_thread(program)

    assert seen == [((100.0, 1.0), False), True, (200.0, 1.0)]
    await server.until(lambda: server.open == 0)


async def test_the_blocking_face_raises_what_the_server_refuses(server: ScriptedServer) -> None:
    server.plays(ends=(grpc.StatusCode.NOT_FOUND, "no such symbol"))

    def program() -> None:
        with raven.connect(server.address) as feed, feed.live_book("NOPE"):
            pass

    with pytest.raises(RequestRefused, match="no such symbol"):
        await asyncio.to_thread(program)

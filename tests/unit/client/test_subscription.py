"""What a program sees that iterates over a subscription."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import raven
from raven.client import Gap, OrderBook, Reconnected, RequestRefused, ServerUnreachable, Trade
from raven.errors import ConfigurationError
from raven.proto.market_data_pb2 import MarketDataMessage
from raven.records import Flags
from raven.topics import DataType

if TYPE_CHECKING:
    from tests.unit.client.conftest import ScriptedServer


def trade(sequence: int) -> MarketDataMessage:
    message = MarketDataMessage(
        venue="binance_futures", sequence=sequence, receive_time_ns=2_000, exchange_time_ns=1_000
    )
    message.trade.symbol, message.trade.timestamp = "BTCUSDT", 1
    message.trade.price, message.trade.quantity = 61000.5, 0.25
    message.trade.side, message.trade.trade_id = "buy", str(sequence)
    return message


async def take(events: Any, count: int) -> list[Any]:
    taken: list[Any] = []
    async for event in events:
        taken.append(event)
        if len(taken) == count:
            break
    return taken


async def test_trades_arrive_as_records_whose_fields_say_their_unit(server: ScriptedServer) -> None:
    server.plays(trade(7))

    async with raven.connect(server.address) as feed:
        (event,) = await take(feed.subscribe("BTCUSDT", types="trades"), 1)

    assert event == Trade(
        venue="binance_futures",
        symbol="BTCUSDT",
        exchange_ns=1_000,
        recv_ns=2_000,
        sequence=7,
        flags=0,
        price=61000.5,
        quantity=0.25,
        side="buy",
        trade_id="7",
    )


async def test_a_book_knows_its_touch_and_its_quality(server: ScriptedServer) -> None:
    message = MarketDataMessage(venue="binance_futures", sequence=1, flags=1 | 2)
    message.orderbook.symbol, message.orderbook.timestamp, message.orderbook.sequence = "BTCUSDT", 5, 99
    for price in (100.0, 99.5):
        message.orderbook.bids.add(price=price, quantity=1.0)
    message.orderbook.asks.add(price=100.5, quantity=2.0)
    server.plays(message)

    async with raven.connect(server.address) as feed:
        (book,) = await take(feed.subscribe("BTCUSDT", types="orderbook"), 1)

    assert isinstance(book, OrderBook)
    assert (book.best_bid, book.best_ask, book.mid, book.spread) == ((100.0, 1.0), (100.5, 2.0), 100.25, 0.5)
    assert book.quality == Flags.SNAPSHOT | Flags.STALE
    assert not book.is_trustworthy
    assert book.exchange_ns == 5_000_000
    assert str(book) == "OrderBook(BTCUSDT bid 1 @ 100.0, ask 2 @ 100.5, 2+1 levels, SNAPSHOT|STALE)"


async def test_batches_are_unpacked_and_heartbeats_are_not_seen(server: ScriptedServer) -> None:
    server.plays(MarketDataMessage(), MarketDataMessage(batch=[trade(1), trade(2)]), MarketDataMessage(), trade(3))

    async with raven.connect(server.address) as feed:
        events = await take(feed.subscribe("BTCUSDT"), 3)

    assert [event.sequence for event in events] == [1, 2, 3]


async def test_a_gap_is_a_record_in_its_place(server: ScriptedServer) -> None:
    gap = MarketDataMessage(venue="binance_futures", sequence=5)
    gap.gap.symbol, gap.gap.data_type, gap.gap.count, gap.gap.reason = "BTCUSDT", 1, 4, "slow_reader"
    server.plays(trade(1), gap, trade(6))

    async with raven.connect(server.address) as feed:
        events = await take(feed.subscribe("BTCUSDT"), 3)

    assert isinstance(events[1], Gap)
    assert (events[1].count, events[1].data_type, events[1].reason) == (4, DataType.TRADES, "slow_reader")


async def test_data_of_a_newer_server_is_passed_over(server: ScriptedServer) -> None:
    unknown = MarketDataMessage()
    unknown.wallet.user_id = "me"
    server.plays(unknown, trade(1))

    async with raven.connect(server.address) as feed:
        events = await take(feed.subscribe("BTCUSDT"), 1)

    assert [event.sequence for event in events] == [1]


async def test_the_options_travel_as_filters(server: ScriptedServer) -> None:
    server.plays(trade(1))

    async with raven.connect(server.address, client_id="desk", token="s3cret") as feed:
        await take(
            feed.subscribe(
                ["BTCUSDT", "ETHUSDT"],
                types=["book", DataType.TRADES],
                venue="binance_spot",
                depth=10,
                conflate_ms=100,
                overflow="gap",
                batch=8,
                heartbeat_ms=500,
            ),
            1,
        )

    subscribe = server.asked[0].subscribe
    assert (subscribe.client_id, list(subscribe.symbols), list(subscribe.data_types)) == (
        "desk",
        ["BTCUSDT", "ETHUSDT"],
        [0, 1],
    )
    assert dict(subscribe.filters) == {
        "venue": "binance_spot",
        "depth": "10",
        "conflate_ms": "100",
        "overflow": "gap",
        "batch": "8",
        "heartbeat_ms": "500",
    }
    assert server.metadata[0]["authorization"] == "Bearer s3cret"


async def test_a_server_that_is_not_there_is_named_with_how_to_start_one() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"

        with pytest.raises(ServerUnreachable, match=r"no Raven server answers at .* start one with `raven --demo`"):
            async with raven.connect(address, timeout_s=0.2):
                pass


async def test_a_refusal_is_raised_in_the_servers_words(server: ScriptedServer) -> None:
    server.plays(ends=(grpc.StatusCode.NOT_FOUND, "no venue has TRADES of 'NOPE'"))

    async with raven.connect(server.address) as feed:
        with pytest.raises(RequestRefused, match="no venue has TRADES of 'NOPE'") as refusal:
            await take(feed.subscribe("NOPE"), 1)

    assert refusal.value.status == "NOT_FOUND"
    assert not refusal.value.retryable


async def test_a_lost_connection_shows_as_a_record_and_goes_on(server: ScriptedServer) -> None:
    server.plays(trade(1), ends=(grpc.StatusCode.UNAVAILABLE, "the server stops"))
    server.plays(trade(2))

    async with raven.connect(server.address) as feed:
        events = await take(feed.subscribe("BTCUSDT"), 3)

    lost = events[1]
    assert isinstance(lost, Reconnected)
    assert (lost.attempts, lost.reason) == (1, "UNAVAILABLE: the server stops")
    assert lost.downtime_s > 0
    assert len(server.asked) == 2


async def test_a_server_that_is_full_when_everybody_comes_back_is_tried_again(server: ScriptedServer) -> None:
    server.plays(trade(1), ends=(grpc.StatusCode.UNAVAILABLE, "the server stops"))
    server.plays(ends=(grpc.StatusCode.RESOURCE_EXHAUSTED, "the server has its 3 connections"))
    server.plays(trade(2))

    async with raven.connect(server.address) as feed:
        events = await take(feed.subscribe("BTCUSDT"), 3)

    assert events[1].attempts == 2


async def test_without_reconnect_a_lost_connection_is_raised(server: ScriptedServer) -> None:
    server.plays(trade(1), ends=(grpc.StatusCode.UNAVAILABLE, "the server stops"))

    async with raven.connect(server.address, reconnect=False) as feed:
        with pytest.raises(ServerUnreachable, match="the server stops"):
            await take(feed.subscribe("BTCUSDT"), 2)


async def test_a_server_that_falls_silent_counts_as_lost(server: ScriptedServer) -> None:
    server.plays(trade(1))
    server.plays(trade(2))

    async with raven.connect(server.address) as feed:
        events = await take(feed.subscribe("BTCUSDT", heartbeat_ms=100), 3)

    assert isinstance(events[1], Reconnected)
    assert "no sign of the server for 0.3 s" in events[1].reason


async def test_a_slow_program_is_not_mistaken_for_a_silent_server(server: ScriptedServer) -> None:
    server.plays(trade(1), trade(2))

    async with raven.connect(server.address) as feed:
        seen = []
        async for event in feed.subscribe("BTCUSDT", heartbeat_ms=100):
            seen.append(event)
            if len(seen) == 2:
                break
            await asyncio.sleep(0.6)

    assert [type(event) for event in seen] == [Trade, Trade]


async def test_leaving_the_loop_ends_the_stream_at_the_server(server: ScriptedServer) -> None:
    server.plays(trade(1), trade(2))

    async with raven.connect(server.address) as feed:
        await take(feed.subscribe("BTCUSDT"), 1)
        await server.until(lambda: server.open == 0)

    assert len(server.asked) == 1


async def test_cancelling_the_task_ends_the_stream_and_is_not_swallowed(server: ScriptedServer) -> None:
    server.plays(trade(1))

    async with raven.connect(server.address) as feed:
        task = asyncio.create_task(take(feed.subscribe("BTCUSDT"), 2))
        await server.until(lambda: server.open == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until(lambda: server.open == 0)

    assert len(server.asked) == 1


async def test_one_feed_carries_several_subscriptions(server: ScriptedServer) -> None:
    server.plays(trade(1))
    server.plays(trade(2))

    async with raven.connect(server.address) as feed:
        both = await asyncio.gather(take(feed.subscribe("BTCUSDT"), 1), take(feed.subscribe("ETHUSDT"), 1))

    assert sorted(events[0].sequence for events in both) == [1, 2]


async def test_the_blocking_face_yields_the_same(server: ScriptedServer) -> None:
    server.plays(trade(1), ends=(grpc.StatusCode.UNAVAILABLE, "gone"))
    server.plays(trade(2))

    def program() -> list[Any]:
        with raven.connect(server.address) as feed:
            events = feed.subscribe("BTCUSDT", types="trades")
            return [next(events), next(events), next(events)]

    events = await asyncio.to_thread(program)

    assert [type(event) for event in events] == [Trade, Reconnected, Trade]
    await server.until(lambda: server.open == 0)


async def test_the_blocking_face_notices_a_server_that_falls_silent(server: ScriptedServer) -> None:
    server.plays(trade(1))
    server.plays(trade(2))

    def program() -> list[Any]:
        with raven.connect(server.address) as feed:
            events = feed.subscribe("BTCUSDT", heartbeat_ms=100)
            return [next(events), next(events), next(events)]

    events = await asyncio.to_thread(program)

    assert [type(event) for event in events] == [Trade, Reconnected, Trade]
    assert events[1].reason == "UNAVAILABLE: no sign of the server for 0.3 s"


async def test_the_blocking_face_asks_for_heartbeats_and_watches_only_while_the_stream_is_read(
    server: ScriptedServer,
) -> None:
    server.plays(trade(1))
    watching: list[bool] = []

    def is_watched() -> bool:
        return any(thread.name == "raven heartbeat" for thread in threading.enumerate())

    def program() -> None:
        with raven.connect(server.address) as feed:
            events = feed.subscribe("BTCUSDT")
            next(events)
            watching.append(is_watched())

    await asyncio.to_thread(program)
    await server.until(lambda: not is_watched())

    assert watching == [True]
    assert server.asked[0].subscribe.filters["heartbeat_ms"] == "2000"


async def test_a_slow_blocking_program_is_not_mistaken_for_a_silent_server(server: ScriptedServer) -> None:
    server.plays(trade(1), trade(2))

    def program() -> list[Any]:
        with raven.connect(server.address) as feed:
            events = feed.subscribe("BTCUSDT", heartbeat_ms=100)
            first = next(events)
            # Twice as long as the server may be silent.
            threading.Event().wait(0.6)
            return [first, next(events)]

    assert [type(event) for event in await asyncio.to_thread(program)] == [Trade, Trade]


async def test_the_blocking_face_raises_refusals(server: ScriptedServer) -> None:
    server.plays(ends=(grpc.StatusCode.INVALID_ARGUMENT, "unknown filter 'dept'"))

    def program() -> None:
        with raven.connect(server.address) as feed:
            next(feed.subscribe("BTCUSDT"))

    with pytest.raises(RequestRefused, match="unknown filter 'dept'"):
        await asyncio.to_thread(program)


@pytest.mark.parametrize(
    ("symbols", "types", "says"),
    [
        ([], "trades", "symbols is empty"),
        ("BTCUSDT", "trade_s", "did you mean 'trades'"),
        ("BTCUSDT", ["weather"], "known: orderbook"),
    ],
)
async def test_arguments_that_mean_nothing_are_refused_at_once(
    server: ScriptedServer, symbols: Any, types: Any, says: str
) -> None:
    async with raven.connect(server.address) as feed:
        with pytest.raises(ConfigurationError, match=says):
            feed.subscribe(symbols, types=types)


async def test_when_the_feed_is_closed_iterations_in_other_tasks_end(server: ScriptedServer) -> None:
    server.plays(trade(1))
    server.plays(trade(1))
    server.plays(trade(1), ends=(grpc.StatusCode.UNAVAILABLE, "gone"))
    server.acts.append(server.acts[0])

    async with raven.connect(server.address) as feed:
        events = asyncio.create_task(take(feed.subscribe("BTCUSDT"), 100))
        batches = asyncio.create_task(take(feed.subscribe("BTCUSDT").batches(wait_s=3600), 100))
        away = asyncio.create_task(take(feed.subscribe("BTCUSDT"), 100))
        await server.until(lambda: len(server.asked) >= 3)
        await server.until(lambda: server.open == len(server.asked) - 1)

    assert [len(taken) for taken in await asyncio.gather(events, batches, away)] == [1, 1, 1]

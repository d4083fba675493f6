"""A lost connection is taken up where it was: nothing twice, and what is missing is said."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.unit.client.messages import VENUE, book, gap, trade

import raven
from raven.client import Gap, Reconnected, Trade
from raven.client.request import Heard, Want, build_want
from raven.topics import DataType

if TYPE_CHECKING:
    from tests.unit.client.conftest import ScriptedServer

GONE = (grpc.StatusCode.UNAVAILABLE, "gone")


def want(symbols: Any = "BTCUSDT", types: Any = "trades", **options: Any) -> Want:
    defaults = {"venue": None, "depth": None, "conflate_ms": None, "overflow": None, "batch": 1, "heartbeat_ms": 0}
    return build_want(symbols, types, **(defaults | options))


def asked(wanted: Want, *heard: Heard) -> list[tuple[list[str], list[int], dict[str, str]]]:
    requests = [request.subscribe for request in wanted.requests("desk", heard)]
    return [(list(one.symbols), list(one.data_types), dict(one.filters)) for one in requests]


def heard(symbol: str, data_type: DataType, sequence: int, *, is_past: bool = False) -> Heard:
    return Heard(VENUE, symbol, data_type, sequence, 77, is_past)


async def take(events: Any, count: int) -> list[Any]:
    return [await anext(events) for _ in range(count)]


def test_every_topic_goes_on_behind_its_last_message_and_the_rest_begins() -> None:
    wanted = want(["BTCUSDT", "ETHUSDT"], ["trades", "orderbook"], conflate_ms=100, overflow="conflate", depth=5)

    requests = asked(wanted, heard("BTCUSDT", DataType.TRADES, 7), heard("BTCUSDT", DataType.ORDERBOOK, 9))

    books = {"depth": "5", "conflate_ms": "100", "overflow": "conflate"}
    assert requests == [
        (["BTCUSDT"], [1], {"depth": "5", "venue": VENUE, "after": "7@77"}),
        (["BTCUSDT"], [0], books | {"venue": VENUE, "after": "9@77"}),
        (["BTCUSDT", "ETHUSDT"], [1, 0], books),
    ]


def test_a_sender_that_does_not_count_is_asked_as_at_first() -> None:
    assert asked(want(), heard("BTCUSDT", DataType.TRADES, 0)) == [(["BTCUSDT"], [1], {})]


def test_a_past_that_was_not_over_is_asked_for_again() -> None:
    whole = [(["BTCUSDT", "ETHUSDT"], [1], {"start": "5"})]
    wanted = want(["BTCUSDT", "ETHUSDT"], start=5)
    done, other = heard("BTCUSDT", DataType.TRADES, 7), heard("ETHUSDT", DataType.TRADES, 3)

    assert asked(wanted, done) == whole, "nothing came of the other yet"
    assert asked(wanted, done, other._replace(is_past=True)) == whole
    assert [filters.get("start") for _, _, filters in asked(wanted, done, other)] == [None] * 3


@pytest.mark.parametrize("face", ["async", "blocking"])
async def test_what_came_before_is_not_handed_out_again(server: ScriptedServer, face: str) -> None:
    server.plays(trade(1), trade(2), ends=GONE)
    server.plays(trade(2), trade(3))

    def program() -> list[Any]:
        with raven.connect(server.address) as feed:
            events = feed.subscribe("BTCUSDT", "trades")
            return [next(events) for _ in range(4)]

    if face == "blocking":
        events = await asyncio.to_thread(program)
    else:
        async with raven.connect(server.address) as feed:
            events = await take(aiter(feed.subscribe("BTCUSDT", "trades")), 4)

    assert [type(event) for event in events] == [Trade, Trade, Reconnected, Trade]
    assert [event.sequence for event in events if isinstance(event, Trade)] == [1, 2, 3]
    assert server.asked[1].subscribe.filters["after"] == "2@2002"
    await server.until(lambda: len(server.followed) == 1)
    assert "after" not in server.followed[0].subscribe.filters


async def test_what_could_not_be_filled_is_a_gap_with_its_count(server: ScriptedServer) -> None:
    server.plays(trade(1), ends=GONE)
    server.plays(trade(5))

    async with raven.connect(server.address) as feed:
        events = await take(aiter(feed.subscribe("BTCUSDT", "trades")), 4)

    assert [type(event) for event in events] == [Trade, Reconnected, Gap, Trade]
    assert (events[2].count, events[2].reason, events[2].data_type) == (3, "upstream", DataType.TRADES)


async def test_a_mark_of_the_server_is_not_counted_twice(server: ScriptedServer) -> None:
    server.plays(trade(1), ends=GONE)
    server.plays(gap(4, 3, "upstream"), trade(5))

    async with raven.connect(server.address) as feed:
        events = await take(aiter(feed.subscribe("BTCUSDT", "trades")), 4)

    assert [type(event) for event in events] == [Trade, Reconnected, Gap, Trade]
    assert events[2].count == 3


async def test_a_topic_that_begins_anew_is_taken_from_its_beginning(server: ScriptedServer) -> None:
    server.plays(trade(50), book(80), ends=GONE)
    server.plays(gap(0, 0, "upstream"), trade(1), trade(2), book(1, flags=1))

    async with raven.connect(server.address) as feed:
        events = await take(aiter(feed.subscribe("BTCUSDT")), 7)

    assert [getattr(event, "sequence", None) for event in events] == [50, 80, None, 0, 1, 2, 1]


async def test_the_past_of_several_lives_of_a_topic_is_whole_and_comes_once(server: ScriptedServer) -> None:
    past = [trade(8, flags=8, recv_ns=10), trade(9, flags=8, recv_ns=20), trade(1, flags=8, recv_ns=30)]
    server.plays(*past, ends=GONE)
    server.plays(*past, trade(2, flags=8, recv_ns=40), trade(3, recv_ns=50), trade(4, recv_ns=50))

    async with raven.connect(server.address) as feed:
        events = await take(aiter(feed.subscribe("BTCUSDT", "trades", start="-1h")), 7)

    assert [event.sequence for event in events if isinstance(event, Trade)] == [8, 9, 1, 2, 3, 4]
    assert server.asked[0] == server.asked[1]


async def test_hundreds_of_topics_are_taken_up_at_a_pace(server: ScriptedServer) -> None:
    symbols = [f"S{number}" for number in range(100)]
    server.plays(*(trade(1, symbol) for symbol in symbols), ends=GONE)
    server.plays(trade(2, "S0"))

    async with raven.connect(server.address) as feed:
        events = aiter(feed.subscribe(symbols, "trades"))
        await take(events, 102)
        await server.until(lambda: len(server.followed) == 100)

    assert "after" not in server.followed[-1].subscribe.filters

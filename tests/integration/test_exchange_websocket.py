"""The built-in exchange over real sockets, on a hand-moved timeline: paths, requests, routes, limits, pings, ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from raven.exchange import Exchange, ExchangeConfig, Timeline
from raven.exchange.markets import USDM_RULES


class Client:
    """A WebSocket client that answers pings only when it is told to."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def ask(self, method: str, *params: object, request_id: object = 1) -> Any:
        await self.socket.send_str(json.dumps({"method": method, "params": list(params), "id": request_id}))
        while True:
            message = await self.next_json()
            if isinstance(message, dict) and ("result" in message or "error" in message):
                return message

    async def next(self) -> aiohttp.WSMessage:
        return await self.socket.receive(timeout=5)

    async def next_json(self) -> Any:
        message = await self.next()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def until(self, kind: aiohttp.WSMsgType) -> aiohttp.WSMessage:
        while (message := await self.next()).type is not kind:
            assert message.type is not aiohttp.WSMsgType.CLOSED, "closed before it came"
        return message


Connect = Callable[..., Awaitable[Client]]


@asynccontextmanager
async def venue(**options: Any) -> AsyncIterator[tuple[Exchange, Connect]]:
    config = ExchangeConfig(**{"rate": 400.0, "levels": 40, **options})
    async with Exchange(config, Timeline()) as exchange, aiohttp.ClientSession() as session:

        async def connect(path: str, market: str = "") -> Client:
            base = exchange.market(market).ws_url if market else exchange.ws_url
            return Client(await session.ws_connect(base + path, autoping=False, autoclose=False))

        yield exchange, connect


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for what the other side has seen
            await asyncio.sleep(0)


async def heard(exchange: Exchange, client: Client, seconds: float = 3.0) -> list[Any]:
    """Move time and return what the client was sent; a last request marks the end."""
    await exchange.advance(seconds)
    await client.socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":999}')
    messages = []
    while True:
        message = await client.next()
        if message.type is aiohttp.WSMsgType.TEXT:
            body = json.loads(message.data)
            if isinstance(body, dict) and body.get("id") == 999:
                return messages
            messages.append(body)


@pytest.mark.parametrize(
    ("market", "path", "wrapped"),
    [
        ("spot", "/ws/btcusdt@trade", False),
        ("spot", "/ws/btcusdt@trade/ethusdt@trade", False),
        ("spot", "/stream?streams=btcusdt@trade", True),
        ("usdm", "/public/ws/btcusdt@depth@100ms", False),
        ("usdm", "/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker", True),
        ("usdm", "/market/ws/btcusdt@aggTrade", False),
        ("usdm", "/market/stream?streams=btcusdt@aggTrade", True),
        ("coinm", "/ws/btcusd_perp@aggTrade", False),
        ("coinm", "/stream?streams=btcusd_perp@depth@100ms", True),
    ],
)
async def test_every_documented_path_delivers(market, path, wrapped):
    async with venue(markets=(market,)) as (exchange, connect):
        client = await connect(path)

        messages = await heard(exchange, client)

        assert messages
        assert all(("stream" in message) is wrapped for message in messages)


@pytest.mark.parametrize("path", ["/", "/wss", "/private2/ws", "/stream/btcusdt@trade"])
async def test_other_paths_are_refused_in_the_handshake(path):
    async with venue(markets=("spot",)) as (_, connect):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await connect(path)
        assert caught.value.status == 404


async def test_subscriptions_can_be_added_listed_and_removed():
    async with venue(markets=("spot",)) as (exchange, connect):
        client = await connect("/ws")

        assert await client.ask("SUBSCRIBE", "btcusdt@trade", "ethusdt@bookTicker") == {"result": None, "id": 1}
        assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade", "ethusdt@bookTicker"]
        assert {message.get("e", "ticker") for message in await heard(exchange, client)} == {"trade", "ticker"}
        await exchange.advance(2)
        assert await client.ask("UNSUBSCRIBE", "btcusdt@trade", request_id=2) == {"result": None, "id": 2}
        assert {message.get("e", "ticker") for message in await heard(exchange, client)} == {"ticker"}


async def test_the_combined_property_switches_the_form():
    async with venue(markets=("spot",)) as (exchange, connect):
        client = await connect("/ws/btcusdt@trade")

        assert (await client.ask("GET_PROPERTY", "combined"))["result"] is False
        assert (await client.ask("SET_PROPERTY", "combined", True))["result"] is None
        messages = await heard(exchange, client)

        assert messages[0]["stream"] == "btcusdt@trade"


async def test_mistakes_are_answered_and_the_connection_stays():
    async with venue(markets=("usdm",)) as (exchange, connect):
        client = await connect("/public/ws")

        await client.socket.send_str("{nonsense")
        assert (await client.next_json())["error"]["code"] == 3
        assert (await client.ask("SUBSCRIBE", "btcusdt@trade", request_id="text"))["error"]["code"] == 2
        assert (await client.ask("SUBSCRIBE", "btcusdt@trade"))["result"] is None
        assert await heard(exchange, client)


async def test_unknown_streams_are_acknowledged_and_stay_silent():
    async with venue(markets=("spot",)) as (exchange, connect):
        client = await connect("/ws/nosuch@trade")

        assert (await client.ask("SUBSCRIBE", "btcusdt@nothing"))["result"] is None
        assert await heard(exchange, client) == []


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("/public", {"depthUpdate", "trade"}),
        ("/market", {"aggTrade", "kline"}),
        ("", {"depthUpdate", "trade"}),
        ("/private", set()),
    ],
)
async def test_a_usdm_route_carries_its_category_and_the_rest_is_silently_empty(route, expected):
    async with venue(markets=("usdm",)) as (exchange, connect):
        client = await connect(route + "/ws")
        names = ["btcusdt@depth@100ms", "btcusdt@trade", "btcusdt@aggTrade", "btcusdt@kline_1m"]

        assert (await client.ask("SUBSCRIBE", *names))["result"] is None
        kinds = {message["e"] for message in await heard(exchange, client)}

        assert kinds == expected
        await exchange.advance(2)
        assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == names


async def test_microseconds_on_request():
    async with venue(markets=("spot",)) as (exchange, connect):
        client = await connect("/stream?streams=btcusdt@trade&timeUnit=MICROSECOND")

        message = (await heard(exchange, client))[0]["data"]

        assert 10**15 < message["E"] < 10**16
        assert 10**15 < message["T"] < 10**16


@pytest.mark.parametrize(
    ("market", "path", "limit"), [("spot", "/ws", 5), ("usdm", "/public/ws", 10), ("coinm", "/ws", 10)]
)
async def test_too_many_messages_in_a_second_end_the_connection(market, path, limit):
    async with venue(markets=(market,)) as (exchange, connect):
        client = await connect(path)
        for _ in range(3):
            for number in range(limit):
                await client.ask("LIST_SUBSCRIPTIONS", request_id=number)
            await exchange.advance(1.1)

        for number in range(limit + 1):
            await client.socket.send_str(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}')
        closed = await client.until(aiohttp.WSMsgType.CLOSE)

        assert closed.data == 1008
        assert exchange.market(market).ws.stats["over_message_limit"] == 1


async def test_pings_and_pongs_of_the_client_count_as_messages():
    async with venue(markets=("spot",)) as (_, connect):
        client = await connect("/ws")
        for _ in range(3):
            await client.socket.ping(b"x")
        for _ in range(3):
            await client.socket.pong(b"")

        assert (await client.until(aiohttp.WSMsgType.CLOSE)).data == 1008


async def test_a_connection_listens_to_so_many_streams_and_no_more():
    rules = {"usdm": replace(USDM_RULES, max_streams=3)}
    async with venue(markets=("usdm",), rules=rules) as (_, connect):
        client = await connect("/public/ws/btcusdt@trade/btcusdt@depth")

        assert (await client.ask("SUBSCRIBE", "btcusdt@bookTicker"))["result"] is None
        assert (await client.ask("SUBSCRIBE", "ethusdt@trade"))["error"]["code"] == 2


async def test_connection_attempts_are_limited_within_a_window():
    rules = {"usdm": replace(USDM_RULES, connect_attempts=2)}
    async with venue(markets=("usdm",), rules=rules) as (exchange, connect):
        await connect("/public/ws")
        await connect("/public/ws")

        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await connect("/public/ws")
        assert caught.value.status == 429
        await exchange.advance(301)
        await connect("/public/ws")


@pytest.mark.parametrize(
    ("market", "path", "interval_s", "timeout_s"), [("spot", "/ws", 20, 60), ("usdm", "/public/ws", 180, 600)]
)
async def test_pings_come_with_a_payload_and_only_a_matching_pong_keeps_alive(market, path, interval_s, timeout_s):
    async with venue(markets=(market,), rate=0.01) as (exchange, connect):
        good, bad = await connect(path), await connect(path)

        for answered in range(1, 1 - (-(timeout_s + interval_s) // interval_s)):
            await exchange.advance(interval_s)
            ping = await good.until(aiohttp.WSMsgType.PING)
            assert ping.data
            await good.socket.pong(ping.data)
            await bad.socket.pong(b"unsolicited")
            server = exchange.market(market).ws
            first = server.connections[min(server.connections)]
            await until(lambda: first.pongs >= answered)  # noqa: B023 - awaited before the next round

        assert (await bad.until(aiohttp.WSMsgType.CLOSE)).data == 1008
        assert exchange.market(market).ws.stats["dropped_without_pong"] == 1
        assert (await good.ask("LIST_SUBSCRIPTIONS"))["result"] == []


async def test_spot_announces_the_close_and_closes_after_24_hours():
    async with venue(markets=("spot",), rate=0.001) as (exchange, connect):
        client = await connect("/stream")
        server = exchange.market("spot").ws

        async with asyncio.timeout(20):
            for _ in range(24 * 3600 // 20 + 1):
                await exchange.advance(20)
                message = await client.next()
                while message.type is not aiohttp.WSMsgType.PING:
                    if message.type is aiohttp.WSMsgType.CLOSE:
                        break
                    event = json.loads(message.data)
                    assert event["stream"] == "!serverShutdown"
                    assert event["data"]["e"] == "serverShutdown"
                    announced = event["data"]["E"]
                    message = await client.next()
                if message.type is aiohttp.WSMsgType.CLOSE:
                    break
                await client.socket.pong(message.data)
                await client.ask("LIST_SUBSCRIPTIONS")

        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 1001
        assert server.stats["expired"] == 1
        assert 590_000 < exchange.timeline.now_ns // 1_000_000 - announced < 640_000


async def test_two_connections_share_the_same_bytes():
    async with venue(markets=("usdm",)) as (exchange, connect):
        path = "/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
        first, second = await connect(path), await connect(path)

        await exchange.advance(2)

        for _ in range(50):
            assert (await first.next()).data == (await second.next()).data

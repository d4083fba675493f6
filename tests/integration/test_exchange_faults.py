"""Faults of connections and REST over real sockets, from Python and through the control endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from raven.exchange import Exchange, ExchangeConfig, Fault, Timeline
from raven.exchange.markets import Market
from raven.exchange.timeline import SECOND

PATH = "/public/ws/btcusdt@depth@100ms"
OTHER = "/public/ws/ethusdt@depth@100ms"


class Bench:
    """An exchange on a hand-moved timeline with one HTTP session."""

    def __init__(self, exchange: Exchange, session: aiohttp.ClientSession) -> None:
        self.exchange = exchange
        self.session = session

    async def connect(self, path: str = PATH) -> aiohttp.ClientWebSocketResponse:
        return await self.session.ws_connect(self.exchange.ws_url + path, autoclose=False)

    async def depth(self) -> aiohttp.ClientResponse:
        url = f"{self.exchange.rest_url}/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
        return await self.session.get(url)

    async def control(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        url = f"{self.exchange.rest_url}/_raven/{path}"
        async with self.session.request(method, url, json=body) as response:
            return response.status, await response.json()

    async def hears(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Tell whether a second of market reaches a client."""
        await self.exchange.advance(1)
        try:
            message = await socket.receive(timeout=0.2)
        except TimeoutError:
            return False
        return message.type is aiohttp.WSMsgType.TEXT


@asynccontextmanager
async def bench(**options: Any) -> AsyncIterator[Bench]:
    config = ExchangeConfig(markets=("usdm",), **{"rate": 300.0, "levels": 200, **options})
    async with Exchange(config, Timeline()) as exchange, aiohttp.ClientSession() as session:
        await exchange.advance(1)
        yield Bench(exchange, session)


@pytest.mark.parametrize("code", [1001, 1008, 1012])
async def test_disconnect_closes_with_the_code_and_only_those_concerned(code):
    async with bench() as one:
        struck, spared = await one.connect(), await one.connect(OTHER)

        one.exchange.inject(Fault("disconnect", code=code, target="btcusdt@*"))

        assert (await struck.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
        assert struck.close_code == code
        assert await one.hears(spared)


async def test_1006_ends_without_a_close_frame():
    async with bench() as one:
        socket = await one.connect()

        one.exchange.inject(Fault("disconnect", code=1006))

        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSED
        assert socket.close_code == 1006


async def test_a_reset_is_a_reset():
    async with bench() as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.exchange.market("usdm").ws.port)
        writer.write(
            b"GET /public/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"101" in await reader.readuntil(b"\r\n\r\n")

        one.exchange.inject(Fault("reset"))

        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_half_open_keeps_the_connection_and_says_nothing():
    async with bench() as one:
        socket = await one.connect()
        assert await one.hears(socket)

        one.exchange.inject(Fault("half_open"))

        while await one.hears(socket):
            pass
        assert not socket.closed
        await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        assert not await one.hears(socket)
        assert await one.hears(await one.connect())


async def test_refused_connections_are_refused_for_a_time():
    async with bench() as one:
        port = one.exchange.market("usdm").ws.port

        one.exchange.inject(Fault("refuse", seconds=5))
        await asyncio.sleep(0.05)
        with pytest.raises(aiohttp.ClientConnectorError):
            await one.connect()
        await one.exchange.advance(6)
        await asyncio.sleep(0.05)

        assert await one.hears(await one.connect())
        assert one.exchange.market("usdm").ws.port == port


async def test_server_shutdown_is_announced_before_the_close():
    async with bench() as one:
        socket = await one.connect("/public/stream")

        one.exchange.inject(Fault("server_shutdown", seconds=3))
        event = json.loads((await socket.receive(timeout=5)).data)
        await one.exchange.advance(4)

        assert event["data"]["e"] == "serverShutdown"
        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE


async def test_silence_leaves_pings_alone():
    async with bench() as one:
        socket = await one.session.ws_connect(one.exchange.ws_url + PATH, autoping=False)

        one.exchange.inject(Fault("silence", count=0))
        await one.exchange.advance(181)

        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.PING


@pytest.mark.parametrize(("kind", "status"), [("http_500", 500), ("http_429", 429), ("http_418", 418)])
async def test_rest_faults_answer_with_their_status(kind, status):
    async with bench() as one:
        one.exchange.inject(Fault(kind, seconds=17))

        first, second = await one.depth(), await one.depth()

        assert (first.status, second.status) == (status, 200)
        assert first.headers.get("Retry-After") == (None if status == 500 else "17")


async def test_a_truncated_snapshot_ends_too_early():
    async with bench() as one:
        one.exchange.inject(Fault("truncated_snapshot"))

        response = await one.depth()

        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_stale_snapshot_is_an_old_one():
    async with bench() as one:
        first = await (await one.depth()).json()
        await one.exchange.advance(5)
        one.exchange.inject(Fault("stale_snapshot"))

        stale, fresh = await (await one.depth()).json(), await (await one.depth()).json()

        assert stale == first
        assert fresh["lastUpdateId"] > first["lastUpdateId"]


async def test_a_slow_snapshot_takes_its_time():
    async with bench() as one:
        one.exchange.inject(Fault("slow_snapshot", seconds=10))
        request = asyncio.create_task(one.depth())

        await asyncio.sleep(0.1)
        assert not request.done()
        await one.exchange.advance(11)

        assert (await request).status == 200


async def test_faults_can_begin_later():
    async with bench() as one:
        socket = await one.connect()
        one.exchange.inject(Fault("disconnect", after_s=2.5))

        assert await one.hears(socket)
        await one.exchange.advance(2)
        while (message := await socket.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
            pass

        assert message.type is aiohttp.WSMsgType.CLOSE


async def test_faults_come_from_a_script(tmp_path: Path):
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"kind": "http_500", "count": 1}, {"kind": "drop", "after_s": 3, "count": 0}]))
    async with bench(fault_script=script) as one:
        assert (await one.depth()).status == 500
        await one.exchange.advance(3)
        assert [fault.kind for _, fault in one.exchange.faults.active()] == ["drop"]


async def test_chance_strikes_the_same_way_with_the_same_seed():
    struck = []
    for _ in range(2):
        async with bench(chaos_per_minute=30.0, fault_seed=3, rate=50.0) as one:
            await one.connect()
            for _ in range(60):
                await one.exchange.advance(5)
            struck.append((dict(one.exchange.faults.struck), one.exchange.faults.active()))
    assert struck[0] == struck[1]
    assert sum(struck[0][0].values()) > 5


async def test_the_control_endpoint_arms_lists_and_clears_faults():
    async with bench() as one:
        status, answer = await one.control("POST", "faults", {"kind": "drop", "target": "btcusdt@*", "count": 0})
        assert (status, len(answer["faults"])) == (200, 1)
        _, listed = await one.control("GET", "faults")
        assert listed["active"][0]["kind"] == "drop"

        assert (await one.control("DELETE", f"faults/{answer['faults'][0]}"))[0] == 200
        assert (await one.control("DELETE", "faults/99"))[0] == 404
        assert (await one.control("POST", "faults", {"kind": "explode"}))[0] == 400
        await one.control("POST", "faults", [{"kind": "drop", "count": 0}, {"kind": "delay", "seconds": 1}])
        await one.control("DELETE", "faults")
        assert (await one.control("GET", "faults"))[1]["active"] == []


async def test_the_control_endpoint_holds_the_market_and_shows_the_true_book():
    async with bench() as one:
        await one.control("POST", "pause")
        await one.exchange.advance(1)
        before = (await one.control("GET", "book?symbol=BTCUSDT"))[1]
        await one.exchange.advance(5)
        after = (await one.control("GET", "book?symbol=BTCUSDT&depth=5"))[1]
        assert before["update_id"] == after["update_id"]
        assert before["canonical"].encode() == one.exchange.book("BTCUSDT").canonical()
        assert after["canonical"].count(":") == 10

        await one.control("POST", "resume")
        await one.exchange.advance(5)
        assert one.exchange.book("BTCUSDT").update_id > before["update_id"]
        assert (await one.control("GET", "book?symbol=NOSUCH"))[0] == 404
        state = (await one.control("GET", "state"))[1]
        assert state["usdm"]["events"] > 1000


async def test_a_client_that_does_not_read_is_cut_off():
    async with bench(rate=5000.0, max_backlog_bytes=100_000) as one:
        socket = await one.connect("/public/ws/btcusdt@depth@0ms/btcusdt@bookTicker/btcusdt@trade")
        server = one.exchange.market("usdm").ws

        for _ in range(400):
            one.exchange.timeline.run_until(one.exchange.timeline.now_ns + SECOND)
            one.exchange.flush()
            if server.stats["cut_for_backlog"]:
                break

        assert server.stats["cut_for_backlog"] == 1
        await socket.close()


async def test_a_taken_port_is_an_error_and_closes_what_was_opened():
    async with bench() as one:
        taken = one.exchange.market("usdm").ws.port
        second = Exchange(ExchangeConfig(markets=("usdm",), port=taken), Timeline())
        with pytest.raises(OSError, match="in use"):
            await second.start()
        assert second.markets[Market.USDM].ws.connections == {}

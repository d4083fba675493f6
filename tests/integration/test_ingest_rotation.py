"""Changing over from one socket to the next while they run apart: nothing lost, nothing doubled, nothing late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from raven._core import Engine, Hub
from raven.clock import SystemClock
from raven.ingest.settings import IngestSettings
from raven.ingest.shard import Shard, ShardContext
from raven.resilience.pacing import Pacer
from raven.topics import DataType
from raven.venues import binance

STREAM = "btcusdt@aggTrade"


class TradeServer:
    """Sends one trade every two milliseconds to everybody; the connections differ in how late it comes there."""

    def __init__(self, *delays_s: float) -> None:
        self.delays_s = list(delays_s)
        self.sockets: list[web.WebSocketResponse] = []
        self.requests: list[Any] = []
        self.refuse: set[str] = set()
        self.mute = False
        self.url = ""
        self._listeners: list[tuple[web.WebSocketResponse, float]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        delay_s = self.delays_s[min(len(self.sockets), len(self.delays_s) - 1)]
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._answer(socket, json.loads(message.data), delay_s)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, ask: dict[str, Any], delay_s: float) -> None:
        self.requests.append(ask)
        if self.mute:
            return
        if ask["method"] == "SUBSCRIBE" and self.refuse & set(ask["params"]):
            await socket.send_str(json.dumps({"error": {"code": 2, "msg": "Invalid request"}, "id": ask["id"]}))
            return
        await socket.send_str(json.dumps({"result": None, "id": ask["id"]}))
        if ask["method"] == "SUBSCRIBE" and STREAM in ask["params"]:
            self._listeners.append((socket, delay_s))

    async def trade_on(self) -> None:
        loop = asyncio.get_running_loop()
        number = 1000
        while True:
            number += 1
            data = {"e": "aggTrade", "E": 1_723_075_200_000, "s": "BTCUSDT", "a": number, "p": "100.5", "q": "1",
                    "f": number, "l": number, "T": 1_723_075_200_000, "m": False}  # fmt: skip
            frame = json.dumps({"stream": STREAM, "data": data}, separators=(",", ":"))
            for socket, delay_s in self._listeners:
                loop.call_later(delay_s, self._send, socket, frame)
            await asyncio.sleep(0.002)

    def _send(self, socket: web.WebSocketResponse, frame: str) -> None:
        async def send() -> None:
            with suppress(ConnectionError):
                await socket.send_str(frame)

        if not socket.closed:
            task = asyncio.ensure_future(send())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class Stand:
    """A shard with a real engine."""

    def __init__(self, server: TradeServer, **settings: Any) -> None:
        self.server = server
        self.hub = Hub()
        self.engine = Engine(self.hub)
        self.venue = binance.coinm(ws_url=server.url)
        handle = self.engine.add_venue(self.venue.name, self.venue.sequence_rule)
        self.instrument = self.engine.add_instrument(handle, "BTCUSDT", ring_bytes=1 << 22, needs_book=False)
        topic = self.hub.find(self.venue.name, "BTCUSDT", DataType.TRADES)
        assert topic is not None
        self.reader = self.hub.reader(topic)
        self.lost: list[str] = []
        clock = SystemClock()
        self.shard = Shard(
            ShardContext(
                venue=self.venue,
                venue_handle=handle,
                engine=self,  # type: ignore[arg-type]
                settings=IngestSettings(reconnect_delay_s=0.05, **settings),
                clock=clock,
                attempts=Pacer(300, 300, clock),
                messages_per_second=10,
                on_connected=lambda shard: None,
                on_lost=lambda shard, reason, retry_in_s: self.lost.append(reason),
            ),
            binance.PUBLIC,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def handle_events(self) -> None:
        for event, connection, _, reason, _, raw in self.engine.take_events():
            if event == "control" and reason == "reply":
                self.shard.on_reply(connection, raw)

    async def until(self, condition: Any, seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the other side has no event for us
                await asyncio.sleep(0.005)

    def trades(self) -> int:
        return self.engine.counters(self.instrument)["trades"]


@pytest.fixture
async def server() -> AsyncIterator[TradeServer]:
    server = TradeServer(0.0)
    app = web.Application()
    app.router.add_get("/stream", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    trading = asyncio.create_task(server.trade_on())
    yield server
    trading.cancel()
    await asyncio.gather(trading, return_exceptions=True)
    await runner.cleanup()


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("delays_s", [(0.15, 0.0), (0.0, 0.15)], ids=["the new one is ahead", "the new one is behind"])
async def test_sockets_that_run_apart_are_changed_over_without_a_seam(
    server: TradeServer, delays_s: tuple[float, float]
) -> None:
    server.delays_s = list(delays_s)
    stand = Stand(server)
    stand.shard.add([STREAM])
    task = asyncio.create_task(stand.shard.run())
    await stand.until(lambda: stand.trades() > 50)

    stand.shard.rotate()
    await stand.until(lambda: stand.shard.rotations == 1)
    seen = stand.trades()
    await stand.until(lambda: stand.trades() > seen + 200)

    records = stand.reader.drain(100_000)
    await stopped(task)
    assert [after.id - before.id for before, after in pairwise(records)] == [1] * (len(records) - 1)
    counters = stand.engine.counters(stand.instrument)
    assert (counters["missing_trades"], counters["late_trades"], counters["rejected"]) == (0, 0, 0)
    assert stand.lost == []


async def test_a_new_socket_that_dies_during_the_change_leaves_the_old_one_in_place(server: TradeServer) -> None:
    stand = Stand(server)
    stand.shard.add([STREAM])
    task = asyncio.create_task(stand.shard.run())
    await stand.until(lambda: stand.trades() > 50)

    server.mute = True
    stand.shard.rotate()
    await stand.until(lambda: len(server.sockets) == 2)
    await server.sockets[1].close()
    await stand.until(lambda: "rotation failed" in stand.shard.last_error)
    seen = stand.trades()
    await stand.until(lambda: stand.trades() > seen + 50)

    await stopped(task)
    assert stand.lost == []
    assert not server.sockets[0].closed or stand.shard.rotations == 0


async def test_one_bad_stream_does_not_cost_the_others_of_its_request(server: TradeServer) -> None:
    server.refuse = {"nope%@aggTrade"}
    stand = Stand(server)
    stand.shard.add(["ethusdt@aggTrade", "nope%@aggTrade", "solusdt@aggTrade", STREAM])
    task = asyncio.create_task(stand.shard.run())

    await stand.until(lambda: stand.trades() > 0 and stand.shard.refused)
    refused = dict(stand.shard.refused)

    await stopped(task)
    assert refused == {"nope%@aggTrade": "2: Invalid request"}


async def test_a_venue_that_answers_no_request_is_left(server: TradeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raven.ingest.shard._ANSWER_WITHIN_S", 0.2)
    server.mute = True
    stand = Stand(server)
    stand.shard.add([STREAM])
    task = asyncio.create_task(stand.shard.run())
    await stand.until(lambda: stand.lost)

    server.mute = False
    await stand.until(lambda: stand.trades() > 10)

    await stopped(task)
    assert "was not answered" in stand.lost[0]

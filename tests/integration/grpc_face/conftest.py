"""The native server, fan-out and a small market on loopback; clients are plain grpcio stubs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from raven.fanout import Fanout, Limits, Unobtainable, dialect
from raven.journal import Journal
from raven.proto import subscription_pb2 as wire
from raven.proto.control_pb2 import MarketDataRequest
from raven.proto.control_pb2_grpc import ControlStub, MarketDataStub
from raven.proto.market_data_pb2 import MarketDataMessage
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.roles.control import CollectorControl
from raven.serve.grpc import GrpcFace
from raven.serve.history import JournalHistory
from raven.topics import Collected, DataType, Topic

_core = pytest.importorskip("raven._core", reason="the native module is not built; run `make build`")

VENUE = "binance_futures"


class Market:
    """A collector over topics that the test writes: trades by hand, the book of BOOKUSDT through the engine."""

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self.writers: dict[str, Any] = {}
        self.empty_books: dict[str, Any] = {}
        self.holders: dict[tuple[str, int], set[str]] = {}
        self.engine = _core.Engine(hub)
        self.venue = self.engine.add_venue(VENUE, "futures")
        self.instrument = self.engine.add_instrument(
            self.venue, "BOOKUSDT", price_scale=1, quantity_scale=0, ring_bytes=16 << 20
        )
        self.connection = self.engine.open_connection(self.venue)
        self.update_id = 1000
        levels = [[f"{100 - n / 10:.1f}", "1"] for n in range(50)], [[f"{101 + n / 10:.1f}", "1"] for n in range(50)]
        now_ms = time.time_ns() // 1_000_000
        snapshot = {"lastUpdateId": self.update_id, "E": now_ms, "T": now_ms, "bids": levels[0], "asks": levels[1]}
        self.move_book()
        self.engine.on_snapshot(self.instrument, time.time_ns(), json.dumps(snapshot).encode())

    def move_book(self, quantity: int = 2) -> None:
        """Change the quantity at the best bid."""
        last, self.update_id = self.update_id, self.update_id + 1
        now_ms = time.time_ns() // 1_000_000
        event: dict[str, Any] = {"e": "depthUpdate", "E": now_ms, "T": now_ms, "s": "BOOKUSDT"}
        event |= {"U": last, "u": self.update_id, "pu": last}
        event |= {"b": [["100.0", str(quantity)]], "a": []}
        self.engine.on_frame(self.connection, time.time_ns(), json.dumps(event).encode())

    def writer(self, symbol: str, ring_bytes: int = 1 << 20) -> Any:
        """Return the writer of a symbol's trades, creating the topic the first time."""
        if symbol not in self.writers:
            self.writers[symbol] = self.hub.create_topic(VENUE, symbol, int(DataType.TRADES), ring_bytes)
        return self.writers[symbol]

    def trade(self, symbol: str, trade_id: int) -> None:
        """Publish one trade at 61000.50."""
        now = time.time_ns()
        self.writer(symbol).trade(
            now, now, trade_id, 6100050, 25, price_scale=2, quantity_scale=2, taker_sells=trade_id % 2 == 0
        )

    def trades(self, symbol: str, count: int, first_id: int = 1) -> None:
        """Publish many trades in one call."""
        self.writer(symbol).trades(count, first_id, 6100050, 25, price_scale=2, quantity_scale=2)

    def venues(self) -> list[str]:
        return [VENUE]

    def symbols(self, venue: str) -> list[str]:
        return ["BTCUSDT", "ETHUSDT", "BOOKUSDT"]

    async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
        return symbol in self.symbols(venue) or symbol in self.writers

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        topic = self.hub.find(venue, symbol, int(data_type), depth)
        if topic is None and data_type is DataType.TRADES:
            topic = self.writer(symbol).topic_id
        if topic is None and data_type is DataType.ORDERBOOK:
            # A book that never gets a state: its subscriber waits for it and hears the trades meanwhile.
            if symbol not in self.empty_books:
                self.empty_books[symbol] = self.hub.create_topic(venue, symbol, int(data_type), 1 << 16)
            topic = self.empty_books[symbol].topic_id
        if topic is None:
            raise Unobtainable(f"{venue} has no {data_type.name} of {symbol}")
        self.holders.setdefault((symbol, int(data_type)), set()).add(holder)
        return int(topic)

    async def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None:
        self.holders.get((symbol, int(data_type)), set()).discard(holder)

    async def release_all(self, holder: str) -> None:
        for holders in self.holders.values():
            holders.discard(holder)

    def collected(self) -> list[Collected]:
        return [
            Collected(Topic(VENUE, symbol, DataType(kind)), frozenset(holders), "live")
            for (symbol, kind), holders in sorted(self.holders.items())
            if holders
        ]


@dataclass
class Client:
    """One plain stream: sends requests, keeps every message that came (batches unpacked) and how the stream ended."""

    call: Any
    messages: list[MarketDataMessage] = field(default_factory=list)
    frames: int = 0
    heartbeats: int = 0
    ended: grpc.aio.AioRpcError | None = None
    reader: asyncio.Task[None] | None = None

    async def send(self, **request: Any) -> None:
        await self.call.write(wire.SubscriptionRequest(**request))

    async def read(self) -> None:
        try:
            async for message in self.call:
                self.frames += 1
                if message.batch:
                    self.messages.extend(message.batch)
                elif message.WhichOneof("data"):
                    self.messages.append(message)
                else:
                    self.heartbeats += 1
        except grpc.aio.AioRpcError as error:
            self.ended = error

    def trade_ids(self) -> list[int]:
        return [int(message.trade.trade_id) for message in self.messages if message.WhichOneof("data") == "trade"]

    def lost(self) -> int:
        return sum(message.gap.count for message in self.messages if message.WhichOneof("data") == "gap")


@dataclass
class Scene:
    """One running server and what a test needs to look at it."""

    market: Market
    server: Any
    fanout: Fanout
    face: GrpcFace
    port: int
    journal: Journal | None = None
    channels: list[Any] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def channel(self, *options: tuple[str, Any]) -> Any:
        """Open a connection of its own (grpcio shares connections between like channels otherwise)."""
        channel = grpc.aio.insecure_channel(
            self.address,
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 1 << 26), *options],
        )
        self.channels.append(channel)
        return channel

    def stub(self) -> Any:
        return MarketDataServiceStub(self.channel())

    def market_data(self) -> Any:
        return MarketDataStub(self.channel())

    def control(self) -> Any:
        return ControlStub(self.channel())

    async def stream(self, *, channel: Any = None, reads: bool = True, **subscribe: Any) -> Client:
        """Open a stream, subscribe on it if asked, and read what comes in the background."""
        client = Client(MarketDataServiceStub(channel or self.channel()).StreamMarketData())
        self.clients.append(client)
        if subscribe:
            with contextlib.suppress(grpc.aio.AioRpcError):  # refused already: the reader below learns why
                await client.send(subscribe=wire.SubscribeRequest(**subscribe))
        if reads:
            client.reader = asyncio.create_task(client.read())
        return client

    def one_topic(self, *, reads: bool = True, **request: Any) -> Client:
        """Open a stream of the modular dialect, and read what comes in the background."""
        client = Client(self.market_data().Subscribe(MarketDataRequest(**request)))
        self.clients.append(client)
        if reads:
            client.reader = asyncio.create_task(client.read())
        return client

    async def subscribed(self, symbol: str, count: int = 1, data_type: DataType = DataType.TRADES) -> None:
        """Wait until a symbol has so many holders, and those of them that are streams read it."""
        holders = self.market.holders.setdefault((symbol, int(data_type)), set())

        def is_attached() -> bool:
            held = {
                stream.holder
                for stream in self.fanout.roster.streams
                if any(topic.symbol == symbol and topic.data_type is data_type for topic in stream.held)
            }
            return len(holders) >= count and all(holder in held for holder in holders if holder.startswith("stream"))

        await self.until(is_attached)
        # Asking the server for its streams comes back after what it was told before.
        self.server.streams()

    async def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("the condition never became true")
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        for client in self.clients:
            client.call.cancel()
            if client.reader is not None:
                await asyncio.gather(client.reader, return_exceptions=True)
        for channel in self.channels:
            await channel.close(None)
        await self.face.drain(1.0)
        if self.journal is not None:
            await self.journal.stop()


MakeScene = Callable[..., Any]
Grpcurl = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest_asyncio.fixture
async def make_scene() -> AsyncIterator[MakeScene]:
    if not hasattr(_core, "GrpcServer"):
        pytest.skip("the native module was built without the gRPC server; run `make build`")
    made: list[Scene] = []

    async def make(
        limits: Limits | None = None, listen_port: int = 0, journal: Path | None = None, **options: Any
    ) -> Scene:
        """`journal`: the folder of one that keeps everything and answers for the past."""
        market = Market(_core.Hub())
        # A client that a busy machine starves is not dead; tests about dead peers say so themselves.
        options.setdefault("keepalive_seconds", 60.0)
        server = _core.GrpcServer(market.hub, port=listen_port, **options)
        keeper = Journal(market.hub, journal) if journal else None
        history = JournalHistory(keeper, journal, 20) if keeper and journal else None
        if keeper is not None:
            await keeper.start()
        fanout = Fanout(market, server, limits=limits, history=history)
        control = CollectorControl(market, dialect.SOURCE, limits=limits)
        face = GrpcFace(server, fanout, history=history, control=control)
        port = await face.start()
        face.set_serving(True)
        scene = Scene(market, server, fanout, face, port, journal=keeper)
        made.append(scene)
        return scene

    yield make
    for scene in made:
        await scene.close()


@pytest_asyncio.fixture
async def scene(make_scene: MakeScene) -> Scene:
    made: Scene = await make_scene()
    return made


@pytest.fixture
def grpcurl() -> Grpcurl:
    """Run grpcurl without a proto file; returns its exit code, what it printed and what it complained of."""
    at_home = Path(os.environ.get("GOBIN", Path.home() / "go" / "bin")) / "grpcurl"
    found = shutil.which("grpcurl") or (str(at_home) if at_home.exists() else None)
    if found is None:
        pytest.skip("grpcurl is missing; go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest")

    async def run(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            found, "-plaintext", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    return run


def kinds(messages: Iterable[MarketDataMessage]) -> list[str | None]:
    """Name what each message carries."""
    return [message.WhichOneof("data") for message in messages]

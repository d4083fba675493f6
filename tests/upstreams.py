"""An upstream for links: a hub that a test writes, a collector that counts who holds what, and a server in front."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from raven._core import Engine, GrpcServer, Hub, Reader, Record
from raven.fanout import Fanout, Unobtainable
from raven.serve.grpc import GrpcFace
from raven.topics import Collected, DataType

VENUE, OTHER_VENUE = "binance_futures", "binance_spot"
RING_BYTES = 1 << 20


class Source:
    """A `raven.fanout.Collector` over topics that a test writes: trades by hand, all of BOOKUSDT by an engine."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.engine = Engine(self.hub, max_price_deviation=0)
        venue = self.engine.add_venue(VENUE, "futures")
        self.instrument = self.engine.add_instrument(venue, "BOOKUSDT", ring_bytes=1 << 24)
        self.connection = self.engine.open_connection(venue)
        self.writers: dict[tuple[str, str], Any] = {}
        self.holders: dict[tuple[str, str, DataType], set[str]] = {}
        self.refusal: Exception | None = None
        self.gate: asyncio.Event | None = None
        """Whoever asks for a topic waits for it."""
        self.waiting = 0
        self.acquired = 0

    # --- what is published ------------------------------------------------------------------------------------------

    def writer(self, symbol: str = "BTCUSDT", venue: str = VENUE, ring_bytes: int = RING_BYTES) -> Any:
        """Return the writer of a symbol's trades, made the first time."""
        if (venue, symbol) not in self.writers:
            self.writers[venue, symbol] = self.hub.create_topic(venue, symbol, int(DataType.TRADES), ring_bytes)
        return self.writers[venue, symbol]

    def trade(self, trade_id: int, symbol: str = "BTCUSDT", venue: str = VENUE) -> None:
        """Publish one trade at 61000.50."""
        now = time.time_ns()
        self.writer(symbol, venue).trade(
            now, now - 1_000_000, trade_id, 6_100_050, 25, price_scale=2, quantity_scale=3, taker_sells=trade_id % 2 > 0
        )

    def frame(self, **event: Any) -> None:
        """Hand a frame of the venue to the engine; `E`, `T` and `s` are filled in."""
        now_ms = time.time_ns() // 1_000_000
        raw = json.dumps({"e": event.pop("e"), "E": now_ms, "T": now_ms, "s": "BOOKUSDT"} | event)
        self.engine.on_frame(self.connection, time.time_ns(), raw.encode())

    def sync_book(self, levels: int = 200) -> None:
        """Give the book its snapshot."""
        bids = [[f"{1000 - n / 10:.1f}", f"{1 + n / 8}"] for n in range(levels)]
        asks = [[f"{1001 + n / 10:.1f}", f"{2 + n / 8}"] for n in range(levels)]
        self.frame(e="depthUpdate", U=10, u=12, pu=9, b=[], a=[])
        snapshot = json.dumps({"lastUpdateId": 11, "bids": bids, "asks": asks})
        self.engine.on_snapshot(self.instrument, time.time_ns(), snapshot.encode())

    def readers(self, symbol: str = "BTCUSDT", data_type: DataType = DataType.TRADES, venue: str = VENUE) -> int:
        """Count who reads a topic: whoever asked for it hears what is published once this is no longer 0."""
        return sum(row[-1] for row in self.hub.topics() if row[1:4] == (venue, symbol, int(data_type)))

    # --- Collector --------------------------------------------------------------------------------------------------

    def venues(self) -> Sequence[str]:
        return [VENUE, OTHER_VENUE]

    def symbols(self, venue: str) -> Sequence[str]:
        return ["BTCUSDT", "ETHUSDT", "BOOKUSDT"]

    async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
        return symbol in self.symbols(venue)

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        topic_id = self.hub.find(venue, symbol, int(data_type), depth)
        if topic_id is None and data_type is DataType.ORDERBOOK and symbol == "BOOKUSDT":
            self.engine.enable_depth(self.instrument, depth)
            topic_id = self.hub.find(venue, symbol, int(data_type), depth)
        if topic_id is None and data_type is DataType.TRADES and symbol in self.symbols(venue):
            topic_id = self.writer(symbol, venue).topic_id
        if topic_id is None:
            raise Unobtainable(f"{venue} has no {data_type.name} of {symbol}")
        self.acquired += 1
        self.holders.setdefault((venue, symbol, data_type), set()).add(holder)
        return int(topic_id)

    async def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None:
        self.holders.get((venue, symbol, data_type), set()).discard(holder)

    async def release_all(self, holder: str) -> None:
        for holders in self.holders.values():
            holders.discard(holder)

    def collected(self) -> Sequence[Collected]:
        return []

    def is_held(self, symbol: str = "BTCUSDT", data_type: DataType = DataType.TRADES, venue: str = VENUE) -> bool:
        """Whether anybody wants a topic."""
        return bool(self.holders.get((venue, symbol, data_type)))


class Served:
    """A gRPC server in front of a source."""

    def __init__(self, source: Source, port: int = 0, **options: Any) -> None:
        self.source = source
        # A client that a busy machine starves is not dead; tests about dead peers say so themselves.
        self.server = GrpcServer(source.hub, port=port, keepalive_seconds=60.0, **options)
        self.fanout = Fanout(source, self.server, interest_ttl_s=2.0)
        self.face = GrpcFace(self.server, self.fanout)
        self.port = 0

    async def start(self) -> None:
        """Open the port."""
        self.port = await self.face.start()

    async def stop(self) -> None:
        """Close it; safe to call twice."""
        await self.face.drain(1.0)


def drained(reader: Reader) -> list[Record]:
    """Take everything that is there."""
    return reader.drain(10_000_000)

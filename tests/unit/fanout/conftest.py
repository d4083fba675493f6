"""One fan-out over a collector and a server that remember what they were asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from raven.errors import InternalError
from raven.fanout import Fanout, Heartbeat, Limits, Subscribe, Unobtainable, Unsubscribe
from raven.testing import ManualClock
from raven.topics import DataType


class FakeCollector:
    """Two venues; counts references by holder, and can make a symbol slow to start."""

    def __init__(self) -> None:
        self.configured: dict[str, list[str]] = {
            "binance_futures": ["BTCUSDT", "ETHUSDT"],
            "binance_spot": ["BTCUSDT", "SOLUSDT"],
        }
        self.listed: dict[str, list[str]] = {"binance_futures": ["XRPUSDT"], "binance_spot": ["ADAUSDT"]}
        self.held: dict[tuple[str, str, DataType], set[str]] = {}
        self.ids: dict[tuple[str, str, DataType, int], int] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.failing: dict[str, Exception] = {}
        self.acquired = 0
        self.stopped = False

    def venues(self) -> Sequence[str]:
        return list(self.configured)

    def symbols(self, venue: str) -> Sequence[str]:
        return self.configured[venue]

    async def offers(self, venue: str, symbol: str, data_type: DataType) -> bool:
        if data_type is DataType.FUNDING_RATES and venue == "binance_spot":
            return False
        return symbol in self.configured[venue] or symbol in self.listed[venue]

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int) -> int:
        self.acquired += 1
        if symbol in self.gates:
            await self.gates[symbol].wait()
        if symbol in self.failing:
            raise self.failing[symbol]
        self.held.setdefault((venue, symbol, data_type), set()).add(holder)
        tier = 0 if depth <= 20 else 100 if depth <= 100 else 1000
        return self.ids.setdefault((venue, symbol, data_type, tier), len(self.ids) + 1)

    async def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None:
        holders = self.held.get((venue, symbol, data_type), set())
        holders.discard(holder)
        if not holders:
            self.held.pop((venue, symbol, data_type), None)

    async def release_all(self, holder: str) -> None:
        if self.stopped:
            raise InternalError("the ingest thread does not run")
        for key in list(self.held):
            await self.release(holder, *key)

    def refuse(self, symbol: str, message: str) -> None:
        self.failing[symbol] = Unobtainable(message)


class FakeStreams:
    """Takes the place of the native server: cursors by stream, and how each stream ended."""

    def __init__(self) -> None:
        self.attached: dict[int, dict[int, dict[str, Any]]] = {}
        self.options: dict[int, dict[str, int]] = {}
        self.ended: dict[int, tuple[int, str]] = {}
        self.gone: set[int] = set()
        self.taken_up: list[tuple[int, int, int, int]] = []
        self.can_take_up = True

    def attach(self, stream_id: int, topic_id: int, **options: Any) -> bool:
        if topic_id in self.gone:
            raise KeyError(f"there is no topic {topic_id}")
        self.attached.setdefault(stream_id, {})[topic_id] = options
        return True

    def take_up(self, stream_id: int, topic_id: int, after: int, recv_ns: int, **options: Any) -> bool:
        self.taken_up.append((stream_id, topic_id, after, recv_ns))
        return self.can_take_up and self.attach(stream_id, topic_id, **options)

    def detach(self, stream_id: int, topic_id: int) -> bool:
        return self.attached.get(stream_id, {}).pop(topic_id, None) is not None

    def configure_stream(self, stream_id: int, *, batch: int = 1, heartbeat_ms: int = 0) -> bool:
        self.options[stream_id] = {"batch": batch, "heartbeat_ms": heartbeat_ms}
        return True

    def close_stream(self, stream_id: int, code: int, message: str) -> bool:
        self.ended[stream_id] = (code, message)
        return True


@dataclass
class Scene:
    """What a test looks at."""

    fanout: Fanout
    collector: FakeCollector
    streams: FakeStreams
    clock: ManualClock

    def open_stream(self, stream_id: int, *messages: Subscribe | Unsubscribe | Heartbeat) -> None:
        self.fanout.stream_opened(stream_id, f"127.0.0.1:{stream_id}")
        for message in messages:
            self.fanout.stream_message(stream_id, message)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop turn until the condition holds; a test that never gets there fails here, not by hanging."""
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("the condition never became true")

    async def settle(self) -> None:
        """Let everything that can run, run."""
        for _ in range(50):
            await asyncio.sleep(0)


@pytest_asyncio.fixture
async def make_scene() -> AsyncIterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(limits: Limits | None = None, **options: Any) -> Scene:
        collector, streams, clock = FakeCollector(), FakeStreams(), ManualClock()
        scene = Scene(Fanout(collector, streams, limits=limits, clock=clock, **options), collector, streams, clock)
        made.append(scene)
        return scene

    yield make
    for scene in made:
        await scene.fanout.close()


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    return make_scene()

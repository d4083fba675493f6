"""A scripted server on loopback: each stream that a client opens gets the next act of the script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest_asyncio

from raven.proto import subscription_pb2 as wire
from raven.proto.market_data_pb2 import MarketDataMessage
from raven.proto.subscription_pb2_grpc import MarketDataServiceServicer, add_MarketDataServiceServicer_to_server

Act = Callable[[Any], Awaitable[None]]


@dataclass
class ScriptedServer(MarketDataServiceServicer):
    """Plays one act per stream and remembers what it was asked."""

    acts: list[Act] = field(default_factory=list)
    asked: list[wire.SubscriptionRequest] = field(default_factory=list)
    """The first request of each stream."""
    followed: list[wire.SubscriptionRequest] = field(default_factory=list)
    """The others, of all streams."""
    metadata: list[dict[str, str]] = field(default_factory=list)
    open: int = 0
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def plays(self, *messages: MarketDataMessage, ends: tuple[grpc.StatusCode, str] | None = None) -> None:
        """Add an act: send these, then end with a status, or stay silent until the client leaves."""

        async def act(context: Any) -> None:
            for message in messages:
                await context.write(message)
            if ends is not None:
                await context.abort(*ends)
            await asyncio.Event().wait()

        self.acts.append(act)

    async def StreamMarketData(self, requests: AsyncIterator[wire.SubscriptionRequest], context: Any) -> None:
        self.asked.append(await anext(requests))
        self.metadata.append(dict(context.invocation_metadata()))
        self.open += 1
        following = asyncio.create_task(self._follow(requests))
        try:
            await self.acts.pop(0)(context)
        finally:
            self.open -= 1
            following.cancel()

    async def _follow(self, requests: AsyncIterator[wire.SubscriptionRequest]) -> None:
        async for request in requests:
            self.followed.append(request)

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("the condition never became true")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    running = grpc.aio.server()
    add_MarketDataServiceServicer_to_server(scripted, running)
    scripted.port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    yield scripted
    await running.stop(None)

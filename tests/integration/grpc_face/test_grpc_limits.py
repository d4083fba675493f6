"""Requests that are too large, and clients that are too many (fault N1)."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from raven.fanout import Limits
from raven.proto import subscription_pb2 as wire
from raven.topics import DataType

pytestmark = pytest.mark.fault("N1")

if TYPE_CHECKING:
    from tests.integration.grpc_face.conftest import MakeScene, Scene

TRADES = [DataType.TRADES]
MIB = 1 << 20


def resident_bytes() -> int:
    """Return this process's memory in RAM; client and server are both in it."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value


async def test_a_message_above_the_limit_is_resource_exhausted(scene: Scene) -> None:
    request = wire.SubscribeRequest(client_id="x" * (5 * MIB), symbols=["BTCUSDT"], data_types=TRADES)

    error = await refused(scene.stub().Subscribe(request))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "4194304" in error.details()


async def test_a_message_above_the_limit_inside_a_stream_ends_that_stream_only(scene: Scene) -> None:
    channel = scene.channel()
    healthy = await scene.stream(channel=channel, symbols=["BTCUSDT"], data_types=TRADES)
    await scene.subscribed("BTCUSDT")
    hostile = await scene.stream(channel=channel, client_id="x" * (5 * MIB), symbols=["BTCUSDT"], data_types=TRADES)
    await scene.until(lambda: hostile.ended)

    scene.market.trade("BTCUSDT", 1)
    await scene.until(lambda: healthy.trade_ids() == [1])

    assert hostile.ended is not None
    assert hostile.ended.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_ten_thousand_symbols_and_a_megabyte_of_client_id_are_invalid(scene: Scene) -> None:
    stub = scene.stub()
    symbols = [f"S{number}USDT" for number in range(10_000)]

    many = await refused(stub.Subscribe(wire.SubscribeRequest(client_id="c", symbols=symbols, data_types=TRADES)))
    long = await refused(
        stub.Subscribe(wire.SubscribeRequest(client_id="x" * MIB, symbols=["BTCUSDT"], data_types=TRADES))
    )

    assert many.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "symbols has 10000 entries, at most 1000" in many.details()
    assert long.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "(1048576 characters); at most 128" in long.details()


async def test_large_requests_leave_no_memory_behind(scene: Scene) -> None:
    stub = scene.stub()
    hostile = wire.SubscribeRequest(client_id="x" * (3 * MIB), symbols=["BTCUSDT"], data_types=TRADES)
    for _ in range(5):
        await refused(stub.Subscribe(hostile))
    before = resident_bytes()

    for _ in range(50):
        await refused(stub.Subscribe(hostile))

    assert resident_bytes() - before < 32 * MIB
    assert scene.face.stats()["fanout_clients"] == 0


async def test_bytes_that_are_no_message_are_invalid(scene: Scene) -> None:
    call = scene.channel().unary_unary("/raven.MarketDataService/Subscribe")

    error = await refused(call(b"\xff\xff\xff\xff"))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "raven.SubscribeRequest" in error.details()


async def test_an_unknown_method_is_unimplemented(scene: Scene) -> None:
    error = await refused(scene.channel().unary_unary("/raven.MarketDataService/Nope")(b""))

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_topics_of_a_client_are_bounded_over_its_streams(make_scene: MakeScene) -> None:
    scene = await make_scene(Limits(max_topics_per_client=1))
    first = await scene.stream(client_id="desk", symbols=["BTCUSDT"], data_types=TRADES)
    await scene.subscribed("BTCUSDT")

    second = await scene.stream(client_id="desk", symbols=["ETHUSDT"], data_types=TRADES)
    await scene.until(lambda: second.ended)

    assert second.ended.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "holds 1 topics and asks for 1 more; the limit is 1" in second.ended.details()
    assert first.ended is None


async def test_connections_above_the_limit_are_refused_and_those_there_go_on(make_scene: MakeScene) -> None:
    scene = await make_scene(max_connections=3)
    clients = [await scene.stream(symbols=["BTCUSDT"], data_types=TRADES) for _ in range(3)]
    await scene.subscribed("BTCUSDT", 3)

    request = wire.SubscribeRequest(client_id="extra", symbols=["BTCUSDT"], data_types=TRADES)
    error = await refused(scene.stub().Subscribe(request))
    scene.market.trade("BTCUSDT", 1)
    await scene.until(lambda: all(client.trade_ids() == [1] for client in clients))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "3 connections (max_connections)" in error.details()
    assert scene.face.stats()["connections_refused"] >= 1


async def test_a_wrong_token_is_unauthenticated_and_health_needs_none(make_scene: MakeScene) -> None:
    scene = await make_scene(token="s3cret")
    stub = scene.stub()
    request = wire.SubscribeRequest(client_id="desk", symbols=["BTCUSDT"], data_types=TRADES)

    none = await refused(stub.Subscribe(request))
    wrong = await refused(stub.Subscribe(request, metadata=(("authorization", "Bearer nope"),)))
    right = await stub.Subscribe(request, metadata=(("authorization", "Bearer s3cret"),))

    assert {none.code(), wrong.code()} == {grpc.StatusCode.UNAUTHENTICATED}
    assert "s3cret" not in none.details() + wrong.details()
    assert right.success


async def test_two_hundred_streams_come_and_go_without_a_trace(scene: Scene) -> None:
    tasks = len(asyncio.all_tasks())
    channel = scene.channel()
    for _ in range(10):
        clients = [
            await scene.stream(channel=channel, reads=False, symbols=["BTCUSDT"], data_types=TRADES) for _ in range(20)
        ]
        await scene.subscribed("BTCUSDT", 20)
        for client in clients:
            client.call.cancel()
        await scene.until(lambda: not scene.market.holders[("BTCUSDT", 1)])

    await scene.until(lambda: scene.face.stats()["streams"] == 0)
    assert scene.face.stats()["fanout_clients"] == 0
    await scene.until(lambda: len(asyncio.all_tasks()) <= tasks + 1)

"""The modular dialect as plain grpcio stubs and grpcurl see it: one stream per topic, and control."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from raven.fanout import Limits
from raven.proto import control_pb2 as wire
from raven.topics import DataType

if TYPE_CHECKING:
    from tests.integration.grpc_face.conftest import Grpcurl, MakeScene, Scene

TRADE, BOOK = wire.STREAM_KIND_TRADE, wire.STREAM_KIND_ORDERBOOK
MIB = 1 << 20


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value


# --- streams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TRADE, wire.STREAM_KIND_UNSPECIFIED])
async def test_trades_arrive_in_order_and_by_one(scene: Scene, kind: int) -> None:
    client = scene.one_topic(symbol="btcusdt", data_type=kind)
    await scene.subscribed("BTCUSDT")

    for trade_id in range(1, 101):
        scene.market.trade("BTCUSDT", trade_id)
    await scene.until(lambda: len(client.messages) == 100)

    assert client.trade_ids() == list(range(1, 101))
    assert [message.sequence for message in client.messages] == list(range(1, 101))
    assert (client.messages[0].venue, client.messages[0].producer) == ("binance_futures", "raven")


async def test_a_book_comes_at_once_and_then_every_change(scene: Scene) -> None:
    client = scene.one_topic(symbol="BOOKUSDT", data_type=BOOK, venue="binance_futures")
    await scene.until(lambda: client.messages)

    scene.market.move_book(7)
    await scene.until(lambda: len(client.messages) == 2)

    first, second = (message.orderbook for message in client.messages)
    assert (len(first.bids), first.bids[0].quantity, second.bids[0].quantity) == (20, 2, 7)


async def test_a_client_that_leaves_lets_go(scene: Scene) -> None:
    client = scene.one_topic(symbol="BTCUSDT", data_type=TRADE)
    await scene.subscribed("BTCUSDT")
    assert scene.face.stats()["fanout_subscriptions"] == 1

    client.call.cancel()

    await scene.until(lambda: not scene.market.holders["BTCUSDT", DataType.TRADES])
    assert scene.face.stats()["fanout_streams"] == 0


@pytest.mark.slow
async def test_a_client_that_does_not_read_learns_what_it_lost(scene: Scene) -> None:
    slow = scene.one_topic(symbol="BTCUSDT", data_type=TRADE, reads=False)
    await scene.subscribed("BTCUSDT")

    for first in range(1, 400_001, 4000):
        scene.market.trades("BTCUSDT", 4000, first)
        await scene.until(lambda last=first + 3999: scene.server.stats()["encoded"] >= last)
    slow.reader = asyncio.create_task(slow.read())
    await scene.until(lambda: slow.messages and slow.messages[-1].sequence == 400_000, seconds=60)

    assert slow.lost() > 0
    assert slow.lost() + len(slow.trade_ids()) == 400_000


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        pytest.param({"symbol": "BTCUSD", "data_type": TRADE}, "NOT_FOUND", "did you mean 'BTCUSDT'", id="symbol"),
        pytest.param({"symbol": "BTCUSDT", "venue": "binance_future"}, "INVALID_ARGUMENT", "did you mean", id="venue"),
        pytest.param({"data_type": TRADE}, "INVALID_ARGUMENT", "symbol is empty", id="no symbol"),
        pytest.param({"symbol": "X" * 65}, "INVALID_ARGUMENT", "at most 64 characters", id="long symbol"),
        pytest.param({"symbol": "BTCUSDT", "data_type": 99}, "INVALID_ARGUMENT", "data_type is 99", id="no kind"),
        pytest.param(
            {"symbol": "BTCUSDT", "data_type": wire.STREAM_KIND_OPEN_INTEREST},
            "UNIMPLEMENTED",
            "it offers: ORDERBOOK (1), TRADE (2)",
            id="not offered",
        ),
        pytest.param({"symbol": "X" * 5 * MIB}, "RESOURCE_EXHAUSTED", "4194304", id="too large"),
    ],
)
async def test_what_cannot_be_had_ends_the_stream_with_the_reason(
    scene: Scene, request_: dict[str, Any], status: str, words: str
) -> None:
    client = scene.one_topic(**request_)
    await scene.until(lambda: client.ended)

    assert client.ended is not None
    assert client.ended.code() is grpc.StatusCode[status]
    assert words in client.ended.details()


async def test_a_stopping_server_ends_these_streams_as_others(scene: Scene) -> None:
    client = scene.one_topic(symbol="BTCUSDT", data_type=TRADE)
    await scene.subscribed("BTCUSDT")

    assert await scene.face.drain(2.0)

    await scene.until(lambda: client.ended)
    assert client.ended is not None
    assert client.ended.code() is grpc.StatusCode.UNAVAILABLE


# --- control --------------------------------------------------------------------------------------------------------


async def test_what_is_started_is_listed_until_it_is_stopped(scene: Scene) -> None:
    control = scene.control()
    started = await control.StartCollection(wire.ControlRequest(symbol="btcusdt", data_type=TRADE))
    assert (started.success, started.message) == (True, "collecting TRADES of BTCUSDT from binance_futures")
    scene.one_topic(symbol="BTCUSDT", data_type=TRADE)
    await scene.subscribed("BTCUSDT", 2)

    (row,) = (await control.ListCollections(wire.ListRequest())).collections
    assert (row.symbol, row.status, row.subscriber_count) == ("BTCUSDT", "live", 1)
    assert (row.venue, list(row.data_types)) == ("binance_futures", [DataType.TRADES])

    stopped = await control.StopCollection(wire.ControlRequest(symbol="BTCUSDT"))
    assert stopped.success
    assert "1 " in stopped.message, "somebody still listens, and the answer says so"
    (row,) = (await control.ListCollections(wire.ListRequest())).collections
    assert row.subscriber_count == 1


async def test_everything_is_stopped_at_once(scene: Scene) -> None:
    control = scene.control()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        await control.StartCollection(wire.ControlRequest(symbol=symbol))

    answer = await control.StopAllCollections(wire.StopAllRequest())

    assert answer.success
    assert "2 symbols" in answer.message
    assert not (await control.ListCollections(wire.ListRequest())).collections


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        pytest.param({"symbol": "BTCUSDT", "venue": "nasdaq"}, "INVALID_ARGUMENT", "binance_futures", id="venue"),
        pytest.param({"symbol": "BTC USDT"}, "INVALID_ARGUMENT", "symbol is 'BTC USDT'", id="symbol"),
        pytest.param({"symbol": "X" * 5 * MIB}, "RESOURCE_EXHAUSTED", "4194304", id="too large"),
        pytest.param({"symbol": "BTCUSDT", "data_type": 99}, "INVALID_ARGUMENT", "data_type is 99", id="no kind"),
        pytest.param({"symbol": "BTCUSDT", "data_type": 8}, "UNIMPLEMENTED", "OPEN_INTEREST", id="not offered"),
        pytest.param({"symbol": "BTCUSDT", "data_type": 4}, "NOT_FOUND", "no FUNDING_RATES", id="not there"),
    ],
)
async def test_what_cannot_be_started_is_explained(
    scene: Scene, request_: dict[str, Any], status: str, words: str
) -> None:
    error = await refused(scene.control().StartCollection(wire.ControlRequest(**request_)))

    assert error.code() is grpc.StatusCode[status]
    assert words in error.details()


async def test_what_was_not_started_cannot_be_stopped(scene: Scene) -> None:
    error = await refused(scene.control().StopCollection(wire.ControlRequest(symbol="BTCUSDT")))

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "is not collected" in error.details()


async def test_control_has_a_quota(make_scene: MakeScene) -> None:
    control = (await make_scene(limits=Limits(max_topics_per_client=2))).control()
    await control.StartCollection(wire.ControlRequest(symbol="BTCUSDT"))

    error = await refused(control.StartCollection(wire.ControlRequest(symbol="ETHUSDT")))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_control_wants_the_token(make_scene: MakeScene) -> None:
    control = (await make_scene(token="secret")).control()

    error = await refused(control.ListCollections(wire.ListRequest()))
    answer = await control.ListCollections(wire.ListRequest(), metadata=[("authorization", "Bearer secret")])

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not answer.collections


# --- by other means -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["raven.MarketData", "raven.Control"])
async def test_health_knows_the_services(scene: Scene, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(scene.channel())
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_grpcurl_controls_and_streams_without_a_proto_file(scene: Scene, grpcurl: Grpcurl) -> None:
    request = json.dumps({"symbol": "BOOKUSDT", "data_type": "STREAM_KIND_ORDERBOOK"})

    _, services, _ = await grpcurl(scene.address, "list")
    code, started, err = await grpcurl("-d", request, scene.address, "raven.Control/StartCollection")
    _, listed, _ = await grpcurl(scene.address, "raven.Control/ListCollections")
    _, out, _ = await grpcurl("-max-time", "1", "-d", request, scene.address, "raven.MarketData/Subscribe")

    assert {"raven.Control", "raven.MarketData"} <= set(services.split())
    assert code == 0, err
    assert json.loads(started)["success"] is True
    assert json.loads(listed)["collections"][0]["symbol"] == "BOOKUSDT"
    first, _ = json.JSONDecoder().raw_decode(out)
    assert first["orderbook"]["bids"][0]["price"] == 100

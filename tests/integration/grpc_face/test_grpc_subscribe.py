"""What plain grpcio stubs see: subscribing, filters, health, reflection."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from raven.proto import subscription_pb2 as wire
from raven.records import Flags
from raven.topics import DataType

if TYPE_CHECKING:
    from tests.integration.grpc_face.conftest import Grpcurl, Scene

BOOK, TRADES = [DataType.ORDERBOOK], [DataType.TRADES]


async def test_trades_arrive_in_order_and_by_one(scene: Scene) -> None:
    client = await scene.stream(client_id="desk", symbols=["BTCUSDT"], data_types=TRADES)
    await scene.subscribed("BTCUSDT")

    for trade_id in range(1, 201):
        scene.market.trade("BTCUSDT", trade_id)
    await scene.until(lambda: len(client.messages) == 200)

    assert client.trade_ids() == list(range(1, 201))
    assert [message.sequence for message in client.messages] == list(range(1, 201))
    first = client.messages[0]
    assert (first.venue, first.producer, first.trade.symbol) == ("binance_futures", "raven", "BTCUSDT")
    assert (first.trade.price, first.trade.quantity, first.trade.side) == (61000.5, 0.25, "buy")
    assert first.trade.timestamp == first.exchange_time_ns // 1_000_000


async def test_a_book_comes_first_as_it_is_and_then_as_it_changes(scene: Scene) -> None:
    client = await scene.stream(symbols=["BOOKUSDT"], data_types=BOOK)
    await scene.until(lambda: client.messages)
    scene.market.move_book(quantity=7)
    await scene.until(lambda: len(client.messages) == 2)

    first, second = client.messages
    assert first.flags & Flags.SNAPSHOT
    assert not second.flags & Flags.SNAPSHOT
    assert len(first.orderbook.bids) == 20
    assert (second.orderbook.bids[0].price, second.orderbook.bids[0].quantity) == (100.0, 7.0)
    assert second.orderbook.sequence == scene.market.update_id


async def test_depth_cuts_the_book(scene: Scene) -> None:
    client = await scene.stream(symbols=["BOOKUSDT"], data_types=BOOK, filters={"depth": "3"})
    await scene.until(lambda: client.messages)

    book = client.messages[0].orderbook
    assert [level.price for level in book.bids] == [100.0, 99.9, 99.8]
    assert [level.price for level in book.asks] == [101.0, 101.1, 101.2]


async def test_conflation_sends_at_most_one_state_per_interval_and_says_so(scene: Scene) -> None:
    client = await scene.stream(symbols=["BOOKUSDT"], data_types=BOOK, filters={"conflate_ms": "200"})
    await scene.until(lambda: client.messages)

    began = time.monotonic()
    for quantity in range(1, 101):
        scene.market.move_book(quantity)
        await asyncio.sleep(0.005)
    await scene.until(lambda: client.messages[-1].orderbook.bids[0].quantity == 100.0)

    # The first state, one at each end of the time, and one per interval in it.
    assert len(client.messages) <= 3 + (time.monotonic() - began) / 0.2
    assert any(message.flags & Flags.SKIPPED for message in client.messages)
    assert client.lost() == 0


async def test_batches_carry_the_same_messages_in_fewer_frames(scene: Scene) -> None:
    client = await scene.stream(symbols=["BTCUSDT"], data_types=TRADES, filters={"batch": "64"})
    await scene.subscribed("BTCUSDT")

    scene.market.trades("BTCUSDT", 5000)
    await scene.until(lambda: len(client.messages) == 5000)

    assert client.trade_ids() == list(range(1, 5001))
    assert 5000 / 64 <= client.frames < 2500


async def test_a_batch_is_not_waited_for(scene: Scene) -> None:
    client = await scene.stream(symbols=["BTCUSDT"], data_types=TRADES, filters={"batch": "1000"})
    await scene.subscribed("BTCUSDT")

    scene.market.trade("BTCUSDT", 1)

    await scene.until(lambda: client.trade_ids() == [1], seconds=1.0)


async def test_silence_is_filled_with_empty_messages_when_asked(scene: Scene) -> None:
    client = await scene.stream(symbols=["BTCUSDT"], data_types=TRADES, filters={"heartbeat_ms": "100"})

    await scene.until(lambda: client.heartbeats >= 3)

    assert client.messages == []


async def test_standing_interest_flows_into_the_stream_of_the_same_client(scene: Scene) -> None:
    stub = scene.stub()
    answer = await stub.Subscribe(wire.SubscribeRequest(client_id="desk", symbols=["BTCUSDT"], data_types=TRADES))
    client = await scene.stream()
    await client.send(heartbeat=wire.HeartbeatRequest(client_id="desk", timestamp=1))
    await scene.subscribed("BTCUSDT", 2)
    scene.market.trade("BTCUSDT", 1)
    await scene.until(lambda: client.trade_ids() == [1])

    gone = await stub.Unsubscribe(wire.UnsubscribeRequest(client_id="desk", symbols=["BTCUSDT"]))
    scene.market.trade("BTCUSDT", 2)
    await stub.Subscribe(wire.SubscribeRequest(client_id="desk", symbols=["BTCUSDT"], data_types=TRADES))
    scene.market.trade("BTCUSDT", 3)
    await scene.until(lambda: 3 in client.trade_ids())

    assert answer.success
    assert list(answer.subscribed_topics) == ["binance_futures.BTCUSDT.TRADES"]
    assert list(gone.unsubscribed_topics) == ["binance_futures.BTCUSDT.TRADES"]
    assert client.trade_ids() == [1, 3]


async def test_an_unsubscribe_in_the_stream_ends_the_demand(scene: Scene) -> None:
    client = await scene.stream(client_id="desk", symbols=["BTCUSDT"], data_types=TRADES)
    await scene.subscribed("BTCUSDT")

    await client.send(unsubscribe=wire.UnsubscribeRequest(client_id="desk", symbols=["BTCUSDT"]))

    await scene.until(lambda: not scene.market.holders[("BTCUSDT", 1)])


async def test_a_client_that_hangs_up_ends_its_demand(scene: Scene) -> None:
    client = await scene.stream(symbols=["BTCUSDT"], data_types=TRADES)
    await scene.subscribed("BTCUSDT")

    client.call.cancel()

    await scene.until(lambda: not scene.market.holders[("BTCUSDT", 1)])
    assert scene.face.stats()["fanout_clients"] == 0


async def test_a_client_that_only_listens_from_now_on_is_served(scene: Scene) -> None:
    channel = scene.channel()
    client = await scene.stream(channel=channel, symbols=["BTCUSDT"], data_types=TRADES)
    await scene.subscribed("BTCUSDT")

    await client.call.done_writing()
    # Frames of one connection are read in order: when this is answered, the server knows.
    await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    scene.market.trade("BTCUSDT", 1)

    await scene.until(lambda: client.trade_ids() == [1])


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (
            {"symbols": ["BTCUSDT"], "data_types": [1], "filters": {"dept": "5"}},
            "INVALID_ARGUMENT",
            "did you mean 'depth'",
        ),
        ({"symbols": ["NOPEUSDT"], "data_types": [1]}, "NOT_FOUND", "'NOPEUSDT'"),
        ({"symbols": ["BTCUSDT"], "data_types": [6]}, "UNIMPLEMENTED", "WALLET_UPDATES"),
        ({"symbols": ["BTCUSDT"], "data_types": [1], "filters": {"start": "-1h"}}, "UNIMPLEMENTED", "keeps no history"),
    ],
)
async def test_a_stream_ends_with_a_status_that_explains(
    scene: Scene, request_: dict[str, object], status: str, says: str
) -> None:
    client = await scene.stream(**request_)
    await scene.until(lambda: client.ended)

    assert client.ended is not None
    assert client.ended.code().name == status
    assert says in client.ended.details()
    await scene.until(lambda: scene.face.stats()["fanout_streams"] == 0)
    assert not any(scene.market.holders.values())


async def test_an_unknown_symbol_by_unary_call_is_success_false(scene: Scene) -> None:
    answer = await scene.stub().Subscribe(
        wire.SubscribeRequest(client_id="desk", symbols=["BTCUSD", "ETHUSDT"], data_types=TRADES)
    )

    assert not answer.success
    assert "did you mean 'BTCUSDT'?" in answer.message
    assert list(answer.subscribed_topics) == ["binance_futures.ETHUSDT.TRADES"]


async def test_history_says_what_is_missing(scene: Scene) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        async for _ in scene.stub().GetHistoricalData(wire.HistoricalDataRequest(symbols=["BTCUSDT"])):
            pass

    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "keeps no history" in refusal.value.details()


@pytest.mark.parametrize("service", ["", "raven.MarketDataService"])
async def test_health_follows_what_it_was_told(scene: Scene, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(scene.channel())
    request = health_pb2.HealthCheckRequest(service=service)

    serving = await stub.Check(request)
    scene.face.set_serving(False)
    not_serving = await stub.Check(request)

    assert serving.status == health_pb2.HealthCheckResponse.SERVING
    assert not_serving.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_of_an_unknown_service_is_not_found(scene: Scene) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await health_pb2_grpc.HealthStub(scene.channel()).Check(health_pb2.HealthCheckRequest(service="raven.Nope"))

    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_service(scene: Scene) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(scene.channel())
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))

    names = [service.name async for answer in call for service in answer.list_services_response.service]

    assert {"raven.MarketDataService", "grpc.health.v1.Health"} <= set(names)


async def test_grpcurl_works_without_a_proto_file(scene: Scene, grpcurl: Grpcurl) -> None:
    request = {"client_id": "curl", "symbols": ["BTCUSDT"], "data_types": ["TRADES"]}

    code, services, err = await grpcurl(scene.address, "list")
    _, answer, _ = await grpcurl("-d", json.dumps(request), scene.address, "raven.MarketDataService/Subscribe")

    assert code == 0, err
    assert "raven.MarketDataService" in services.split()
    assert json.loads(answer)["subscribedTopics"] == ["binance_futures.BTCUSDT.TRADES"]


async def test_grpcurl_streams_books(scene: Scene, grpcurl: Grpcurl) -> None:
    request = {"subscribe": {"symbols": ["BOOKUSDT"], "data_types": ["ORDERBOOK"], "filters": {"depth": "1"}}}

    _, out, err = await grpcurl(
        "-max-time", "1", "-d", json.dumps(request), scene.address, "raven.MarketDataService/StreamMarketData"
    )

    first, _ = json.JSONDecoder().raw_decode(out)
    assert first["orderbook"]["bids"][0]["price"] == 100, err

"""Requests of the native server reach fan-out, and its answers go back."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.message import Message

from raven.errors import DataValidation, NetworkTimeout
from raven.fanout import CollectionRow, Fanout, Refused, Status, Unobtainable
from raven.proto import control_pb2
from raven.proto import subscription_pb2 as wire
from raven.serve.grpc import GrpcFace
from raven.topics import DataType, StreamKind


@dataclass
class FakeCall:
    call_id: int = 0
    method: str = "Subscribe"
    stream_id: int = 0
    peer: str = "127.0.0.1:1"
    payload: bytes = b""


@dataclass
class FakeServer:
    """The native server's face over a queue; answers are kept by call id."""

    calls: queue.Queue[FakeCall | Exception] = field(default_factory=queue.Queue)
    answers: dict[int, bytes | tuple[int, str]] = field(default_factory=dict)
    attached: dict[int, set[int]] = field(default_factory=dict)
    ended: dict[int, tuple[int, str]] = field(default_factory=dict)
    serving: list[bool] = field(default_factory=list)
    drained: threading.Event = field(default_factory=threading.Event)

    def start(self) -> int:
        return 50051

    def next_call(self, timeout_seconds: float) -> FakeCall | None:
        try:
            call = self.calls.get(timeout=timeout_seconds)
        except queue.Empty:
            return None
        if isinstance(call, Exception):
            raise call
        return call

    def reply(self, call_id: int, payload: bytes) -> None:
        self.answers[call_id] = payload

    def fail(self, call_id: int, code: int, message: str) -> None:
        self.answers[call_id] = (code, message)

    def attach(self, stream_id: int, topic_id: int, **options: Any) -> bool:
        self.attached.setdefault(stream_id, set()).add(topic_id)
        return True

    def detach(self, stream_id: int, topic_id: int) -> bool:
        return True

    def configure_stream(self, stream_id: int, *, batch: int = 1, heartbeat_ms: int = 0) -> bool:
        return True

    def close_stream(self, stream_id: int, code: int, message: str) -> bool:
        self.ended[stream_id] = (code, message)
        return True

    def set_serving(self, serving: bool) -> None:
        self.serving.append(serving)

    def streams(self) -> list[tuple[int, str, int, int, int, int]]:
        return [(1, "127.0.0.1:1", 1, 10, 2, 3)]

    def stats(self) -> dict[str, int]:
        return {"messages": 10, "lost": 2}

    def drain(self, timeout_seconds: float) -> bool:
        self.drained.set()
        return True


class OneVenue:
    """A collector that has every symbol; BOOM breaks, SLOW never starts."""

    def venues(self) -> list[str]:
        return ["binance_futures"]

    def symbols(self, venue: str) -> list[str]:
        return ["BTCUSDT"]

    async def offers(self, venue: str, symbol: str, data_type: int) -> bool:
        return True

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: int, depth: int = 0) -> int:
        if symbol == "SLOW":
            await asyncio.Event().wait()
        return 7

    async def release(self, holder: str, venue: str, symbol: str, data_type: int) -> None:
        if symbol == "BOOM":
            raise RuntimeError("boom")

    async def release_all(self, holder: str) -> None:
        return


class Hand:
    """A control plane that remembers what it was asked; `failure` is what it raises instead."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, StreamKind]] = []
        self.failure: Exception | None = None

    def _answer(self, method: str, symbol: str, venue: str, kind: StreamKind) -> str:
        self.asked.append((method, symbol, venue, kind))
        if self.failure is not None:
            raise self.failure
        return f"{method} done"

    async def start(self, symbol: str, venue: str, kind: StreamKind) -> str:
        return self._answer("start", symbol, venue, kind)

    async def stop(self, symbol: str, venue: str, kind: StreamKind) -> str:
        return self._answer("stop", symbol, venue, kind)

    async def stop_all(self) -> str:
        return self._answer("stop_all", "", "", StreamKind.UNSPECIFIED)

    def collections(self) -> list[CollectionRow]:
        return [CollectionRow("BTCUSDT", "binance_spot", "live", 2, (DataType.TRADES, DataType.ORDERBOOK))]


@dataclass
class Scene:
    server: FakeServer
    face: GrpcFace
    responses: list[tuple[str, str]]
    hand: Hand

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("the condition never became true")

    async def ask(self, method: str, payload: bytes) -> bytes | tuple[int, str]:
        call_id = len(self.server.answers) + 1
        self.server.calls.put(FakeCall(call_id, method, payload=payload))
        await self.until(lambda: call_id in self.server.answers)
        return self.server.answers[call_id]

    def open_stream(self, method: str, message: Message) -> None:
        self.server.calls.put(FakeCall(method="stream_opened", stream_id=1))
        self.server.calls.put(FakeCall(method=method, stream_id=1, payload=message.SerializeToString()))


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    server, responses, hand = FakeServer(), list[tuple[str, str]](), Hand()
    face = GrpcFace(
        server,
        Fanout(OneVenue(), server),
        control=hand,
        on_response=lambda method, _seconds, status: responses.append((method, status)),
    )
    assert await face.start() == 50051
    yield Scene(server, face, responses, hand)
    await face.drain(0.2)


BTC = wire.SubscribeRequest(client_id="desk", symbols=["BTCUSDT"], data_types=[1])


async def test_a_unary_subscribe_is_answered_and_timed(scene: Scene) -> None:
    answer = wire.SubscribeResponse.FromString(await scene.ask("Subscribe", BTC.SerializeToString()))

    assert answer.success
    assert list(answer.subscribed_topics) == ["binance_futures.BTCUSDT.TRADES"]
    assert scene.responses == [("Subscribe", "OK")]


async def test_a_unary_unsubscribe_is_answered(scene: Scene) -> None:
    await scene.ask("Subscribe", BTC.SerializeToString())

    request = wire.UnsubscribeRequest(client_id="desk")
    answer = wire.UnsubscribeResponse.FromString(await scene.ask("Unsubscribe", request.SerializeToString()))

    assert list(answer.unsubscribed_topics) == ["binance_futures.BTCUSDT.TRADES"]


async def test_a_request_at_fault_gets_its_status(scene: Scene) -> None:
    status, message = await scene.ask("Subscribe", wire.SubscribeRequest(client_id="desk").SerializeToString())

    assert status == Status.INVALID_ARGUMENT
    assert "symbols and data_types are empty" in message
    assert scene.responses == [("Subscribe", "INVALID_ARGUMENT")]


async def test_bytes_that_are_no_request_are_refused(scene: Scene) -> None:
    status, message = await scene.ask("Subscribe", b"\xff\xff\xff")

    assert status == Status.INVALID_ARGUMENT
    assert "raven.SubscribeRequest" in message


async def test_history_that_is_not_there_is_unimplemented_in_words(scene: Scene) -> None:
    status, message = await scene.ask("GetHistoricalData", b"")

    assert status == Status.UNIMPLEMENTED
    assert "set journal.enabled = true" in message


async def test_a_failure_inside_answers_internal_and_the_next_request_is_served(scene: Scene) -> None:
    await scene.ask(
        "Subscribe", wire.SubscribeRequest(client_id="x", symbols=["BOOM"], data_types=[1]).SerializeToString()
    )

    status, message = await scene.ask("Unsubscribe", wire.UnsubscribeRequest(client_id="x").SerializeToString())
    answer = await scene.ask("Subscribe", BTC.SerializeToString())

    assert status == Status.INTERNAL
    assert "boom" not in message
    assert isinstance(answer, bytes)


async def test_a_stream_is_attached_by_its_messages(scene: Scene) -> None:
    message = wire.SubscriptionRequest(subscribe=BTC)
    scene.server.calls.put(FakeCall(method="stream_opened", stream_id=1))
    scene.server.calls.put(FakeCall(method="stream_message", stream_id=1, payload=message.SerializeToString()))
    await scene.until(lambda: scene.server.attached.get(1) == {7})

    assert scene.face.clients() == [
        {
            "client_id": "desk",
            "standing": [],
            "streams": [
                {"peer": "127.0.0.1:1", "topics": ["binance_futures.BTCUSDT.TRADES"], "sent": 10, "lost": 2, "lag": 3}
            ],
        }
    ]
    assert scene.face.stats()["fanout_subscriptions"] == 1
    scene.server.calls.put(FakeCall(method="stream_closed", stream_id=1, payload=b"cancelled"))
    await scene.until(lambda: scene.face.stats()["fanout_streams"] == 0)


async def test_a_stream_message_that_says_nothing_ends_the_stream(scene: Scene) -> None:
    scene.server.calls.put(FakeCall(method="stream_opened", stream_id=1))
    scene.server.calls.put(FakeCall(method="stream_message", stream_id=1))
    await scene.until(lambda: 1 in scene.server.ended)

    assert scene.server.ended[1][0] == Status.INVALID_ARGUMENT
    assert "set one of subscribe, unsubscribe or heartbeat" in scene.server.ended[1][1]


@pytest.mark.parametrize("kind", [StreamKind.TRADE, StreamKind.UNSPECIFIED])
async def test_a_stream_of_the_modular_dialect_is_an_ordinary_one(scene: Scene, kind: StreamKind) -> None:
    scene.open_stream("stream_request", control_pb2.MarketDataRequest(symbol="btcusdt", data_type=kind))
    await scene.until(lambda: scene.server.attached.get(1) == {7})

    (client,) = scene.face.clients()
    assert client["streams"][0]["topics"] == ["binance_futures.BTCUSDT.TRADES"]


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        pytest.param({"data_type": 2}, Status.INVALID_ARGUMENT, "symbol is empty", id="no symbol"),
        pytest.param({"symbol": "BTCUSDT", "data_type": 6}, Status.INVALID_ARGUMENT, "data_type is 6", id="no kind"),
        pytest.param(
            {"symbol": "BTCUSDT", "data_type": 8}, Status.UNIMPLEMENTED, "OPEN_INTEREST is not offered", id="kind"
        ),
        pytest.param(
            {"symbol": "BTCUSDT", "data_type": 7}, Status.UNIMPLEMENTED, "cannot be streamed here yet", id="no message"
        ),
        pytest.param(
            {"symbol": "BTCUSDT", "venue": "binance_future"}, Status.INVALID_ARGUMENT, "did you mean", id="venue"
        ),
    ],
)
async def test_a_stream_of_the_modular_dialect_that_cannot_be_ends_with_the_reason(
    scene: Scene, request_: dict[str, Any], status: Status, words: str
) -> None:
    scene.open_stream("stream_request", control_pb2.MarketDataRequest(**request_))
    await scene.until(lambda: 1 in scene.server.ended)

    assert scene.server.ended[1][0] == status
    assert words in scene.server.ended[1][1]


async def test_control_is_handed_to_whoever_collects(scene: Scene) -> None:
    request = control_pb2.ControlRequest(symbol="BTCUSDT", venue="binance_spot", data_type=StreamKind.TRADE)
    answers = [
        control_pb2.ControlResponse.FromString(await scene.ask(method, request.SerializeToString()))
        for method in ("StartCollection", "StopCollection", "StopAllCollections")
    ]

    assert [(answer.success, answer.message) for answer in answers] == [
        (True, "start done"), (True, "stop done"), (True, "stop_all done"),
    ]  # fmt: skip
    asked = ("BTCUSDT", "binance_spot", StreamKind.TRADE)
    assert scene.hand.asked == [
        ("start", *asked), ("stop", *asked), ("stop_all", "", "", StreamKind.UNSPECIFIED)
    ]  # fmt: skip


async def test_collections_are_listed(scene: Scene) -> None:
    answer = control_pb2.ListResponse.FromString(await scene.ask("ListCollections", b""))

    (row,) = answer.collections
    assert (row.symbol, row.status, row.subscriber_count, row.venue) == ("BTCUSDT", "live", 2, "binance_spot")
    assert list(row.data_types) == [DataType.TRADES, DataType.ORDERBOOK]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Refused(Status.INVALID_ARGUMENT, "venue is 'x'"), Status.INVALID_ARGUMENT),
        (Unobtainable("no such symbol"), Status.NOT_FOUND),
        (DataValidation("no such symbol; did you mean BTCUSDT?"), Status.NOT_FOUND),
        (NetworkTimeout("the source does not answer"), Status.UNAVAILABLE),
    ],
)
async def test_what_control_cannot_do_ends_with_a_status(scene: Scene, failure: Exception, status: Status) -> None:
    scene.hand.failure = failure

    answer = await scene.ask("StartCollection", control_pb2.ControlRequest(symbol="X").SerializeToString())

    assert answer == (status, failure.message)
    assert scene.responses == [("StartCollection", status.name)]


@pytest.mark.parametrize("payload", [b"\xff\xff", control_pb2.ControlRequest(data_type=99).SerializeToString()])
async def test_control_requests_that_cannot_be_read_are_refused(scene: Scene, payload: bytes) -> None:
    status, message = await scene.ask("StartCollection", payload)

    assert status == Status.INVALID_ARGUMENT
    assert "raven.ControlRequest; see proto/control.proto" in message or "data_type is 99" in message
    assert scene.hand.asked == []


async def test_a_service_without_control_says_so() -> None:
    server = FakeServer()
    face = GrpcFace(server, Fanout(OneVenue(), server))
    await face.start()
    answer = await Scene(server, face, [], Hand()).ask("ListCollections", b"")
    await face.drain(0.1)

    assert answer == (Status.UNIMPLEMENTED, "ListCollections is not served here: this service collects nothing")


async def test_an_exception_in_the_native_server_does_not_end_the_thread(scene: Scene) -> None:
    scene.server.calls.put(ValueError("a bug"))

    assert isinstance(await scene.ask("Subscribe", BTC.SerializeToString()), bytes)


async def test_draining_says_not_serving_first_and_answers_what_is_under_way(scene: Scene) -> None:
    scene.face.set_serving(True)
    slow = wire.SubscribeRequest(client_id="x", symbols=["SLOW"], data_types=[1]).SerializeToString()
    scene.server.calls.put(FakeCall(99, "Subscribe", payload=slow))
    await scene.until(lambda: scene.face.stats()["fanout_clients"] == 1)

    assert await scene.face.drain(0.1)

    assert scene.server.serving == [True, False]
    assert scene.server.drained.is_set()
    await scene.until(lambda: scene.server.answers.get(99) == (Status.UNAVAILABLE, "the server stops; connect again"))
    assert await scene.face.drain(0.1), "draining twice does no harm"

"""What comes in as protobuf and goes out as protobuf; in between there are plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from raven.fanout import (
    Answer,
    CollectionRow,
    Dialect,
    Heartbeat,
    Question,
    Refused,
    Status,
    Subscribe,
    Unsubscribe,
)
from raven.fanout.dialect import parse_kind
from raven.proto import control_pb2 as control_wire
from raven.proto import subscription_pb2 as wire
from raven.topics import StreamKind

__all__ = [
    "ControlRequest",
    "Said",
    "collections_response",
    "control_response",
    "parse_control",
    "parse_question",
    "parse_stream_message",
    "parse_stream_request",
    "parse_subscribe",
    "parse_unsubscribe",
    "subscribe_response",
    "unsubscribe_response",
]

Said = Subscribe | Unsubscribe | Heartbeat
"""What a client says on its stream."""

AnyMessage = TypeVar("AnyMessage", bound=Message)


class ControlRequest(NamedTuple):
    """The fields of `ControlRequest`."""

    symbol: str
    venue: str
    kind: StreamKind


# --- in; every function raises Refused INVALID_ARGUMENT for bytes that are not its message ----------------------------


def parse_subscribe(payload: bytes) -> Subscribe:
    """Read a `SubscribeRequest`."""
    return _subscribe(_decode(wire.SubscribeRequest(), payload))


def parse_unsubscribe(payload: bytes) -> Unsubscribe:
    """Read an `UnsubscribeRequest`."""
    return _unsubscribe(_decode(wire.UnsubscribeRequest(), payload))


def parse_question(payload: bytes) -> Question:
    """Read a `HistoricalDataRequest`."""
    request = _decode(wire.HistoricalDataRequest(), payload)
    return Question(
        tuple(request.symbols), tuple(request.data_types), request.start_time, request.end_time, request.limit
    )


def parse_stream_message(payload: bytes) -> Said:
    """Read a `SubscriptionRequest`; one that says nothing is refused, too."""
    message = _decode(wire.SubscriptionRequest(), payload)
    match message.WhichOneof("request"):
        case "subscribe":
            return _subscribe(message.subscribe)
        case "unsubscribe":
            return _unsubscribe(message.unsubscribe)
        case "heartbeat":
            return Heartbeat(message.heartbeat.client_id)
    raise Refused(
        Status.INVALID_ARGUMENT, "the SubscriptionRequest is empty; set one of subscribe, unsubscribe or heartbeat"
    )


def parse_stream_request(payload: bytes, dialect: Dialect) -> Subscribe:
    """Read a `MarketDataRequest` as what it means in the other dialect.

    Raises: Refused UNIMPLEMENTED for a kind that this service does not offer.
    """
    request = _decode(control_wire.MarketDataRequest(), payload)
    if not request.symbol:
        raise Refused(Status.INVALID_ARGUMENT, "symbol is empty; name one, like 'BTCUSDT'")
    data_type = dialect.streamed(parse_kind(request.data_type))
    filters = {"venue": request.venue} if request.venue else {}
    return Subscribe(symbols=(request.symbol,), data_types=(data_type,), filters=filters)


def parse_control(payload: bytes) -> ControlRequest:
    """Read a `ControlRequest`; a number that is no `StreamKind` is refused, too."""
    request = _decode(control_wire.ControlRequest(), payload)
    return ControlRequest(request.symbol, request.venue, parse_kind(request.data_type))


def _decode(message: AnyMessage, payload: bytes) -> AnyMessage:
    try:
        message.ParseFromString(payload)
    except DecodeError:
        name, file = type(message).__name__, type(message).DESCRIPTOR.file.name
        raise Refused(Status.INVALID_ARGUMENT, f"the request is not a raven.{name}; see proto/{file}") from None
    return message


def _subscribe(message: wire.SubscribeRequest) -> Subscribe:
    return Subscribe(message.client_id, tuple(message.symbols), tuple(message.data_types), dict(message.filters))


def _unsubscribe(message: wire.UnsubscribeRequest) -> Unsubscribe:
    return Unsubscribe(message.client_id, tuple(message.symbols), tuple(message.data_types), message.venue)


# --- out --------------------------------------------------------------------------------------------------------------


def subscribe_response(answer: Answer) -> bytes:
    """Write a `SubscribeResponse`."""
    response = wire.SubscribeResponse(
        success=answer.success, message=answer.message, subscribed_topics=answer.topics, status=answer.status
    )
    return response.SerializeToString()


def unsubscribe_response(answer: Answer) -> bytes:
    """Write an `UnsubscribeResponse`."""
    response = wire.UnsubscribeResponse(
        success=answer.success, message=answer.message, unsubscribed_topics=answer.topics
    )
    return response.SerializeToString()


def control_response(message: str) -> bytes:
    """Write a `ControlResponse`, or a `StopAllResponse`, which has the same fields."""
    return control_wire.ControlResponse(success=True, message=message).SerializeToString()


def collections_response(rows: Sequence[CollectionRow]) -> bytes:
    """Write a `ListResponse`."""
    collections = [
        control_wire.CollectionInfo(
            symbol=row.symbol,
            status=row.status,
            subscriber_count=row.subscribers,
            venue=row.venue,
            data_types=[kind.value for kind in row.data_types],  # type: ignore[misc]  # numbers are what the wire has
        )
        for row in rows
    ]
    return control_wire.ListResponse(collections=collections).SerializeToString()

from raven.proto import market_data_pb2 as _market_data_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubscriptionRequest(_message.Message):
    __slots__ = ("subscribe", "unsubscribe", "heartbeat")
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    subscribe: SubscribeRequest
    unsubscribe: UnsubscribeRequest
    heartbeat: HeartbeatRequest
    def __init__(self, subscribe: _Optional[_Union[SubscribeRequest, _Mapping]] = ..., unsubscribe: _Optional[_Union[UnsubscribeRequest, _Mapping]] = ..., heartbeat: _Optional[_Union[HeartbeatRequest, _Mapping]] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("client_id", "symbols", "data_types", "filters")
    class FiltersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPES_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    symbols: _containers.RepeatedScalarFieldContainer[str]
    data_types: _containers.RepeatedScalarFieldContainer[_market_data_pb2.DataType]
    filters: _containers.ScalarMap[str, str]
    def __init__(self, client_id: _Optional[str] = ..., symbols: _Optional[_Iterable[str]] = ..., data_types: _Optional[_Iterable[_Union[_market_data_pb2.DataType, str]]] = ..., filters: _Optional[_Mapping[str, str]] = ...) -> None: ...

class UnsubscribeRequest(_message.Message):
    __slots__ = ("client_id", "symbols", "data_types", "venue")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPES_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    symbols: _containers.RepeatedScalarFieldContainer[str]
    data_types: _containers.RepeatedScalarFieldContainer[_market_data_pb2.DataType]
    venue: str
    def __init__(self, client_id: _Optional[str] = ..., symbols: _Optional[_Iterable[str]] = ..., data_types: _Optional[_Iterable[_Union[_market_data_pb2.DataType, str]]] = ..., venue: _Optional[str] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("success", "message", "subscribed_topics", "status")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_TOPICS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    subscribed_topics: _containers.RepeatedScalarFieldContainer[str]
    status: int
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., subscribed_topics: _Optional[_Iterable[str]] = ..., status: _Optional[int] = ...) -> None: ...

class UnsubscribeResponse(_message.Message):
    __slots__ = ("success", "message", "unsubscribed_topics")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBED_TOPICS_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    unsubscribed_topics: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., unsubscribed_topics: _Optional[_Iterable[str]] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("client_id", "timestamp")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    timestamp: int
    def __init__(self, client_id: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class HistoricalDataRequest(_message.Message):
    __slots__ = ("symbols", "data_types", "start_time", "end_time", "limit")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    data_types: _containers.RepeatedScalarFieldContainer[_market_data_pb2.DataType]
    start_time: int
    end_time: int
    limit: int
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., data_types: _Optional[_Iterable[_Union[_market_data_pb2.DataType, str]]] = ..., start_time: _Optional[int] = ..., end_time: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

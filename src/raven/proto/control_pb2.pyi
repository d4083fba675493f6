from raven.proto import market_data_pb2 as _market_data_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STREAM_KIND_UNSPECIFIED: _ClassVar[StreamKind]
    STREAM_KIND_ORDERBOOK: _ClassVar[StreamKind]
    STREAM_KIND_TRADE: _ClassVar[StreamKind]
    STREAM_KIND_CANDLE: _ClassVar[StreamKind]
    STREAM_KIND_FUNDING: _ClassVar[StreamKind]
    STREAM_KIND_LIQUIDATION: _ClassVar[StreamKind]
    STREAM_KIND_OPEN_INTEREST: _ClassVar[StreamKind]
STREAM_KIND_UNSPECIFIED: StreamKind
STREAM_KIND_ORDERBOOK: StreamKind
STREAM_KIND_TRADE: StreamKind
STREAM_KIND_CANDLE: StreamKind
STREAM_KIND_FUNDING: StreamKind
STREAM_KIND_LIQUIDATION: StreamKind
STREAM_KIND_OPEN_INTEREST: StreamKind

class MarketDataRequest(_message.Message):
    __slots__ = ("symbol", "data_type", "venue")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    data_type: StreamKind
    venue: str
    def __init__(self, symbol: _Optional[str] = ..., data_type: _Optional[_Union[StreamKind, str]] = ..., venue: _Optional[str] = ...) -> None: ...

class ControlRequest(_message.Message):
    __slots__ = ("symbol", "venue", "data_type")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    venue: str
    data_type: StreamKind
    def __init__(self, symbol: _Optional[str] = ..., venue: _Optional[str] = ..., data_type: _Optional[_Union[StreamKind, str]] = ...) -> None: ...

class ControlResponse(_message.Message):
    __slots__ = ("success", "message")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CollectionInfo(_message.Message):
    __slots__ = ("symbol", "status", "subscriber_count", "venue", "data_types")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPES_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    status: str
    subscriber_count: int
    venue: str
    data_types: _containers.RepeatedScalarFieldContainer[_market_data_pb2.DataType]
    def __init__(self, symbol: _Optional[str] = ..., status: _Optional[str] = ..., subscriber_count: _Optional[int] = ..., venue: _Optional[str] = ..., data_types: _Optional[_Iterable[_Union[_market_data_pb2.DataType, str]]] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[CollectionInfo]
    def __init__(self, collections: _Optional[_Iterable[_Union[CollectionInfo, _Mapping]]] = ...) -> None: ...

class StopAllRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopAllResponse(_message.Message):
    __slots__ = ("success", "message")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

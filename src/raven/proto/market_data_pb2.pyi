from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDERBOOK: _ClassVar[DataType]
    TRADES: _ClassVar[DataType]
    CANDLES_1M: _ClassVar[DataType]
    CANDLES_5M: _ClassVar[DataType]
    CANDLES_1H: _ClassVar[DataType]
    FUNDING_RATES: _ClassVar[DataType]
    WALLET_UPDATES: _ClassVar[DataType]
    QUOTES: _ClassVar[DataType]
    TIME_BARS: _ClassVar[DataType]
    TICK_BARS: _ClassVar[DataType]
    VOLUME_BARS: _ClassVar[DataType]
    QUOTE_VOLUME_BARS: _ClassVar[DataType]
    TICK_IMBALANCE_BARS: _ClassVar[DataType]
    VOLUME_IMBALANCE_BARS: _ClassVar[DataType]
    TICK_RUN_BARS: _ClassVar[DataType]
    VOLUME_RUN_BARS: _ClassVar[DataType]
    VPIN_BARS: _ClassVar[DataType]
ORDERBOOK: DataType
TRADES: DataType
CANDLES_1M: DataType
CANDLES_5M: DataType
CANDLES_1H: DataType
FUNDING_RATES: DataType
WALLET_UPDATES: DataType
QUOTES: DataType
TIME_BARS: DataType
TICK_BARS: DataType
VOLUME_BARS: DataType
QUOTE_VOLUME_BARS: DataType
TICK_IMBALANCE_BARS: DataType
VOLUME_IMBALANCE_BARS: DataType
TICK_RUN_BARS: DataType
VOLUME_RUN_BARS: DataType
VPIN_BARS: DataType

class PriceLevel(_message.Message):
    __slots__ = ("price", "quantity")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    price: float
    quantity: float
    def __init__(self, price: _Optional[float] = ..., quantity: _Optional[float] = ...) -> None: ...

class OrderBookSnapshot(_message.Message):
    __slots__ = ("symbol", "timestamp", "bids", "asks", "sequence")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    timestamp: int
    bids: _containers.RepeatedCompositeFieldContainer[PriceLevel]
    asks: _containers.RepeatedCompositeFieldContainer[PriceLevel]
    sequence: int
    def __init__(self, symbol: _Optional[str] = ..., timestamp: _Optional[int] = ..., bids: _Optional[_Iterable[_Union[PriceLevel, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[PriceLevel, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class Trade(_message.Message):
    __slots__ = ("symbol", "timestamp", "price", "quantity", "side", "trade_id", "first_fill_id", "last_fill_id")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_FILL_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_FILL_ID_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    timestamp: int
    price: float
    quantity: float
    side: str
    trade_id: str
    first_fill_id: int
    last_fill_id: int
    def __init__(self, symbol: _Optional[str] = ..., timestamp: _Optional[int] = ..., price: _Optional[float] = ..., quantity: _Optional[float] = ..., side: _Optional[str] = ..., trade_id: _Optional[str] = ..., first_fill_id: _Optional[int] = ..., last_fill_id: _Optional[int] = ...) -> None: ...

class Candle(_message.Message):
    __slots__ = ("symbol", "timestamp", "open", "high", "low", "close", "volume", "interval", "buy_ticks", "sell_ticks", "total_ticks", "theta", "close_time", "quote_volume", "vwap", "buy_volume", "sell_volume", "first_trade_id", "last_trade_id", "complete", "gap_count", "revision", "config_hash", "warming_up", "threshold", "words")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    BUY_TICKS_FIELD_NUMBER: _ClassVar[int]
    SELL_TICKS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TICKS_FIELD_NUMBER: _ClassVar[int]
    THETA_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TIME_FIELD_NUMBER: _ClassVar[int]
    QUOTE_VOLUME_FIELD_NUMBER: _ClassVar[int]
    VWAP_FIELD_NUMBER: _ClassVar[int]
    BUY_VOLUME_FIELD_NUMBER: _ClassVar[int]
    SELL_VOLUME_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    GAP_COUNT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    WARMING_UP_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    interval: str
    buy_ticks: int
    sell_ticks: int
    total_ticks: int
    theta: float
    close_time: int
    quote_volume: float
    vwap: float
    buy_volume: float
    sell_volume: float
    first_trade_id: int
    last_trade_id: int
    complete: bool
    gap_count: int
    revision: int
    config_hash: int
    warming_up: bool
    threshold: float
    words: bytes
    def __init__(self, symbol: _Optional[str] = ..., timestamp: _Optional[int] = ..., open: _Optional[float] = ..., high: _Optional[float] = ..., low: _Optional[float] = ..., close: _Optional[float] = ..., volume: _Optional[float] = ..., interval: _Optional[str] = ..., buy_ticks: _Optional[int] = ..., sell_ticks: _Optional[int] = ..., total_ticks: _Optional[int] = ..., theta: _Optional[float] = ..., close_time: _Optional[int] = ..., quote_volume: _Optional[float] = ..., vwap: _Optional[float] = ..., buy_volume: _Optional[float] = ..., sell_volume: _Optional[float] = ..., first_trade_id: _Optional[int] = ..., last_trade_id: _Optional[int] = ..., complete: _Optional[bool] = ..., gap_count: _Optional[int] = ..., revision: _Optional[int] = ..., config_hash: _Optional[int] = ..., warming_up: _Optional[bool] = ..., threshold: _Optional[float] = ..., words: _Optional[bytes] = ...) -> None: ...

class FundingRate(_message.Message):
    __slots__ = ("symbol", "timestamp", "rate", "next_funding_time", "mark_price", "index_price", "settle_price")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    NEXT_FUNDING_TIME_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    INDEX_PRICE_FIELD_NUMBER: _ClassVar[int]
    SETTLE_PRICE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    timestamp: int
    rate: float
    next_funding_time: int
    mark_price: float
    index_price: float
    settle_price: float
    def __init__(self, symbol: _Optional[str] = ..., timestamp: _Optional[int] = ..., rate: _Optional[float] = ..., next_funding_time: _Optional[int] = ..., mark_price: _Optional[float] = ..., index_price: _Optional[float] = ..., settle_price: _Optional[float] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("asset", "available", "locked")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    LOCKED_FIELD_NUMBER: _ClassVar[int]
    asset: str
    available: float
    locked: float
    def __init__(self, asset: _Optional[str] = ..., available: _Optional[float] = ..., locked: _Optional[float] = ...) -> None: ...

class WalletUpdate(_message.Message):
    __slots__ = ("user_id", "timestamp", "balances")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    timestamp: int
    balances: _containers.RepeatedCompositeFieldContainer[Balance]
    def __init__(self, user_id: _Optional[str] = ..., timestamp: _Optional[int] = ..., balances: _Optional[_Iterable[_Union[Balance, _Mapping]]] = ...) -> None: ...

class GapMark(_message.Message):
    __slots__ = ("symbol", "data_type", "count", "first_id", "last_id", "reason", "timestamp", "repaired")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    data_type: int
    count: int
    first_id: str
    last_id: str
    reason: str
    timestamp: int
    repaired: bool
    def __init__(self, symbol: _Optional[str] = ..., data_type: _Optional[int] = ..., count: _Optional[int] = ..., first_id: _Optional[str] = ..., last_id: _Optional[str] = ..., reason: _Optional[str] = ..., timestamp: _Optional[int] = ..., repaired: _Optional[bool] = ...) -> None: ...

class Quote(_message.Message):
    __slots__ = ("symbol", "timestamp", "bid_price", "bid_quantity", "ask_price", "ask_quantity", "update_id")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    BID_PRICE_FIELD_NUMBER: _ClassVar[int]
    BID_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICE_FIELD_NUMBER: _ClassVar[int]
    ASK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    UPDATE_ID_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    timestamp: int
    bid_price: float
    bid_quantity: float
    ask_price: float
    ask_quantity: float
    update_id: int
    def __init__(self, symbol: _Optional[str] = ..., timestamp: _Optional[int] = ..., bid_price: _Optional[float] = ..., bid_quantity: _Optional[float] = ..., ask_price: _Optional[float] = ..., ask_quantity: _Optional[float] = ..., update_id: _Optional[int] = ...) -> None: ...

class MarketDataMessage(_message.Message):
    __slots__ = ("orderbook", "trade", "candle", "funding", "wallet", "gap", "quote", "venue", "producer", "sequence", "receive_time_ns", "flags", "batch", "exchange_time_ns", "unproven_bids", "unproven_asks")
    ORDERBOOK_FIELD_NUMBER: _ClassVar[int]
    TRADE_FIELD_NUMBER: _ClassVar[int]
    CANDLE_FIELD_NUMBER: _ClassVar[int]
    FUNDING_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    UNPROVEN_BIDS_FIELD_NUMBER: _ClassVar[int]
    UNPROVEN_ASKS_FIELD_NUMBER: _ClassVar[int]
    orderbook: OrderBookSnapshot
    trade: Trade
    candle: Candle
    funding: FundingRate
    wallet: WalletUpdate
    gap: GapMark
    quote: Quote
    venue: str
    producer: str
    sequence: int
    receive_time_ns: int
    flags: int
    batch: _containers.RepeatedCompositeFieldContainer[MarketDataMessage]
    exchange_time_ns: int
    unproven_bids: int
    unproven_asks: int
    def __init__(self, orderbook: _Optional[_Union[OrderBookSnapshot, _Mapping]] = ..., trade: _Optional[_Union[Trade, _Mapping]] = ..., candle: _Optional[_Union[Candle, _Mapping]] = ..., funding: _Optional[_Union[FundingRate, _Mapping]] = ..., wallet: _Optional[_Union[WalletUpdate, _Mapping]] = ..., gap: _Optional[_Union[GapMark, _Mapping]] = ..., quote: _Optional[_Union[Quote, _Mapping]] = ..., venue: _Optional[str] = ..., producer: _Optional[str] = ..., sequence: _Optional[int] = ..., receive_time_ns: _Optional[int] = ..., flags: _Optional[int] = ..., batch: _Optional[_Iterable[_Union[MarketDataMessage, _Mapping]]] = ..., exchange_time_ns: _Optional[int] = ..., unproven_bids: _Optional[int] = ..., unproven_asks: _Optional[int] = ...) -> None: ...

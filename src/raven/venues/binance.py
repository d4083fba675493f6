"""Binance: spot, USD-M futures and COIN-M futures are three instances of one description.

Source: the exchange's published WebSocket and REST documentation; where a figure is from elsewhere it says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from urllib.parse import quote

import msgspec

from raven.errors import DataValidation
from raven.instruments import Instrument, split_factor
from raven.ports import Reply, Request, Stream, VenueLimits
from raven.topics import DataType

__all__ = ["Binance", "coinm", "spot", "usdm"]

PUBLIC = "public"
"""Order flow: depth and bookTicker."""
MARKET = "market"
"""Everything else that is public. On USD-M it has a route of its own since 2026-04-23; asked for on another route,
these streams are acknowledged and stay silent."""

_CANDLES = {DataType.CANDLES_1M: "1m", DataType.CANDLES_5M: "5m", DataType.CANDLES_1H: "1h"}
_WRAPPED = b'{"stream":'
_TRADING = "TRADING"
_DELIVERY = re.compile(r"_(\d{6})$")
# Weight by the largest limit it holds for.
_SPOT_DEPTH_WEIGHTS = {100: 5, 500: 25, 1000: 50, 5000: 250}
_FUTURES_DEPTH_WEIGHTS = {50: 2, 100: 5, 500: 10, 1000: 20}
# Both futures markets count the weight of an address together.
_FUTURES_POOL = "binance futures"
_SPOT_DEPTH_LIMITS = (5, 10, 20, 50, 100, 500, 1000, 5000)
_FUTURES_DEPTH_LIMITS = (5, 10, 20, 50, 100, 500, 1000)


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str = ""
    tick_size: str = "0"
    step_size: str = "0"
    min_notional: str = "0"
    notional: str = "0"


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str = ""
    contract_status: str = ""
    base_asset: str = ""
    quote_asset: str = ""
    filters: list[_Filter] = []


class _RateLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str = ""
    interval: str = ""
    interval_num: int = 1
    limit: int = 0


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    symbols: list[_Symbol]
    rate_limits: list[_RateLimit] = []


class _ErrorBody(msgspec.Struct):
    code: int = 0
    msg: str = ""


class _ReplyMessage(msgspec.Struct):
    id: int | str | None = None
    error: _ErrorBody | str | None = None
    code: int | None = None
    msg: str = ""


@dataclass(frozen=True, slots=True)
class Binance:
    """One of the exchange's markets. See `raven.ports.Venue`."""

    name: str
    sequence_rule: str
    limits: VenueLimits
    ws_url: str
    rest_url: str
    rest_prefix: str
    routes: Mapping[str, str]
    trade_stream: str
    """`trade` on spot; `aggTrade` on futures, whose single trades are not an official stream."""
    depth_weights: Mapping[int, int]
    depth_limits: Sequence[int]
    instruments_weight: int
    has_funding: bool

    def connection_url(self, category: str) -> str:
        """Return the combined-stream endpoint of a category."""
        return f"{self.ws_url}{self.routes[category]}/stream"

    def streams(self, symbol: str, data_type: DataType) -> Sequence[Stream]:
        """Return the stream that carries a data type."""
        base = symbol.lower()
        # Where the venue has one route for all, one connection carries all.
        market = MARKET if MARKET in self.routes else PUBLIC
        if data_type in _CANDLES:
            return (Stream(market, f"{base}@kline_{_CANDLES[data_type]}"),)
        if data_type is DataType.ORDERBOOK:
            return (Stream(PUBLIC, f"{base}@depth@100ms"),)
        if data_type is DataType.QUOTES:
            return (Stream(PUBLIC, f"{base}@bookTicker"),)
        if data_type is DataType.TRADES:
            # Raw trades of USD-M, where they still flow, come with the books; aggregates with the rest.
            return (Stream(PUBLIC if self.trade_stream == "trade" else market, f"{base}@{self.trade_stream}"),)
        if data_type is DataType.FUNDING_RATES and self.has_funding:
            return (Stream(market, f"{base}@markPrice@1s"),)
        if data_type is DataType.LIQUIDATIONS and self.has_funding:
            return (Stream(market, f"{base}@forceOrder"),)
        return ()

    def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return a SUBSCRIBE message."""
        return msgspec.json.encode({"method": "SUBSCRIBE", "params": list(names), "id": request_id})

    def unsubscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return an UNSUBSCRIBE message."""
        return msgspec.json.encode({"method": "UNSUBSCRIBE", "params": list(names), "id": request_id})

    def reply(self, raw: bytes) -> Reply:
        """Read `{"result":null,"id":…}` or one of the error forms."""
        try:
            message = msgspec.json.decode(raw, type=_ReplyMessage)
        except msgspec.DecodeError:
            return Reply(None, f"an answer that cannot be read: {raw[:200]!r}")
        number = message.id if isinstance(message.id, int) else None
        if isinstance(message.error, _ErrorBody):
            return Reply(number, f"{message.error.code}: {message.error.msg}")
        if message.error is not None:
            return Reply(number, message.error or "refused without a word")
        if message.code is not None:
            return Reply(number, f"{message.code}: {message.msg}")
        return Reply(number)

    def is_reply(self, frame: memoryview) -> bool:
        """Return whether a frame of a combined-stream connection is an answer: data is wrapped in `{"stream":`."""
        return frame[: len(_WRAPPED)] != _WRAPPED

    def depth_limit(self, limit: int) -> int:
        """Return the smallest limit the exchange accepts that holds as many levels."""
        return next((known for known in self.depth_limits if known >= limit), self.depth_limits[-1])

    def depth_request(self, symbol: str, limit: int) -> Request:
        """Return the request for a book."""
        limit = self.depth_limit(limit)
        weight = next(weight for bound, weight in self.depth_weights.items() if limit <= bound)
        return Request(f"{self.rest_prefix}/depth?symbol={quote(symbol)}&limit={limit}", weight)

    def instruments_request(self) -> Request:
        """Return the request for exchangeInfo."""
        return Request(f"{self.rest_prefix}/exchangeInfo", self.instruments_weight)

    def instruments(self, body: bytes) -> tuple[Mapping[str, Instrument], int]:
        """Read exchangeInfo.

        Raises: DataValidation when it is not one.
        """
        try:
            info = msgspec.json.decode(body, type=_ExchangeInfo)
            known = {one.symbol: _instrument(one) for one in info.symbols}
        except (msgspec.DecodeError, InvalidOperation) as error:
            raise DataValidation(f"{self.name}: exchangeInfo is not of the documented form: {error}") from error
        weights = [
            rule.limit // max(1, rule.interval_num)
            for rule in info.rate_limits
            if rule.rate_limit_type == "REQUEST_WEIGHT" and rule.interval == "MINUTE"
        ]
        return known, min(weights, default=0)


def _instrument(one: _Symbol) -> Instrument:
    base, factor = split_factor(one.base_asset)
    delivery = _DELIVERY.search(one.symbol)
    steps = {rule.filter_type: rule for rule in one.filters}
    price, lot = steps.get("PRICE_FILTER", _Filter()), steps.get("LOT_SIZE", _Filter())
    # Spot had MIN_NOTIONAL before NOTIONAL; futures call the figure in MIN_NOTIONAL `notional`.
    least = steps.get("NOTIONAL") or steps.get("MIN_NOTIONAL") or _Filter()
    return Instrument(
        one.symbol,
        max((_decimals(rule.tick_size) for rule in one.filters), default=0),
        max((_decimals(rule.step_size) for rule in one.filters), default=0),
        base=base,
        quote=one.quote_asset,
        factor=factor,
        expiry=delivery[1] if delivery else "",
        # COIN-M has the field under another name.
        is_trading=(one.status or one.contract_status or _TRADING) == _TRADING,
        tick_size=_stated(price.tick_size),
        step_size=_stated(lot.step_size),
        min_notional=_stated(least.min_notional) or _stated(least.notional),
    )


def _stated(figure: str) -> Decimal | None:
    """Return a figure without noughts behind it; the exchange writes 0 for a rule that is switched off."""
    value = Decimal(figure)
    return Decimal(f"{value.normalize():f}") if value else None


def _decimals(step: str) -> int:
    exponent = Decimal(step).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _base(url: str, documented: str) -> str:
    """Return a WebSocket base: a configured value that already names an endpoint or a route is reduced."""
    url = (url or documented).rstrip("/")
    for ending in ("/stream", "/ws", f"/{PUBLIC}", f"/{MARKET}"):
        url = url.removesuffix(ending)
    return url


def _limits(messages_per_second: float, weight: int, pool: str) -> VenueLimits:
    # 1024 streams and 300 attempts are documented for spot and held by well-kept clients on futures, too.
    return VenueLimits(1024, messages_per_second, 300, weight, max_age_s=24 * 3600, weight_pool=pool)


def spot(ws_url: str = "", rest_url: str = "") -> Binance:
    """Describe Binance spot."""
    return Binance(
        name="binance_spot",
        sequence_rule="spot",
        limits=_limits(5, 6000, "binance spot"),
        ws_url=_base(ws_url, "wss://stream.binance.com:9443"),
        rest_url=(rest_url or "https://api.binance.com").rstrip("/"),
        rest_prefix="/api/v3",
        routes={PUBLIC: ""},
        trade_stream="trade",
        depth_weights=_SPOT_DEPTH_WEIGHTS,
        depth_limits=_SPOT_DEPTH_LIMITS,
        instruments_weight=20,
        has_funding=False,
    )


def usdm(ws_url: str = "", rest_url: str = "") -> Binance:
    """Describe Binance USD-M futures."""
    return Binance(
        name="binance_futures",
        sequence_rule="futures",
        limits=_limits(10, 2400, _FUTURES_POOL),
        ws_url=_base(ws_url, "wss://fstream.binance.com"),
        rest_url=(rest_url or "https://fapi.binance.com").rstrip("/"),
        rest_prefix="/fapi/v1",
        routes={PUBLIC: "/public", MARKET: "/market"},
        trade_stream="aggTrade",
        depth_weights=_FUTURES_DEPTH_WEIGHTS,
        depth_limits=_FUTURES_DEPTH_LIMITS,
        instruments_weight=1,
        has_funding=True,
    )


def coinm(ws_url: str = "", rest_url: str = "") -> Binance:
    """Describe Binance COIN-M futures, whose streams were not split by category."""
    return Binance(
        name="binance_coinm",
        sequence_rule="futures",
        limits=_limits(10, 2400, _FUTURES_POOL),
        ws_url=_base(ws_url, "wss://dstream.binance.com"),
        rest_url=(rest_url or "https://dapi.binance.com").rstrip("/"),
        rest_prefix="/dapi/v1",
        routes={PUBLIC: ""},
        trade_stream="aggTrade",
        depth_weights=_FUTURES_DEPTH_WEIGHTS,
        depth_limits=_FUTURES_DEPTH_LIMITS,
        instruments_weight=1,
        has_funding=True,
    )

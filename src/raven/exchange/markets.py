"""What differs between the exchange's three markets, as data: paths, limits, weights, speeds.

Source: the venue's documentation of 2026 for spot, USD-M and COIN-M (WebSocket streams, REST market data, limits).
"""

from dataclasses import dataclass
from enum import StrEnum

from raven.exchange.timeline import MS, SECOND


class Market(StrEnum):
    """The venue's three markets."""

    SPOT = "spot"
    USDM = "usdm"
    COINM = "coinm"

    @property
    def is_futures(self) -> bool:
        """Whether depth events chain by `pu` and there is a mark price."""
        return self is not Market.SPOT


@dataclass(frozen=True, slots=True)
class MarketRules:
    """The documented numbers of one market; replace some in `ExchangeConfig.rules` to make a test short or strict."""

    rest_prefix: str
    """Path before the endpoint name, such as `/fapi/v1`."""
    ping_interval_ns: int
    """How often the server sends a ping frame."""
    pong_timeout_ns: int
    """A connection whose ping stays unanswered so long is dropped."""
    messages_per_second: int
    """Incoming messages (JSON, ping, pong) a connection may send within one second."""
    weight_per_minute: int
    """REST weight an address may spend in a minute."""
    depth_weights: tuple[tuple[int, int], ...]
    """REST depth: `(up to this limit, weight)`, ascending."""
    exact_depth_limits: bool
    """Whether only the listed depth limits are valid; otherwise anything from 1 to the largest."""
    default_depth_limit: int
    agg_trades_weight: int
    trades_weight: int
    historical_trades_weight: int
    exchange_info_weight: int
    depth_speeds_ns: tuple[tuple[str, int], ...]
    """Suffix of `<symbol>@depth` and how often such a stream speaks; 0 stands for the config's fastest speed."""
    partial_speeds_ns: tuple[tuple[str, int], ...]
    kline_interval_ns: int
    """How often an open candle is sent (candles of one second on spot: every second)."""
    agg_trade_window_ns: int
    """Fills of one price and side within this time become one aggregate; 0: only fills of one taker order."""
    max_streams: int = 1024
    """Streams one connection may listen to."""
    connect_attempts: int = 300
    """Connection attempts per address within `connect_window_ns`."""
    connect_window_ns: int = 300 * SECOND
    lifetime_ns: int = 24 * 3600 * SECOND
    """A connection is closed after this time."""
    shutdown_notice_ns: int = 0
    """How long before the close `serverShutdown` is sent; 0 for a market without that event."""
    ban_after: int = 10
    """Requests sent in spite of 429 within one minute that lead to 418."""
    ban_seconds: int = 120
    """How long the first ban lasts."""


SPOT_RULES = MarketRules(
    rest_prefix="/api/v3",
    ping_interval_ns=20 * SECOND,
    pong_timeout_ns=60 * SECOND,
    messages_per_second=5,
    weight_per_minute=6000,
    depth_weights=((100, 5), (500, 25), (1000, 50), (5000, 250)),
    exact_depth_limits=False,
    default_depth_limit=100,
    agg_trades_weight=4,
    trades_weight=25,
    historical_trades_weight=25,
    exchange_info_weight=20,
    depth_speeds_ns=(("", 1000 * MS), ("@100ms", 100 * MS), ("@1000ms", 1000 * MS)),
    partial_speeds_ns=(("", 1000 * MS), ("@100ms", 100 * MS), ("@1000ms", 1000 * MS)),
    kline_interval_ns=2000 * MS,
    agg_trade_window_ns=0,
    shutdown_notice_ns=600 * SECOND,
)

_FUTURES_SPEEDS = (("", 250 * MS), ("@100ms", 100 * MS), ("@250ms", 250 * MS), ("@500ms", 500 * MS))

USDM_RULES = MarketRules(
    rest_prefix="/fapi/v1",
    ping_interval_ns=180 * SECOND,
    pong_timeout_ns=600 * SECOND,
    messages_per_second=10,
    weight_per_minute=2400,
    depth_weights=((5, 2), (10, 2), (20, 2), (50, 2), (100, 5), (500, 10), (1000, 20)),
    exact_depth_limits=True,
    default_depth_limit=500,
    agg_trades_weight=20,
    trades_weight=5,
    historical_trades_weight=20,
    exchange_info_weight=1,
    # `@0ms` is not documented; well-known recorders and clients use it and the venue serves it.
    depth_speeds_ns=(*_FUTURES_SPEEDS, ("@0ms", 0)),
    partial_speeds_ns=_FUTURES_SPEEDS,
    kline_interval_ns=250 * MS,
    agg_trade_window_ns=100 * MS,
)

COINM_RULES = MarketRules(
    rest_prefix="/dapi/v1",
    ping_interval_ns=180 * SECOND,
    pong_timeout_ns=600 * SECOND,
    messages_per_second=10,
    weight_per_minute=2400,
    depth_weights=USDM_RULES.depth_weights,
    exact_depth_limits=True,
    default_depth_limit=500,
    agg_trades_weight=20,
    trades_weight=5,
    historical_trades_weight=20,
    exchange_info_weight=1,
    depth_speeds_ns=USDM_RULES.depth_speeds_ns,
    partial_speeds_ns=_FUTURES_SPEEDS,
    kline_interval_ns=250 * MS,
    agg_trade_window_ns=100 * MS,
)

RULES: dict[Market, MarketRules] = {Market.SPOT: SPOT_RULES, Market.USDM: USDM_RULES, Market.COINM: COINM_RULES}
"""The documented rules by market."""

_MINUTE = 60 * SECOND
_HOUR = 3600 * SECOND
_DAY = 24 * _HOUR
INTERVALS_NS: dict[str, int] = {
    "1s": SECOND,
    "1m": _MINUTE,
    "3m": 3 * _MINUTE,
    "5m": 5 * _MINUTE,
    "15m": 15 * _MINUTE,
    "30m": 30 * _MINUTE,
    "1h": _HOUR,
    "2h": 2 * _HOUR,
    "4h": 4 * _HOUR,
    "6h": 6 * _HOUR,
    "8h": 8 * _HOUR,
    "12h": 12 * _HOUR,
    "1d": _DAY,
    "3d": 3 * _DAY,
    "1w": 7 * _DAY,
    "1M": 0,
}
"""Every interval with its length; months vary. `1s` exists on spot only."""

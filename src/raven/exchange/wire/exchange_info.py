"""The answer of `exchangeInfo`: rate limits, and every symbol with its filters, in each market's own layout."""

from collections.abc import Sequence
from typing import Any

from raven.exchange.instruments import Instrument, decimal_text
from raven.exchange.markets import Market, MarketRules

# A perpetual's delivery date on the venue: 2100-12-25.
_NEVER_MS = 4_133_404_800_000
_ONBOARD_MS = 1_569_398_400_000


def exchange_info(market: Market, rules: MarketRules, instruments: Sequence[Instrument], now_ms: int) -> dict[str, Any]:
    """Describe a market as its `exchangeInfo` endpoint does."""
    limits: list[dict[str, Any]] = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": rules.weight_per_minute}
    ]
    if market is Market.SPOT:
        limits += [
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
        ]
        symbols = [_spot_symbol(one) for one in instruments]
        return {
            "timezone": "UTC",
            "serverTime": now_ms,
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": symbols,
        }
    limits.append({"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200})
    if market is Market.COINM:
        symbols = [_futures_symbol(one) for one in instruments]
        return {
            "timezone": "UTC",
            "serverTime": now_ms,
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": symbols,
        }
    limits.append({"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300})
    quotes = list(dict.fromkeys(one.quote for one in instruments))
    assets = [{"asset": quote, "marginAvailable": True, "autoAssetExchange": "-10000"} for quote in quotes]
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": limits,
        "exchangeFilters": [],
        "assets": assets,
        "symbols": [_futures_symbol(one) for one in instruments],
    }


def _bounds(instrument: Instrument) -> tuple[str, str]:
    """Return the lowest and highest price an order may have: a hundredth and a hundred times the opening price."""
    low = max(1, instrument.start_ticks // 100) * instrument.tick_units
    high = instrument.start_ticks * 100 * instrument.tick_units
    return decimal_text(low, instrument.price_decimals), decimal_text(high, instrument.price_decimals)


def _spot_symbol(instrument: Instrument) -> dict[str, Any]:
    low, high = _bounds(instrument)
    lot = instrument.lot_text()
    return {
        "symbol": instrument.symbol,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": low, "maxPrice": high, "tickSize": instrument.tick_text()},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": instrument.quantity_text(10**9), "stepSize": lot},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": instrument.quantity_text(10**7),
                "stepSize": "0.00000000",
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": "5",
                "bidMultiplierDown": "0.2",
                "askMultiplierUp": "5",
                "askMultiplierDown": "0.2",
                "avgPriceMins": 5,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
        ],
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _futures_symbol(instrument: Instrument) -> dict[str, Any]:
    low, high = _bounds(instrument)
    lot = instrument.lot_text()
    coinm = instrument.market is Market.COINM
    filters: list[dict[str, Any]] = [
        {"minPrice": low, "maxPrice": high, "filterType": "PRICE_FILTER", "tickSize": instrument.tick_text()},
        {"stepSize": lot, "filterType": "LOT_SIZE", "maxQty": "1000000", "minQty": lot},
        {"stepSize": lot, "filterType": "MARKET_LOT_SIZE", "maxQty": "100000", "minQty": lot},
        {"limit": 200, "filterType": "MAX_NUM_ORDERS"},
        {"limit": 10, "filterType": "MAX_NUM_ALGO_ORDERS"},
    ]
    if not coinm:
        filters.append({"notional": "5", "filterType": "MIN_NOTIONAL"})
    filters.append(
        {"multiplierDown": "0.8500", "multiplierUp": "1.1500", "multiplierDecimal": "4", "filterType": "PERCENT_PRICE"}
    )
    symbol: dict[str, Any] = {
        "symbol": instrument.symbol,
        "pair": instrument.pair,
        "contractType": "PERPETUAL",
        "deliveryDate": _NEVER_MS,
        "onboardDate": _ONBOARD_MS,
        "contractStatus" if coinm else "status": "TRADING",
    }
    if coinm:
        symbol["contractSize"] = instrument.contract_size
    symbol |= {
        "marginAsset": instrument.base if coinm else instrument.quote,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "pricePrecision": instrument.price_decimals,
        "quantityPrecision": instrument.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
    }
    if coinm:
        symbol |= {"equalQtyPrecision": 4, "maxMoveOrderLimit": 10000}
    else:
        symbol["settlePlan"] = 0
    symbol |= {
        "triggerProtect": "0.0500",
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "filters": filters,
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        "liquidationFee": "0.012000",
        "marketTakeBound": "0.30",
    }
    return symbol

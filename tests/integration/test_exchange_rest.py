"""REST of the built-in exchange: content, rules, weights and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from raven.exchange import Exchange, ExchangeConfig, Timeline
from raven.exchange.markets import SPOT_RULES, USDM_RULES

PREFIX = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}
SYMBOL = {"spot": "BTCUSDT", "usdm": "BTCUSDT", "coinm": "BTCUSD_PERP"}
MARKETS = list(PREFIX)


class Rest:
    def __init__(self, exchange: Exchange, session: aiohttp.ClientSession, market: str) -> None:
        self.exchange = exchange
        self.market = market
        self._session = session
        self._base = exchange.market(market).rest_url + PREFIX[market]
        self.headers: Any = {}

    async def get(self, endpoint: str, status: int = 200, **params: object) -> Any:
        query = {name: str(value) for name, value in params.items()}
        async with self._session.get(f"{self._base}/{endpoint}", params=query) as response:
            self.headers = response.headers
            body = await response.json() if response.content_type == "application/json" else await response.text()
            assert response.status == status, body
            return body


@asynccontextmanager
async def venue(market: str, **options: Any) -> AsyncIterator[Rest]:
    config = ExchangeConfig(markets=(market,), **{"rate": 400.0, "levels": 1100, **options})
    async with Exchange(config, Timeline()) as exchange, aiohttp.ClientSession() as session:
        await exchange.advance(30)
        yield Rest(exchange, session, market)


@pytest.mark.parametrize("market", MARKETS)
async def test_depth_is_the_true_book(market):
    async with venue(market) as rest:
        body = await rest.get("depth", symbol=SYMBOL[market], limit=1000)
        truth = rest.exchange.book(SYMBOL[market])

        assert body["lastUpdateId"] == truth.update_id
        assert [(Decimal(p), Decimal(q)) for p, q in body["bids"]] == list(truth.bids[:1000])
        assert [(Decimal(p), Decimal(q)) for p, q in body["asks"]] == list(truth.asks[:1000])
        assert ("E" in body, "T" in body, "pair" in body) == {
            "spot": (False, False, False), "usdm": (True, True, False), "coinm": (True, True, True),
        }[market]  # fmt: skip


@pytest.mark.parametrize(("market", "limit", "levels"), [("spot", 7, 7), ("spot", 9999, 1000), ("usdm", 5, 5)])
async def test_depth_has_as_many_levels_as_asked_for(market, limit, levels):
    async with venue(market) as rest:
        assert len((await rest.get("depth", symbol="BTCUSDT", limit=limit))["bids"]) >= levels


@pytest.mark.parametrize(
    ("market", "endpoint", "params", "code"),
    [
        ("spot", "depth", {"symbol": "NOSUCH"}, -1121),
        ("spot", "depth", {}, -1102),
        ("usdm", "depth", {"symbol": "BTCUSDT", "limit": 7}, -4021),
        ("spot", "depth", {"symbol": "BTCUSDT", "limit": "ten"}, -1100),
        ("spot", "klines", {"symbol": "BTCUSDT"}, -1102),
        ("usdm", "klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("usdm", "aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
        ("usdm", "aggTrades", {"symbol": "BTCUSDT", "startTime": 1, "endTime": 3_600_001}, -1127),
        ("spot", "aggTrades", {"symbol": "BTCUSDT", "startTime": 5, "endTime": 1}, -1023),
    ],
)
async def test_mistakes_are_400_with_the_code_of_the_venue(market, endpoint, params, code):
    async with venue(market) as rest:
        body = await rest.get(endpoint, status=400, **params)

        assert body["code"] == code
        assert body["msg"]


async def test_other_endpoints_are_404():
    async with venue("spot") as rest:
        await rest.get("nothing", status=404)
        await rest.get("openInterest", status=404, symbol="BTCUSDT")


@pytest.mark.parametrize("market", MARKETS)
async def test_agg_trades_continue_by_id_and_by_time(market):
    async with venue(market) as rest:
        last = await rest.get("aggTrades", symbol=SYMBOL[market], limit=40)
        again = await rest.get("aggTrades", symbol=SYMBOL[market], fromId=last[10]["a"], limit=5)
        timed = await rest.get("aggTrades", symbol=SYMBOL[market], startTime=last[10]["T"], endTime=last[20]["T"])

        assert [row["a"] for row in last] == list(range(last[0]["a"], last[0]["a"] + 40))
        assert again == last[10:15]
        assert [row for row in last if last[10]["T"] <= row["T"] <= last[20]["T"]] == timed


@pytest.mark.parametrize("market", MARKETS)
async def test_trades_klines_and_tickers_agree(market):
    async with venue(market, rate=60.0) as rest:
        symbol = SYMBOL[market]
        trades = await rest.get("trades", symbol=symbol, limit=1000)
        history = await rest.get("historicalTrades", symbol=symbol, fromId=trades[5]["id"], limit=3)
        klines = await rest.get("klines", symbol=symbol, interval="5m", limit=1)
        ticker = await rest.get("ticker/bookTicker", symbol=symbol)
        price = await rest.get("ticker/price", symbol=symbol)
        truth = rest.exchange.book(symbol)
        if market == "coinm":
            ticker, price = ticker[0], price[0]

        assert history == trades[5:8]
        assert klines[0][4] == trades[-1]["price"] == price["price"]
        assert klines[0][8] == len(trades)
        assert Decimal(klines[0][5]) == sum(Decimal(trade["qty"]) for trade in trades)
        assert (Decimal(ticker["bidPrice"]), Decimal(ticker["bidQty"])) == truth.bids[0]


@pytest.mark.parametrize("market", MARKETS)
async def test_exchange_info_names_limits_ticks_and_lots(market):
    async with venue(market) as rest:
        info = await rest.get("exchangeInfo")
        symbol = next(one for one in info["symbols"] if one["symbol"] == SYMBOL[market])
        filters = {one["filterType"]: one for one in symbol["filters"]}

        assert info["rateLimits"][0]["limit"] == {"spot": 6000, "usdm": 2400, "coinm": 2400}[market]
        tick, lot = Decimal(filters["PRICE_FILTER"]["tickSize"]), Decimal(filters["LOT_SIZE"]["stepSize"])
        for price, quantity in rest.exchange.book(SYMBOL[market]).bids:
            assert price % tick == 0
            assert quantity % lot == 0


async def test_futures_have_mark_prices_and_open_interest():
    async with venue("usdm") as rest:
        one = await rest.get("premiumIndex", symbol="BTCUSDT")
        every = await rest.get("premiumIndex")
        interest = await rest.get("openInterest", symbol="BTCUSDT")

        assert {row["symbol"] for row in every} == {"BTCUSDT", "ETHUSDT"}
        assert one["nextFundingTime"] > one["time"]
        assert Decimal(interest["openInterest"]) > 0


async def test_weights_are_counted_and_refused_with_429_and_then_418():
    rules = {"spot": replace(SPOT_RULES, weight_per_minute=120, ban_after=2)}
    async with venue("spot", rules=rules) as rest:
        await rest.get("depth", symbol="BTCUSDT", limit=1000)
        assert rest.headers["X-MBX-USED-WEIGHT-1M"] == "50"
        await rest.get("depth", symbol="BTCUSDT", limit=1000)
        refused = await rest.get("depth", status=429, symbol="BTCUSDT", limit=1000)
        assert refused["code"] == -1003
        assert 0 < int(rest.headers["Retry-After"]) <= 60
        await rest.get("ping", status=429)
        banned = await rest.get("ping", status=418)
        assert "IP banned until" in banned["msg"]
        assert int(rest.headers["Retry-After"]) == 120

        await rest.exchange.advance(121)
        await rest.get("ping")
        assert rest.headers["X-MBX-USED-WEIGHT-1M"] == "1"


async def test_usdm_and_coinm_spend_from_one_budget():
    config = ExchangeConfig(markets=("usdm", "coinm"), rules={"usdm": replace(USDM_RULES, weight_per_minute=30)})
    async with Exchange(config, Timeline()) as exchange, aiohttp.ClientSession() as session:
        usdm, coinm = Rest(exchange, session, "usdm"), Rest(exchange, session, "coinm")
        await usdm.get("depth", symbol="BTCUSDT", limit=1000)
        await coinm.get("depth", status=429, symbol="BTCUSD_PERP", limit=1000)

        assert coinm.headers["X-MBX-USED-WEIGHT-1M"] == "40"

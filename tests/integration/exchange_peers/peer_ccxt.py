"""ccxt.pro: `watch_order_book` on spot, USD-M and COIN-M."""

import asyncio

import ccxt.pro as ccxtpro
from report import answer_in_background, arguments

KINDS = {
    "spot": ("spot", "spot", "BTC/USDT"),
    "usdm": ("future", "linear", "BTC/USDT:USDT"),
    "coinm": ("delivery", "inverse", "BTC/USD:BTC"),
}


async def main() -> None:
    where = arguments()
    kind, link, symbol = KINDS[where.market]
    exchange = ccxtpro.binance(
        {"options": {"defaultType": kind, "fetchMarkets": {"types": [link]}, "fetchCurrencies": False}}
    )
    urls = exchange.urls["api"]
    for name, url in urls.items():
        if isinstance(url, str):
            version = {"f": "/fapi/v1", "d": "/dapi/v1"}.get(name[0] if "api" in name else "", "/api/v3")
            urls[name] = where.rest + version
    for name in ("spot", "linear", "inverse", "future", "delivery"):
        urls["ws"][name] = f"{where.ws}/ws"
    await exchange.load_markets()
    answer_in_background(lambda: (exchange.orderbooks[symbol]["bids"], exchange.orderbooks[symbol]["asks"]))
    while True:
        await exchange.watch_order_book(symbol, 1000)


asyncio.run(main())

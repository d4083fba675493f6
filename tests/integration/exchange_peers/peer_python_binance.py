"""python-binance: its depth cache managers for spot and USD-M."""

import asyncio

from binance import AsyncClient, BinanceSocketManager
from binance.ws.depthcache import DepthCacheManager, FuturesDepthCacheManager
from report import answer_in_background, arguments


async def main() -> None:
    where = arguments()
    client = AsyncClient()
    client.API_URL = f"{where.rest}/api"
    client.FUTURES_URL = f"{where.rest}/fapi"
    BinanceSocketManager.STREAM_URL = BinanceSocketManager.FSTREAM_URL = f"{where.ws}/"
    kind = DepthCacheManager if where.market == "spot" else FuturesDepthCacheManager
    async with kind(client, symbol=where.symbol) as manager:
        answer_in_background(lambda: (manager.get_depth_cache().get_bids(), manager.get_depth_cache().get_asks()))
        while True:
            await manager.recv()


asyncio.run(main())

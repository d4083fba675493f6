"""cryptofeed: its order book feeds for spot and USD-M; it insists on TLS, see SSL_CERT_FILE in the test."""

import asyncio

from cryptofeed import FeedHandler
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
from cryptofeed.defines import L2_BOOK
from cryptofeed.exchanges import Binance, BinanceFutures
from report import answer_in_background, arguments

where = arguments()
# This release knows nothing of the routes of USD-M yet, so its address is given the one for books.
prefix, route, base, pair = {
    "spot": ("/api/v3", "", Binance, "BTC-USDT"),
    "usdm": ("/fapi/v1", "/public", BinanceFutures, "BTC-USDT-PERP"),
}[where.market]
books: list[object] = []


class Local(base):
    websocket_endpoints = [WebsocketEndpoint(where.ws + route, options={"compression": None})]  # noqa: RUF012
    rest_endpoints = [  # noqa: RUF012
        RestEndpoint(where.rest, routes=Routes(f"{prefix}/exchangeInfo", l2book=prefix + "/depth?symbol={}&limit={}"))
    ]


async def on_book(book: object, received: float) -> None:
    books[:] = [book.book]


def top() -> tuple[list[tuple[object, object]], list[tuple[object, object]]]:
    bids, asks = books[0].bids, books[0].asks
    return [(p, bids[p]) for p in list(bids.keys())[:20]], [(p, asks[p]) for p in list(asks.keys())[:20]]


answer_in_background(top)
handler = FeedHandler()
# The handler installs another event loop policy, which has no loop yet.
asyncio.set_event_loop(asyncio.new_event_loop())
handler.add_feed(Local(symbols=[pair], channels=[L2_BOOK], callbacks={L2_BOOK: on_book}, max_depth=1000))
handler.run(install_signal_handlers=False)

"""The venue's own connector (binance-sdk-spot): its depth stream and REST client, put together as documented."""

import asyncio

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_spot.spot import Spot
from report import answer_in_background, arguments


class Book:
    def __init__(self) -> None:
        self.early: list[object] = []
        self.update_id = 0
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}

    def on_diff(self, diff: object) -> None:
        event = diff.model_dump(by_alias=True)
        if not self.update_id:
            self.early.append(diff)
        elif event["u"] > self.update_id:
            assert event["U"] <= self.update_id + 1
            for side, changes in ((self.bids, event["b"]), (self.asks, event["a"])):
                for price, quantity in changes:
                    side[float(price)] = float(quantity)
            self.update_id = event["u"]

    def start(self, snapshot: object) -> None:
        self.bids = {float(p): float(q) for p, q in snapshot.bids}
        self.asks = {float(p): float(q) for p, q in snapshot.asks}
        self.update_id = snapshot.last_update_id
        for diff in self.early:
            self.on_diff(diff)

    def top(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        bids = sorted(((p, q) for p, q in self.bids.items() if q), reverse=True)
        return bids, sorted((p, q) for p, q in self.asks.items() if q)


async def main() -> None:
    where = arguments()
    book = Book()
    client = Spot(
        config_rest_api=ConfigurationRestAPI(api_key="", api_secret="", base_path=where.rest),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=where.ws),
    )
    connection = await client.websocket_streams.create_connection()
    stream = await connection.diff_book_depth(symbol=where.symbol.lower(), update_speed="100ms")
    stream.on("message", book.on_diff)
    await asyncio.sleep(1.0)
    answer = await asyncio.to_thread(client.rest_api.depth, symbol=where.symbol, limit=5000)
    book.start(answer.data())
    answer_in_background(book.top)
    await asyncio.Event().wait()


asyncio.run(main())

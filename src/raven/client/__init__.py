"""The Python client: typed records from a Raven server, in twelve lines.

    import asyncio, raven

    async def main():
        async with raven.connect("localhost:50051") as feed:
            async for event in feed.subscribe(["BTCUSDT"], types=["trades", "orderbook"]):
                print(event)

    asyncio.run(main())

A lost connection is taken up again and shows as a `Reconnected` record; what a slow reader missed shows as a `Gap`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raven.client.blocking import BlockingFeed
from raven.client.blocking_subscription import BlockingSubscription
from raven.client.connection import Connection, Feed, connect
from raven.client.errors import RequestRefused, ServerUnreachable
from raven.client.live_book import BlockingLiveBook, LiveBook
from raven.client.records import Bar, Candle, Event, Funding, Gap, Level, OrderBook, Quote, Reconnected, Record, Trade
from raven.client.subscription import Subscription

if TYPE_CHECKING:
    from raven.client.tables import Batch

__all__ = [
    "Bar",
    "Batch",
    "BlockingFeed",
    "BlockingLiveBook",
    "BlockingSubscription",
    "Candle",
    "Connection",
    "Event",
    "Feed",
    "Funding",
    "Gap",
    "Level",
    "LiveBook",
    "OrderBook",
    "Quote",
    "Reconnected",
    "Record",
    "RequestRefused",
    "ServerUnreachable",
    "Subscription",
    "Trade",
    "connect",
]


def __getattr__(name: str) -> Any:
    # Arrow takes longer to load than all the rest, and only batches need it.
    if name == "Batch":
        from raven.client.tables import Batch  # noqa: PLC0415

        return Batch
    raise AttributeError(f"module 'raven.client' has no attribute {name!r}; it has: {', '.join(__all__)}")

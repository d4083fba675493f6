"""Know what you missed: every hole in the data is a record. `python examples/losses.py [host:port]`."""

import asyncio
import contextlib
import sys

import raven
from raven.client import Gap, OrderBook, Reconnected, Trade

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"


async def main() -> None:
    volume = 0.0
    async with raven.connect(ADDRESS) as feed:
        async for event in feed.subscribe(["BTCUSDT"], types=["trades", "orderbook"], depth=5):
            match event:
                case Trade():
                    volume += event.quantity
                    print(f"{event.side} {event.quantity:g} at {event.price}, {volume:g} traded so far")
                case OrderBook() if not event.is_trustworthy:
                    print(f"the book of {event.symbol} is {event.quality.name}: do not trade on it")
                case Gap():
                    print(f"{event.count or 'an unknown number of'} {event.data_type.name} lost: {event.reason}")
                case Reconnected():
                    print(f"blind for {event.downtime_s:.1f} s ({event.reason}); the volume above is too low")


with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the way to stop it
    asyncio.run(main())

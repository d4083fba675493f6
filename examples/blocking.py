"""The same without asyncio: watch the spread. `python examples/blocking.py [host:port]`."""

import contextlib
import sys

import raven
from raven.client import OrderBook

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"

with contextlib.suppress(KeyboardInterrupt), raven.connect(ADDRESS) as feed:
    # At most one state every 100 ms: a person cannot read faster, and the server skips the others for us.
    for event in feed.subscribe("BTCUSDT", types="orderbook", depth=1, conflate_ms=100):
        if isinstance(event, OrderBook) and event.spread is not None:
            print(f"{event.symbol} mid {event.mid:.2f} spread {event.spread:.2f}")

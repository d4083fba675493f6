"""Print books and trades as they happen: `python examples/live.py [host:port]`."""

import asyncio
import contextlib
import sys

import raven

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"


async def main() -> None:
    async with raven.connect(ADDRESS) as feed:
        async for event in feed.subscribe(["BTCUSDT"], types=["trades", "orderbook"]):
            print(event)


with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the way to stop it
    asyncio.run(main())

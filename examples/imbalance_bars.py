"""Trade on information, not on the clock: lean with the flow that ended a tick imbalance bar, until the next one.

    raven run binance_spot raven_tibs --symbols BTCUSDT
    python examples/imbalance_bars.py [host:port]

Toy rules, honest bookkeeping: a bar that lacks trades is not traded on, and a correction never changes what was done.
"""

import asyncio
import contextlib
import sys

import raven
from raven.client import Bar, Gap, Reconnected

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "localhost:50052"


async def main() -> None:
    position, entry, earned = 0, 0.0, 0.0
    async with raven.connect(ADDRESS) as feed:
        async for event in feed.subscribe(["BTCUSDT"], types=["tick_imbalance_bars"]):
            match event:
                case Bar() if event.revision:
                    print(f"corrected: {event}")
                case Bar() if not event.complete or event.warming_up:
                    print(f"watching only: {event}")
                case Bar():
                    earned += position * (event.close - entry)
                    position, entry = (1 if event.theta > 0 else -1), event.close
                    side = "long" if position > 0 else "short"
                    print(f"{side} at {entry}: {event.theta:+.0f} of {event.total_ticks} trades; earned {earned:+.1f}")
                case Gap() | Reconnected():
                    print(f"flat until the next whole bar: {event.reason}")
                    position = 0


with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the way to stop it
    asyncio.run(main())

"""Two sources that publish the same symbol to one Redis, as processes of their own."""

from __future__ import annotations

import pytest
from tests.pipeline import until
from tests.redis_scene import Subscriber
from tests.servers.redis import RedisServer, redis_server
from tests.system.services.conftest import Platform

__all__ = ["redis_server"]

pytestmark = pytest.mark.timeout(300)

CHANNELS = ("trades:BTCUSDT", "orderbook:BTCUSDT", "binance_spot:trades:BTCUSDT", "binance_spot:orderbook:BTCUSDT")


async def test_sources_with_the_same_configuration_never_share_a_channel(
    platform: Platform, redis_server: RedisServer
) -> None:
    platform.say(f'\n[redis]\nurl = "{redis_server.url}"\nvenue = "binance_futures"\n')
    subscriber = await Subscriber(redis_server, *CHANNELS).start()
    for name in ("binance_futures", "binance_spot"):
        platform.start(name, options=("--symbols", "BTCUSDT"))

    await until(lambda: all(len(heard) > 20 for heard in subscriber.heard.values()))
    await subscriber.stop()

    for channel in CHANNELS:
        # Two who number one channel would not keep this order.
        assert subscriber.missing(channel) >= 0
    futures, spot = ({event["trade_id"] for event in subscriber.heard[channel]} for channel in CHANNELS[::2])
    assert len(futures) == len(subscriber.heard[CHANNELS[0]]), "each trade once"
    assert len(spot) == len(subscriber.heard[CHANNELS[2]])

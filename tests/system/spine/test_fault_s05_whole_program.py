"""S5 for the whole server: Redis hangs, and neither the feed, nor its gRPC clients, nor `/ready` notice."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline import until
from tests.redis_scene import Subscriber
from tests.servers.redis import RedisServer, redis_server

import raven

pytestmark = [pytest.mark.fault("S5"), pytest.mark.timeout(180)]

__all__ = ["redis_server"]


async def asked(url: str) -> Any:
    """Return what an address answers; as JSON if it is."""

    def ask() -> Any:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith("{") else text

    return await asyncio.to_thread(ask)


async def is_redis(http: str, status: str) -> bool:
    components = (await asked(f"{http}/health"))["components"]
    return bool(components["redis"]["status"] == status)


async def dropped(http: str) -> float:
    """Return how many trades Redis did not get because they became too old."""
    lines = (await asked(f"{http}/metrics")).splitlines()
    wanted = ("raven_redis_lost_messages_total", 'symbol="BTCUSDT"', 'type="trade"', 'reason="dropped"')
    return sum(float(line.split()[-1]) for line in lines if all(part in line for part in wanted))


async def until_redis(http: str, status: str) -> None:
    async with asyncio.timeout(60):
        while not await is_redis(http, status):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_clients_of_grpc_have_every_trade_while_redis_hangs(
    program: Callable[..., Any], redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("URL", redis_server.url), ("LATEST", "true"), ("MAX_AGE_MS", "200")):
        monkeypatch.setenv(f"RAVEN__REDIS__{name}", value)
    monkeypatch.setenv("RAVEN__MONITORING__HEALTH_CHECK_INTERVAL", "100")
    with program("--demo") as server:
        subscriber = await Subscriber(redis_server, "trades:BTCUSDT", "orderbook:BTCUSDT").start()
        async with raven.connect(server.address) as feed:
            trades: list[Any] = []

            async def hear() -> None:
                async for event in feed.subscribe(["BTCUSDT"], types=["trades"]):
                    trades.append(event)

            hearing = asyncio.get_running_loop().create_task(hear())
            await until(lambda: len(trades) > 10 and all(len(heard) > 10 for heard in subscriber.heard.values()))
            await until_redis(server.http, "healthy")

            redis_server.suspend()
            await until_redis(server.http, "degraded")
            before = len(trades)
            await until(lambda: len(trades) > before + 20)
            assert (await asked(f"{server.http}/ready"))["status"] == "ready"
            health = await asked(f"{server.http}/health")
            async with asyncio.timeout(60):
                while not await dropped(server.http):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            redis_server.resume()
            await until_redis(server.http, "healthy")
            heard = len(subscriber.sequences())
            await until(lambda: len(subscriber.sequences()) > heard + 10)
            metrics = await asked(f"{server.http}/metrics")

            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
        await subscriber.stop()

    assert (health["status"], health["components"]["redis"]["reason"][:17]) == ("degraded", "redis://127.0.0.1")
    assert all(type(trade).__name__ == "Trade" for trade in trades), "no gap, no reconnect"
    assert [int(trade.trade_id) for trade in trades] == list(
        range(int(trades[0].trade_id), int(trades[0].trade_id) + len(trades))
    )
    assert subscriber.missing("trades:BTCUSDT") > 0, "Redis' own subscribers see what they missed"
    book = subscriber.heard["orderbook:BTCUSDT"][-1]
    assert list(book) == ["symbol", "bids", "asks", "last_update_id", "timestamp", "sequence"]
    assert book["bids"][0][0] < book["asks"][0][0]
    venue = 'venue="binance_futures"'
    assert f'redis_publishes_total{{symbol="BTCUSDT",type="trade",{venue}}}' in metrics
    assert f'redis_errors_total{{symbol="BTCUSDT",{venue}}}' in metrics

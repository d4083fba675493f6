"""A source that is killed again and again, and whoever hears it over the network (fault P1)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from itertools import pairwise

import pytest
from tests import pipeline
from tests.system.services.conftest import Platform

from raven._core import Record
from raven.links.grpc import GrpcLink
from raven.records import GapReason, GapWord, Kind
from raven.topics import DataType

SYMBOL, VENUE = "BTCUSDT", "binance_spot"


@pytest.mark.fault("P1")
async def test_a_link_survives_its_upstream_and_marks_every_hole(
    platform: Platform, chaos: bool, figure: Callable[[str, object], None]
) -> None:
    rounds = 20 if chaos else 3
    source = await asyncio.to_thread(platform.start, VENUE)
    link = GrpcLink(f"//127.0.0.1:{source.port}", name="test", ring_bytes=1 << 24)
    await link.start()
    reader = link.hub.reader(await link.acquire(VENUE, SYMBOL, DataType.TRADES))
    heard: list[Record] = []

    async def hear(count: int) -> None:
        wanted = len(heard) + count
        await pipeline.until(lambda: (heard.extend(reader.drain(100_000)), len(heard) >= wanted)[1])

    await hear(20)
    for _ in range(rounds):
        await asyncio.to_thread(source.end, signal.SIGKILL)
        await pipeline.until(lambda: not link.status().connected)
        source = await asyncio.to_thread(platform.start, VENUE)
        await hear(20)
        assert (link.status().connected, link.status().trouble) == (True, "")

    await link.release(VENUE, SYMBOL, DataType.TRADES)
    await pipeline.until(lambda: platform.market()["streams"] == 0)
    assert platform.market()["ws"]["unsubscribe"] >= 1, "the exchange is told that nobody listens"
    await link.stop()

    trades = [record.id for record in heard if record.kind == Kind.TRADE]
    assert all(one < other for one, other in pairwise(trades)), "in order, none twice"
    unmarked = [
        (one.id, other.id)
        for one, other in pairwise(heard)
        if one.kind == other.kind == Kind.TRADE and other.id != one.id + 1
    ]
    assert unmarked == [], "a hole without a mark"
    lives = [
        record for record in heard if record.kind == Kind.GAP and record.body[GapWord.REASON] == GapReason.UPSTREAM
    ]
    assert len(lives) >= rounds
    figure("upstream killed", rounds)
    figure("trades heard", len(trades))

"""What was started by hand goes on after `kill -9`, and after a stop, until somebody stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from raven.exchange import Exchange, ExchangeConfig
from raven.proto import control_pb2 as wire
from raven.proto.control_pb2_grpc import ControlStub, MarketDataStub

pytestmark = pytest.mark.fault("P1")


async def live(stub: Any) -> set[str]:
    rows = (await stub.ListCollections(wire.ListRequest())).collections
    return {row.symbol for row in rows if row.status == "live"}


async def until_live(stub: Any, symbols: set[str]) -> None:
    for _ in range(1000):
        if (seen := await live(stub)) == symbols:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"live are {seen}, not {symbols}")


async def test_what_was_started_is_collected_again_however_the_server_ended(
    program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ExchangeConfig(markets=("spot",), symbols=("BTCUSDT", "XRPUSDT"), rate=600, levels=150)
    monkeypatch.setenv("RAVEN__FEEDS__STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RAVEN__FEEDS__SYMBOLS", "BTCUSDT")
    async with Exchange(config) as exchange:
        monkeypatch.setenv("RAVEN__VENUES__BINANCE_SPOT__WS_URL", exchange.market("spot").ws_url)
        monkeypatch.setenv("RAVEN__VENUES__BINANCE_SPOT__REST_URL", exchange.market("spot").rest_url)
        for number in (signal.SIGKILL, signal.SIGTERM, None):
            raven = program("--venue", "binance_spot")
            await asyncio.to_thread(raven.__enter__)
            try:
                async with grpc.aio.insecure_channel(raven.address) as channel:
                    control = ControlStub(channel)
                    if number is signal.SIGKILL:
                        await until_live(control, {"BTCUSDT"})
                        await control.StartCollection(wire.ControlRequest(symbol="XRPUSDT"))
                    await until_live(control, {"BTCUSDT", "XRPUSDT"})
                    request = wire.MarketDataRequest(symbol="XRPUSDT", data_type=wire.STREAM_KIND_TRADE)
                    message = await MarketDataStub(channel).Subscribe(request).read()
                    assert message.trade.symbol == "XRPUSDT"
                    if number is None:
                        await control.StopAllCollections(wire.StopAllRequest())
                if number is not None:
                    await asyncio.to_thread(raven.end, number)
            finally:
                await asyncio.to_thread(raven.__exit__, None, None, None)

    assert (tmp_path / "state" / "started.json").read_bytes() == b"[]"

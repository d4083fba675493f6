"""Every example runs against a server and prints what it promises."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raven._core import LiveBars
from raven.bars import bar_spec
from raven.topics import DataType

if TYPE_CHECKING:
    from tests.integration.grpc_face.conftest import Scene

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("example", "prints"),
    [
        ("live.py", "Trade(BTCUSDT "),
        ("losses.py", "buy 0.25 at 61000.5"),
        ("plain_grpc.py", "trade "),
    ],
)
async def test_an_example_prints_what_it_promises(scene: Scene, example: str, prints: str) -> None:
    def publish() -> None:
        for trade_id in range(1, 4):
            scene.market.trade("BTCUSDT", trade_id)

    assert prints in await output_of(example, scene, DataType.TRADES, publish, until=prints)


async def test_the_example_of_bars_trades_on_those_that_it_may(scene: Scene) -> None:
    hub, writer = scene.market.hub, scene.market.writer("BTCUSDT")
    # With weights of 1 the first bar has taught the rule all that there is to know.
    spec = bar_spec("tick_imbalance", initial_size=4, alpha_size=1.0, alpha_imbl=1.0)
    bars = LiveBars(spec, hub, hub)
    bars.add(writer.topic_id)

    def publish() -> None:
        now_ms = time.time_ns() // 1_000_000
        for number, trade_id in enumerate([1, 2, 3, 4, *range(8, 21)]):
            at_ns = (now_ms + number) * 1_000_000
            tenths = 610_000 + 10 * number
            writer.trade(at_ns, at_ns, trade_id, tenths, 25, price_scale=1, quantity_scale=2, taker_sells=number > 7)
        bars.step(now_ms, 100)

    output = await output_of("imbalance_bars.py", scene, DataType.TICK_IMBALANCE_BARS, publish, until="short at")

    lines = output.splitlines()
    assert lines[0].startswith("long at 61002.0: +3 of 3 trades; earned +0.0")
    assert any(line.startswith("watching only: Bar(BTCUSDT tick_imbalance_4") for line in lines), "three are missing"
    assert lines[-1].startswith("short at ")


async def output_of(example: str, scene: Scene, data_type: DataType, publish: Callable[[], None], *, until: str) -> str:
    """Run an example, publish once it has subscribed, and return what it printed until a text came."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src"), "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROJECT / "examples" / example),
        scene.address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    assert process.stdout is not None
    output = ""
    try:
        await scene.subscribed("BTCUSDT", data_type=data_type)
        publish()
        while until not in output:
            line = await asyncio.wait_for(process.stdout.readline(), 10)
            output += line.decode()
            if not line:
                break
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return output

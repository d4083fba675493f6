"""Every example runs against a server and prints what it promises."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
        await scene.subscribed("BTCUSDT")
        for trade_id in range(1, 4):
            scene.market.trade("BTCUSDT", trade_id)
        while prints not in output:
            line = await asyncio.wait_for(process.stdout.readline(), 10)
            output += line.decode()
            if not line:
                break
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()

    assert prints in output

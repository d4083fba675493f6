"""The exchange in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import aiohttp
import pytest

from raven.exchange.process import ExchangeEndedError, ExchangeProcess, ExchangeStartError

SOURCE = Path(__file__).resolve().parents[2] / "src"


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as response:
        body: dict[str, object] = json.loads(response.read())
        return body


def test_it_says_where_it_is_and_ends_with_its_owner():
    with ExchangeProcess(("--markets", "usdm,spot", "--symbols", "BTCUSDT", "--rate", "50")) as child:
        pid = child.pid
        assert get(child.urls["usdm"]["rest"] + "/fapi/v1/ping") == {}
        assert get(child.urls["spot"]["rest"] + "/api/v3/ping") == {}
        assert child.ready["symbols"] == {"usdm": ["BTCUSDT"], "spot": ["BTCUSDT"]}

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_mistake_is_told_in_the_error():
    with pytest.raises(ExchangeStartError, match="market 'nyse' is not one of"):
        ExchangeProcess(("--markets", "nyse")).start()


def test_it_stops_on_sigterm_with_exit_code_0():
    command = [sys.executable, "-m", "raven.exchange", "--symbols", "BTCUSDT"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SOURCE)})
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["ready"]

    child.send_signal(signal.SIGTERM)

    assert child.wait(10) == 0
    child.stdout.close()


@pytest.mark.recordings
def test_it_replays_recordings(recordings):
    file = recordings / "venues" / "binance_usdm_4sym.gz"
    with ExchangeProcess(("--markets", "usdm", "--replay", str(file), "--speed", "max")) as child:
        assert "SUSHIUSDT" in child.ready["symbols"]["usdm"]


async def test_faults_reach_connections_of_the_child():
    with ExchangeProcess(("--symbols", "BTCUSDT", "--turn", "1")) as child:
        urls = child.urls["usdm"]
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(urls["ws"] + "/public/ws/btcusdt@bookTicker")
            assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT

            fault = {"kind": "disconnect", "code": 1012}
            async with session.post(urls["rest"] + "/_raven/faults", json=fault) as answer:
                assert answer.status == 200

            async with asyncio.timeout(10):
                while not socket.closed:
                    await socket.receive()
            assert socket.close_code == 1012


def test_a_child_that_dies_before_the_recordings_end_is_told_and_one_that_is_stopped_is_not(tmp_path: Path):
    recording = tmp_path / "recording.txt"
    line = '{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1,"s":"BTCUSDT","a":1,"p":"1.0","q":"1","T":1}}'
    recording.write_text(f"1700000000000000000 {line}\n1700009000000000000 {line}\n")
    arguments = ("--markets", "usdm", "--replay", str(recording), "--speed", "1")

    with ExchangeProcess(arguments) as child:
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ExchangeEndedError, match="by signal 9 before the recording's end"):
            child.replay_finished.result(timeout=20)
    with ExchangeProcess(arguments) as stopped:
        pass

    assert not stopped.replay_finished.done()

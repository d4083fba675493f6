"""The exchange in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from raven.exchange.process import ExchangeProcess, ExchangeStartError

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

"""P6 for the whole server: neither venue nor database is there when it starts. They come, in any order."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.servers.postgres import PostgresServer, folder_for_postgres, skip_without_postgres
from tests.servers.process import free_port

from raven.exchange.process import ExchangeProcess
from raven.journal.cursors import load_cursor

pytestmark = [pytest.mark.fault("P6"), pytest.mark.timeout(180)]


def ask(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


def until(holds: Callable[[], Any], what: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@pytest.mark.parametrize("first", ["venue", "database"])
def test_it_starts_alone_says_what_it_waits_for_and_takes_up_each_as_it_comes(
    program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    skip_without_postgres()
    # The exchange takes the port after it for REST.
    port = free_port()
    monkeypatch.setenv("RAVEN__VENUES__BINANCE_FUTURES__WS_URL", f"ws://127.0.0.1:{port}")
    monkeypatch.setenv("RAVEN__VENUES__BINANCE_FUTURES__REST_URL", f"http://127.0.0.1:{port + 1}")
    monkeypatch.setenv("RAVEN__FEEDS__SYMBOLS", "BTCUSDT")
    monkeypatch.setenv("RAVEN__FEEDS__MAX_RECONNECT_DELAY_MS", "1000")
    monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(tmp_path / "journal"))
    monkeypatch.setenv("RAVEN__SINKS__DEAD_LETTERS", str(tmp_path / "letters.sqlite"))
    monkeypatch.setenv("RAVEN__MONITORING__HEALTH_CHECK_INTERVAL", "100")
    with folder_for_postgres() as folder:
        database = PostgresServer(folder)
        monkeypatch.setenv("RAVEN__TIMESCALE__URL", database.url)
        venue = ExchangeProcess(("--markets", "usdm", "--symbols", "BTCUSDT", "--rate", "500", "--port", str(port)))
        try:
            with program() as server:
                ready, health = f"{server.http}/ready", f"{server.http}/health"
                assert ask(ready)["status"] == "not_ready", "there is no book"
                assert ask(health)["status"] in ("healthy", "degraded"), "a restart would not help"

                (venue if first == "venue" else database).start()
                if first == "venue":
                    until(lambda: ask(ready)["status"] == "ready", lambda: ask(ready))
                (database if first == "venue" else venue).start()

                until(lambda: ask(ready)["status"] == "ready", lambda: ask(ready))
                until(lambda: load_cursor(tmp_path / "journal", "timescale").rows > 100, lambda: ask(health))
                until(lambda: ask(health)["status"] == "healthy", lambda: ask(health))
                assert database.count("trades") > 0
                assert server.end(signal.SIGTERM) == 0
        finally:
            venue.stop()
            database.stop()

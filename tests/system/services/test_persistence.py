"""Persistence: what it hears is in its journal and, where there is one, in its database."""

from __future__ import annotations

import signal

import pyarrow.compute as pc
import pytest
from tests.journals import journal_tables
from tests.servers.influx import InfluxServer
from tests.system.services.conftest import Platform, until

pytestmark = pytest.mark.timeout(300)
TRADES = ("binance_spot", "BTCUSDT", "TRADES", "TRADE")


def test_trades_go_from_a_source_in_the_same_process_into_a_real_influxdb(
    platform: Platform, influx_server: InfluxServer
) -> None:
    influx_server.query('CREATE DATABASE "market_data"')
    platform.say(f'[influx]\nurl = "{influx_server.url}"\n')
    ticks = platform.start("binance_spot", "tick_persistence")

    platform.ctl("start", "--symbol", "BTCUSDT", "--service", "tick_persistence")
    until(lambda: ticks.is_ready() and influx_server.count("trades") > 100, "trades are in the database")
    platform.ctl("stop", "--symbol", "BTCUSDT", "--service", "tick_persistence")
    until(lambda: ticks.collections() == {}, "nothing more comes")
    until(lambda: influx_server.count("trades") == ticks.status()["events"], "the database has all of it")
    assert ticks.status()["upstream"]["address"] == "local:binance_spot"
    assert ticks.end() == 0

    tables = journal_tables(platform.folder / "journal-tick_persistence")
    ids = tables[TRADES]["id"].to_pylist()
    assert {key[2] for key in tables} == {"TRADES"}, "only what it was asked for"
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) == influx_server.count("trades")
    assert ticks.said() == []


def test_without_a_database_it_keeps_a_journal_and_says_so(platform: Platform) -> None:
    platform.start("binance_spot", "tick_persistence")
    ticks = platform.running["tick_persistence"]

    assert ticks.collections() == {}
    assert platform.ctl("start", "--symbol", "BTCUSDT", "--service", "tick_persistence")[0] == 0
    until(lambda: ticks.status()["events"] > 50, "it keeps trades")
    assert "influx.url or questdb.url is not set" in ticks.status()["components"]["database"]["reason"]
    assert platform.ctl("stop", "--symbol", "BTCUSDT", "--service", "tick_persistence")[0] == 0
    until(lambda: not platform.market()["streams"], "the exchange is asked for nothing")
    assert ticks.end(signal.SIGINT) == 0

    trades = journal_tables(platform.folder / "journal-tick_persistence")[TRADES]
    assert pc.min(trades["quantity"]).as_py() > 0

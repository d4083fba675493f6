"""Sources as processes of their own, steered with `ravenctl`."""

from __future__ import annotations

import json
import signal

import pytest
from tests.system.services.conftest import Platform, until

pytestmark = pytest.mark.timeout(300)


def test_a_source_collects_nothing_until_it_is_asked_and_lets_go_when_it_is_stopped(platform: Platform) -> None:
    spot = platform.start("binance_spot")
    until(spot.is_ready, "an idle source is ready")
    idle = platform.market()["streams"]

    began = platform.ctl("start", "--symbol", "BTCUSDT", "--service", "binance_spot")
    until(lambda: spot.collections() == {"BTCUSDT": "live"}, "collected")
    stopped = platform.ctl("stop", "--symbol", "BTCUSDT")
    until(lambda: not platform.market()["streams"], "the exchange is asked for nothing")

    assert idle == 0
    assert began == (0, "binance_spot: collecting TRADES, ORDERBOOK of BTCUSDT from binance_spot\n")
    assert stopped[0] == 0
    assert platform.market()["ws"]["unsubscribe"] >= 1
    assert spot.end() == 0
    assert spot.said() == []


def test_both_sources_and_what_people_see_of_them(platform: Platform) -> None:
    platform.start("binance_spot", options=("--symbols", "BTCUSDT"))
    platform.start("binance_futures", options=("--symbols", "BTCUSDT,ETHUSDT"))

    until(lambda: platform.ctl("status")[0] == 0, "both are well")
    listed = json.loads(platform.ctl("list", "--json")[1])
    rows = {row["service"]: row for row in json.loads(platform.ctl("status", "--json")[1])}
    graph = json.loads(platform.ctl("graph", "--json")[1])

    assert sorted((row["service"], row["symbol"]) for row in listed) == [
        ("binance_futures", "BTCUSDT"), ("binance_futures", "ETHUSDT"), ("binance_spot", "BTCUSDT"),
    ]  # fmt: skip
    assert (rows["binance_futures"]["symbols"], rows["raven_timebar"]["status"]) == (2, "down")
    assert ["binance_spot", "raven_timebar"] in graph["edges"]


@pytest.mark.fault("P1")
def test_a_source_that_was_killed_and_comes_back_collects_what_its_configuration_says(platform: Platform) -> None:
    spot = platform.start("binance_spot", options=("--symbols", "ETHUSDT"))
    until(lambda: spot.collections() == {"ETHUSDT": "live"}, "collected")

    spot.end(signal.SIGKILL)
    code, said = platform.ctl("list", "--service", "binance_spot")
    again = platform.start("binance_spot", options=("--symbols", "ETHUSDT"))

    assert code == 1
    assert "start it with `binance_spot`" in said
    until(lambda: again.collections() == {"ETHUSDT": "live"}, "collected again")


def test_two_services_in_one_process_have_their_own_ports(platform: Platform) -> None:
    platform.start("binance_spot", "binance_futures")

    code, out = platform.ctl("status")

    assert code == 0
    assert platform.running["binance_spot"].process is platform.running["binance_futures"].process
    for name in ("binance_spot", "binance_futures"):
        assert f"127.0.0.1:{platform.ports[name]}" in out
        assert platform.running[name].status()["service"] == name

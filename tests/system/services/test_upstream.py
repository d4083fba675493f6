"""Services that hear another one: it goes away and comes back, it is the wrong one, or there are two of us."""

from __future__ import annotations

import signal
from itertools import pairwise

import pyarrow as pa
import pytest
from tests.journals import journal_tables
from tests.system.services.conftest import Platform, until

pytestmark = pytest.mark.timeout(300)
KEPT = ("binance_spot", "BTCUSDT", "TRADES")


@pytest.mark.fault("P1")
def test_a_lost_upstream_is_said_in_ready_and_taken_up_again(platform: Platform) -> None:
    ticks = platform.start("tick_persistence", options=("--symbols", "BTCUSDT"))
    first_said = ticks.not_ready()
    spot = platform.start("binance_spot")
    until(lambda: ticks.is_ready() and ticks.status()["events"] > 50, "it hears trades")

    spot.end(signal.SIGKILL)
    until(lambda: not ticks.is_ready(), "it says that its upstream is gone")
    then_said, code, shown = ticks.not_ready(), *platform.ctl("status")
    platform.start("binance_spot")
    until(ticks.is_ready, "it hears it again")
    heard = ticks.status()["events"]
    until(lambda: ticks.status()["events"] > heard + 50, "trades come again")
    assert ticks.end() == 0

    assert "start it with `binance_spot`" in first_said["upstream"]
    assert "start it with `binance_spot`" in then_said["upstream"]
    assert (code, "tick_persistence: upstream: " in shown) == (1, True)
    assert_in_order_or_marked(journal_tables(platform.folder / "journal-tick_persistence"))


def assert_in_order_or_marked(kept: dict[tuple[str, str, str, str], pa.Table]) -> None:
    """Every trade once and in order; where ids are missing, a gap record says so."""
    ids = kept[*KEPT, "TRADE"]["id"].to_pylist()
    holes = [(before, after) for before, after in pairwise(ids) if after != before + 1]
    assert ids == sorted(set(ids))
    assert len(holes) <= 1
    assert len(holes) <= len(kept.get((*KEPT, "GAP"), ()))


def test_an_upstream_that_has_no_such_data_is_named_with_what_it_said(platform: Platform) -> None:
    spot = platform.start("binance_spot")
    wrong = ("--symbols", "BTCUSDT", "--types", "time_bars", "--upstream", f"grpc://127.0.0.1:{spot.port}")
    bars = platform.start("bar_persistence", options=wrong)

    until(lambda: "TIME_BARS" in bars.not_ready().get("upstream", ""), "it says what the upstream refuses")
    code, said = platform.ctl("start", "--symbol", "NOPE", "--service", "bar_persistence")

    assert (code, "has no symbol 'NOPE'" in said) == (1, True)
    assert bars.status()["upstream"]["connected"]


def test_an_upstream_that_speaks_no_grpc_is_no_reason_to_end(platform: Platform) -> None:
    address = platform.exchange.urls["spot"]["rest"].replace("http://", "grpc://")
    ticks = platform.start("tick_persistence", options=("--symbols", "BTCUSDT", "--upstream", address))

    until(lambda: "cannot be heard (" in ticks.not_ready().get("upstream", ""), "it says so")

    assert platform.ctl("list", "--service", "tick_persistence")[0] == 0
    assert ticks.end() == 0


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        pytest.param("binance_futures", ("--port", "{port}", "--monitoring-port", "0"), "server.port_binance_futures",
                     id="a gRPC port that is taken"),
        pytest.param("binance_futures", ("--port", "0", "--monitoring-port", "{http}"), "--monitoring-port",
                     id="a monitoring port that is taken"),
        pytest.param("binance_spot", ("--port", "0"), "RAVEN__FEEDS__STATE_DIR", id="a state folder that is taken"),
    ],
)  # fmt: skip
def test_what_another_service_has_is_named_with_the_setting_that_helps(
    platform: Platform, name: str, options: tuple[str, ...], said: str
) -> None:
    platform.say_in("feeds", f'state_dir = "{platform.folder}/state"')
    spot = platform.start("binance_spot")

    where = {"port": spot.port, "http": spot.port + 1000}
    done = platform.run(name, *(one.format(**where) for one in options))

    assert done.returncode == 2, done.stdout
    assert said in done.stdout.splitlines()[-1]
    assert spot.is_ready()


def test_a_journal_is_written_by_one_service_only(platform: Platform) -> None:
    first = platform.start("tick_persistence")

    done = platform.run("tick_persistence", "--port", "0")

    assert done.returncode == 2
    assert f"is written by another process (pid {first.process.pid})" in done.stdout

"""What `ravenctl` does with services, and what it tells people and scripts."""

from __future__ import annotations

import json

import pytest
from tests.unit.ctl.conftest import Platform

from raven.app.services import SERVICES, port_path
from raven.errors import ConfigurationError

# --- status ---------------------------------------------------------------------------------------------------------


def test_status_shows_who_runs_and_how_to_start_who_does_not(platform: Platform) -> None:
    spot = platform.add("binance_spot", has={"BTCUSDT": "live", "ETHUSDT": "live"})

    code, out = platform.run("status")

    (row,) = [line.split() for line in out.splitlines() if line.split()[:2] == ["binance_spot", "source"]]
    assert code == 0
    assert row == f"binance_spot source 127.0.0.1:{spot.port} healthy 2 0 250 ms".split()
    assert "no service on 127.0.0.1:1: start it with `raven_timebar`" in out
    assert "`raven`" not in out


def test_versions_are_told_when_they_differ(platform: Platform) -> None:
    platform.add("binance_spot")
    same = platform.run("status")[1]
    platform.add("raven_timebar", status={"version": "8.8.8"})

    other = platform.run("status")[1]

    assert "9.9.9" not in same
    assert "8.8.8" in other
    assert "9.9.9" in other


def test_tables_of_the_six_services_fit_a_terminal(platform: Platform) -> None:
    topics = [f"binance_spot.{symbol}.CANDLES_1M" for symbol in ("BTCUSDT", "ETHUSDT", "XRPUSDT")]
    stream = {"peer": "10.0.0.17:40668", "topics": topics, "sent": 12345, "lost": 99, "lag": 0}
    clients = [{"client_id": "tick_persistence-2f95544b", "standing": [], "streams": [stream]}]
    for name in list(SERVICES)[1:]:
        platform.add(name, status={"clients": clients, "lag_seconds": 12.3, "upstream": {"service": "raven_timebar"}})

    lines = [
        line.rstrip()
        for command in ("status", "clients", "top", "list")
        for line in platform.run(command)[1].splitlines()
    ]

    assert max(len(line) for line in lines) <= 100


def test_a_port_that_another_service_has_is_not_asked(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    server = platform.add("raven")
    monkeypatch.setenv("RAVEN__SERVER__PORT_TIMEBAR", str(server.port))

    code, said = platform.run("start", "--symbol", "BTCUSDT", "--service", "timebar")
    asked_by_its_name = platform.run("start", "--symbol", "BTCUSDT", "--service", "raven")

    assert (code, server.told) == (1, [("start", "BTCUSDT  0")])
    assert f"127.0.0.1:{server.port} is raven, not raven_timebar" in said
    assert asked_by_its_name[0] == 0


def test_status_is_a_failure_when_a_service_is_not_well(platform: Platform) -> None:
    platform.add("binance_spot", status={"ready": {"books": "1 of 2 books are not in sync"}})

    code, out = platform.run("status")

    assert code == 1
    assert "not ready" in out
    assert "binance_spot: books: 1 of 2 books are not in sync" in out


def test_status_is_a_failure_when_nobody_runs(platform: Platform) -> None:
    code, out = platform.run("status")

    assert code == 1
    assert out.count("start it with") == len(SERVICES)


def test_status_of_one_service_is_a_failure_when_it_does_not_run(platform: Platform) -> None:
    platform.add("binance_spot")

    assert platform.run("status", "--service", "binance_spot")[0] == 0
    assert platform.run("status", "--service", "timebar")[0] == 1


def test_the_services_are_not_missed_while_the_whole_server_runs(platform: Platform) -> None:
    platform.add("raven", has={"BTCUSDT": "live"})

    code, out = platform.run("status")

    assert code == 0
    assert "binance_spot" not in out


def test_status_is_a_document_for_scripts(platform: Platform) -> None:
    platform.add("raven_timebar", status={"upstream": {"service": "binance_futures", "address": "grpc://h:1"}})

    rows = {row["service"]: row for row in json.loads(platform.run("--json", "status")[1])}

    assert set(rows) == set(SERVICES)
    assert (rows["raven_timebar"]["status"], rows["raven_timebar"]["upstream"]) == ("healthy", "binance_futures")
    assert (rows["raven_tibs"]["status"], rows["raven_tibs"]["upstream"]) == ("down", "binance_spot")


# --- start, stop, list, plan ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["timebar", "raven_timebar"])
def test_start_asks_a_service_by_either_name(platform: Platform, name: str) -> None:
    bars = platform.add("raven_timebar")

    code, out = platform.run("start", "--symbol", "BTCUSDT,ETHUSDT", "--service", name, "--venue", "binance_spot")

    assert (code, out) == (0, "raven_timebar: collecting BTCUSDT\nraven_timebar: collecting ETHUSDT\n")
    assert bars.told == [("start", "BTCUSDT binance_spot 0"), ("start", "ETHUSDT binance_spot 0")]


def test_start_says_that_a_service_waits_for_the_one_it_hears(platform: Platform) -> None:
    platform.add("raven_timebar", status={"upstream": {"address": "grpc://h:1", "trouble": "h:1 does not answer"}})

    code, out = platform.run("start", "--symbol", "BTCUSDT", "--service", "timebar")

    assert code == 0
    assert "it waits for its upstream: h:1 does not answer" in out


def test_a_service_that_does_not_run_is_named_with_its_program(platform: Platform) -> None:
    code, out = platform.run("start", "--symbol", "BTCUSDT", "--service", "binance_spot")

    assert (code, out) == (1, "error: no service on 127.0.0.1:1: start it with `binance_spot`\n")


def test_what_a_service_refuses_is_told_in_its_words(platform: Platform) -> None:
    platform.add("binance_spot")

    code, out = platform.run("start", "--symbol", "NOPE", "--service", "binance_spot")

    assert (code, out) == (1, "error: binance_spot: there is no NOPE\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start", "--symbol", "BTCUSDT", "--service", "timbar"], "did you mean raven_timebar?"),
        (["start", "--service", "timebar"], "Missing option '--symbol'"),
        (["start", "--symbol", "A", "--service", "timebar", "--kind", "x"], "'x' is not one of"),
    ],
)
def test_wrong_options_end_with_code_2(platform: Platform, arguments: list[str], message: str) -> None:
    code, out = platform.run(*arguments)

    assert code == 2
    assert message in out


def test_start_wants_to_know_where(platform: Platform) -> None:
    with pytest.raises(ConfigurationError, match="which service"):
        platform.run("start", "--symbol", "BTCUSDT")


def test_stop_goes_wherever_it_was_started(platform: Platform) -> None:
    spot, bars = platform.add("binance_spot"), platform.add("raven_timebar", has={"BTCUSDT": "live"})

    code, out = platform.run("stop", "--symbol", "BTCUSDT")

    assert (code, out) == (0, "raven_timebar: stopped BTCUSDT\n")
    assert spot.told == [("stop", "BTCUSDT")]
    assert bars.told == [("stop", "BTCUSDT")]


def test_stop_fails_when_it_was_started_nowhere(platform: Platform) -> None:
    platform.add("binance_spot")
    platform.add("raven_timebar")

    code, out = platform.run("stop", "--symbol", "XRPUSDT")

    assert (code, out) == (1, "error: raven_timebar, binance_spot: XRPUSDT is not collected\n")


def test_stop_at_one_service_leaves_the_others_alone(platform: Platform) -> None:
    spot = platform.add("binance_spot", has={"BTCUSDT": "live"})
    bars = platform.add("raven_timebar", has={"BTCUSDT": "live"})

    assert platform.run("stop", "--symbol", "BTCUSDT", "--service", "timebar")[0] == 0
    assert (spot.told, bars.told) == ([], [("stop", "BTCUSDT")])


def test_stop_all_stops_those_who_hear_before_those_who_are_heard(platform: Platform) -> None:
    platform.add("binance_spot")
    platform.add("raven_timebar")

    code, out = platform.run("stop-all")

    assert (code, out) == (0, "raven_timebar: stopped all\nbinance_spot: stopped all\n")


def test_list_shows_what_is_collected_everywhere(platform: Platform) -> None:
    platform.add("binance_spot", has={"BTCUSDT": "live"})
    platform.add("raven_tibs", has={"BTCUSDT": "waiting"})

    rows = [line.split() for line in platform.run("list")[1].splitlines() if "BTCUSDT" in line]

    assert rows == [
        ["binance_spot", "binance_spot", "BTCUSDT", "trades", "live", "2"],
        ["raven_tibs", "binance_spot", "BTCUSDT", "trades", "waiting", "2"],
    ]


def test_a_service_whose_grpc_port_alone_was_moved_is_found(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    raven = platform.add("raven", has={"BTCUSDT": "live"})
    monkeypatch.setenv("RAVEN__" + port_path(SERVICES["raven"]).upper().replace(".", "__"), "1")

    code, out = platform.run("status", "--port", str(raven.port), "--json")

    assert code == 0
    assert [(row["service"], row["status"], row["symbols"]) for row in json.loads(out)] == [("raven", "healthy", 1)]


def test_list_can_be_asked_of_a_port(platform: Platform) -> None:
    tibs = platform.add("raven_tibs", has={"BTCUSDT": "live"})

    (row,) = json.loads(platform.run("list", "--port", str(tibs.port), "--json")[1])

    assert (row["service"], row["symbol"], row["types"]) == ("raven_tibs", "BTCUSDT", ["TRADES"])


def test_plan_says_what_would_happen_and_does_nothing(platform: Platform) -> None:
    bars = platform.add("raven_timebar")

    code, out = platform.run("plan", "--symbol", "btcusdt", "--service", "timebar")

    lines = out.splitlines()
    assert code == 1
    assert lines[0].startswith(f"1. raven_timebar (127.0.0.1:{bars.port}, up) makes bars of BTCUSDT")
    assert lines[1].startswith("2. binance_spot (127.0.0.1:1, down) collects trades of BTCUSDT, because raven_timebar")
    assert lines[2] == "   does not run: start it with `binance_spot`"
    assert bars.told == []


# --- graph, clients, top --------------------------------------------------------------------------------------------


def test_the_graph_goes_from_the_exchange_to_clients_and_databases(platform: Platform) -> None:
    platform.settings = '[influx]\nurl = "http://h:8086"\n'
    platform.add("binance_spot", has={"BTCUSDT": "live"})
    clients = [{"client_id": name, "standing": [], "streams": []} for name in ("desk", "bar_persistence-1f2e3d4c")]
    platform.add("raven_timebar", status={"clients": clients})

    made = json.loads(platform.run("graph", "--json")[1])
    tree, dot = platform.run("graph")[1], platform.run("graph", "--dot")[1]

    edges = {tuple(edge) for edge in made["edges"]}
    assert {
        ("exchange binance_spot", "binance_spot"), ("binance_spot", "raven_timebar"),
        ("raven_timebar", "clients of raven_timebar"), ("tick_persistence", "influx"),
    } <= edges  # fmt: skip
    assert tree.index("exchange of binance_spot") < tree.index("raven_timebar") < tree.index("1 client")
    assert "raven_tibs (127.0.0.1:1) (down)" in tree
    assert '"binance_spot" -> "raven_timebar";' in dot
    assert dot.startswith("digraph raven {")


def test_clients_are_shown_with_their_losses(platform: Platform) -> None:
    stream = {"peer": "10.0.0.7:4", "topics": ["binance_spot.BTCUSDT.TRADES"], "sent": 1234, "lost": 5, "lag": 6}
    platform.add("binance_spot", status={"clients": [{"client_id": "desk", "standing": [], "streams": [stream]}]})

    (row,) = [line.split() for line in platform.run("clients")[1].splitlines() if "desk" in line]

    assert row == "binance_spot desk 10.0.0.7 BTCUSDT.TRADES 1,234 6 5".split()


def test_nobody_subscribed_is_said(platform: Platform) -> None:
    platform.add("binance_spot")

    assert platform.run("clients") == (0, "nobody is subscribed\n")


def test_top_without_a_terminal_is_one_look_with_rates(platform: Platform) -> None:
    platform.add("binance_spot", has={"BTCUSDT": "live"})

    code, out = platform.run("top", "--interval", "0.2")

    (row,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["binance_spot"]]
    assert code == 0
    assert row == "binance_spot healthy 1 0 250 ms 0 0 0".split()
    assert "not running: binance_futures, raven_timebar" in out


@pytest.mark.parametrize("command", "status list start stop stop-all plan graph top clients".split())
def test_every_command_has_help_with_examples(platform: Platform, command: str) -> None:
    code, out = platform.run(command, "--help")

    assert code == 0
    assert f"ravenctl {command}" in out
    assert "Examples:" in out

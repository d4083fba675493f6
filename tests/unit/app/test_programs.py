"""The programs that are one service each: their options are settings, and mistakes end with a way out."""

from __future__ import annotations

import sys
import tomllib
import types
from pathlib import Path

import pytest

from raven import __version__
from raven.app import cli, programs
from raven.app.services import SERVICES, Role, Service
from raven.config import Settings

PROMISED = "--config --host --port --monitoring-port --log-level --upstream --venue --symbols --version --help".split()
OF_ITS_OWN = {
    "raven_timebar": ["--seconds"],
    "raven_tibs": "--initial-size --initial-p-buy --alpha-size --alpha-imbl --size-min --size-max --rule".split(),
}
ALONE = [name for name, service in SERVICES.items() if service.role is not Role.SERVER]


class Ran:
    """Stands for `raven.app.compose`: remembers what it was asked to run."""

    def __init__(self) -> None:
        self.services: dict[str, Settings] = {}

    def run_services(self, services: list[tuple[Service, Settings]]) -> int:
        self.services = {service.name: settings for service, settings in services}
        return 0


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ran:
    ran = Ran()
    module = types.ModuleType("raven.app.compose")
    module.run_services = ran.run_services  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "raven.app.compose", module)
    monkeypatch.setattr(programs, "exit_soon", lambda code: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return ran


def call(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str) -> int:
    """Call a program with the words of a command line; `raven run` is one of them."""
    monkeypatch.setattr(sys, "argv", [*program.split(), *arguments])
    with pytest.raises(SystemExit) as exit_:
        (cli.main if program == "raven run" else getattr(programs, program))()
    return int(exit_.value.code or 0)


def test_every_service_is_a_console_script() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())["project"]

    assert {name: project["scripts"][name] for name in ALONE} == {name: f"raven.app.programs:{name}" for name in ALONE}


@pytest.mark.parametrize("name", ALONE)
def test_every_promised_option_is_in_the_help(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code = call(monkeypatch, name, "--help")

    out = capsys.readouterr().out
    assert code == 0
    assert [option for option in [*PROMISED, *OF_ITS_OWN.get(name, [])] if option not in out] == []
    assert "Examples:" in out


@pytest.mark.parametrize("name", ALONE)
def test_a_service_says_its_name_and_version(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert call(monkeypatch, name, "--version") == 0
    assert capsys.readouterr().out == f"{name} {__version__}\n"


def test_options_become_settings_of_the_service(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    code = call(
        monkeypatch, "raven_timebar", "--seconds", "5", "--port", "5", "--monitoring-port", "6", "--host", "0.0.0.0",
        "--log-level", "warn", "--upstream", "grpc://h:1", "--venue", "binance_futures", "--symbols", "btcusdt",
    )  # fmt: skip

    settings = ran.services["raven_timebar"]
    own = settings.service("raven_timebar")
    assert code == 0
    assert (settings.server.host, settings.server.port, settings.monitoring.health_check_port) == ("0.0.0.0", 5, 6)
    assert (settings.timebar.seconds, settings.monitoring.log_level) == (5, "warn")
    assert (own.upstream, own.venue, own.symbols) == ("grpc://h:1", "binance_futures", ["BTCUSDT"])


def test_every_parameter_of_imbalance_bars_can_be_given(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    call(
        monkeypatch, "raven_tibs", "--initial-size", "900.5", "--initial-p-buy", "0.6", "--alpha-size", "0.2",
        "--alpha-imbl", "0.3", "--size-min", "90%", "--size-max", "2000", "--rule", "literal",
    )  # fmt: skip

    assert ran.services["raven_tibs"].tibs.model_dump() == {
        "initial_size": 900.5, "initial_p_buy": 0.6, "alpha_size": 0.2, "alpha_imbl": 0.3, "size_min": "90%",
        "size_max": "2000", "rule": "literal",
    }  # fmt: skip


def test_several_services_run_in_the_order_in_which_they_hear_one_another(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = call(monkeypatch, "raven run", "tibs", "timebar", "binance_spot")

    assert code == 0
    assert list(ran.services) == ["binance_spot", "raven_timebar", "raven_tibs"]
    assert [settings.server.port for settings in ran.services.values()] == [50001, 50051, 50052]


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("binance_spot", ["--venue", "binance_futures"], "for binance_futures start binance_futures"),
        ("binance_spot", ["--upstream", "grpc://h:1"], "set venues.binance_spot.ws_url instead"),
        ("raven_timebar", ["--upstream", "h"], "expected scheme://host"),
        ("raven_tibs", ["--alpha-size", "2"], "tibs.alpha_size"),
        ("raven run", ["timbar"], "did you mean raven_timebar"),
        ("raven run", ["raven"], "raven is all of them already"),
        ("raven run", ["timebar", "tibs", "--port", "5"], "--port names one port and there are 2 services"),
        ("raven run", [], "Missing argument"),
    ],
)
def test_mistakes_end_with_code_2_and_a_way_out(
    ran: Ran,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
    arguments: list[str],
    message: str,
) -> None:
    code = call(monkeypatch, program, *arguments)

    assert (code, ran.services) == (2, {})
    assert message in capsys.readouterr().err


def test_two_services_on_one_port_are_refused(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAVEN__SERVER__PORT_TIBS", "50051")

    assert call(monkeypatch, "raven run", "timebar", "tibs") == 2
    assert "raven_timebar and raven_tibs both have the gRPC port 50051" in capsys.readouterr().err


def test_services_of_one_process_hear_one_another_and_only_the_first_of_them_hears_elsewhere(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, "raven run", "timebar", "bar_persistence", "--upstream", "grpc://h:1")

    upstreams = {name: settings.service(name).upstream for name, settings in ran.services.items()}
    assert upstreams == {"raven_timebar": "grpc://h:1", "bar_persistence": ""}


def test_the_only_source_of_a_process_is_the_one_that_is_heard(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, "raven run", "binance_futures", "timebar")

    assert ran.services["raven_timebar"].service("raven_timebar").venue == "binance_futures"

import sys
import types
from pathlib import Path

import pytest

from raven import __version__
from raven.app import cli
from raven.app.options import RunOptions
from raven.app.services import SERVICES, monitoring_port, port
from raven.config import Settings
from raven.errors import NetworkTimeout

CONTRACT_OPTIONS = """
--config --host --port --log-level --database-url --max-connections --validate --print-config --version --help
--demo --replay --speed --venue --symbols --monitoring-port
""".split()


class Ran:
    """Stands for `raven.app.compose`: remembers what it was asked to run."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.options: RunOptions | None = None
        self.code = 0

    def run(self, settings: Settings, options: RunOptions) -> int:
        self.settings, self.options = settings, options
        return self.code


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ran:
    ran = Ran()
    module = types.ModuleType("raven.app.compose")
    module.run = ran.run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "raven.app.compose", module)
    monkeypatch.setattr(cli, "exit_soon", lambda code: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return ran


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["raven", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return int(exit_.value.code or 0)


def test_every_promised_option_is_in_the_help(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = call(monkeypatch, "--help")

    out = capsys.readouterr().out
    assert code == 0
    assert [option for option in CONTRACT_OPTIONS if option not in out] == []
    assert "Examples" in out


def test_options_become_settings(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    code = call(
        monkeypatch, "--host", "0.0.0.0", "--port", "5", "--monitoring-port", "6", "--log-level", "WARN",
        "--max-connections", "7", "--database-url", "http://h:8086", "--venue", "a,b", "--venue", "c",
        "--symbols", "btcusdt,ethusdt", "--record", "there",
    )  # fmt: skip

    settings = ran.settings
    assert code == 0
    assert settings is not None
    assert (settings.server.host, settings.server.port, settings.server.max_connections) == ("0.0.0.0", 5, 7)
    assert (settings.monitoring.metrics_port, settings.monitoring.health_check_port) == (6, 6)
    assert settings.monitoring.log_level == "warn"
    assert settings.influx.url == "http://h:8086"
    assert settings.feeds.venues == ["a", "b", "c"]
    assert settings.feeds.symbols == ["BTCUSDT", "ETHUSDT"]
    assert (settings.record.enabled, settings.record.dir) == (True, "there")


@pytest.mark.parametrize("written", [["--replay", "a", "b", "c"], ["--replay", "a", "--replay", "b", "--replay", "c"]])
def test_recordings_keep_the_order_they_were_given_in(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, written: list[str]
) -> None:
    for name in "abc":
        Path(name).touch()

    call(monkeypatch, *written, "--speed", "0", "--plain")

    assert ran.options == RunOptions(replay=(Path("a"), Path("b"), Path("c")), speed=0.0, live_view=False)


def test_an_order_of_recordings_that_cannot_be_known_is_refused(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--replay", "a", "b", "--replay", "c") == 2
    assert "the order counts" in capsys.readouterr().err


def test_the_exit_code_is_that_of_the_run(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    ran.code = 1

    assert call(monkeypatch, "--demo") == 1
    assert ran.options == RunOptions(demo=True)


def test_validate_checks_and_exits(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAVEN__NATS__URL", "nats://h:4222")

    code = call(monkeypatch, "--validate", "--database-url", "http://h:8086")

    out = capsys.readouterr().out
    assert (code, ran.settings) == (0, None)
    assert "configuration is valid" in out
    assert "note: [nats] is configured, but this version does not use it yet" in out


def test_print_config_masks_secrets_and_exits(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFLUX_PASSWORD", "hunter2")

    code = call(monkeypatch, "--print-config", "--port", "1234")

    out = capsys.readouterr().out
    assert (code, ran.settings) == (0, None)
    assert "hunter2" not in out
    assert "port = 1234" in out
    assert "# --port" in out


def test_validate_refuses_a_venue_that_does_not_exist(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = call(monkeypatch, "--validate", "--venue", "binance_futurs")

    assert code == 2
    assert "did you mean 'binance_futures'?" in capsys.readouterr().err


def test_a_run_says_which_settings_do_nothing_yet_and_no_others(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, url in (("NATS", "nats://h:4222"), ("REDIS", "redis://h:6379"), ("TIMESCALE", "postgresql://h/db")):
        monkeypatch.setenv(f"RAVEN__{name}__URL", url)

    call(monkeypatch, "--database-url", "http://db.test:8086")

    assert ran.settings is not None
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == ["note: [nats] is configured, but this version does not use it yet"]


def test_the_help_shows_no_value_behind_a_flag_and_fits_a_terminal(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    call(monkeypatch, "-h")

    out = capsys.readouterr().out
    assert "bool" not in out.lower()
    assert "[OPTIONS] [FILE]..." in out
    examples = [line.strip() for line in cli.EPILOG.splitlines() if line.startswith("  raven")]
    assert [example for example in examples if example not in out] == []


def test_version_is_printed(ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"raven {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prot", "1"], "--port"),
        (["--port", "many"], "--port"),
        (["--port", "70000"], "--port"),
        (["stray"], "recordings follow --replay"),
        (["--replay", "nowhere.gz"], "nowhere.gz is not a file"),
        (["--config", "nowhere.toml"], "nowhere.toml does not exist"),
        (["--log-level", "loud"], "expected one of trace, debug, info, warn, error"),
        (["--symbols", "BTC|USDT"], "is not a symbol"),
    ],
)
def test_wrong_options_end_with_code_2_and_a_way_out(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code = call(monkeypatch, *arguments)

    assert (code, ran.settings) == (2, None)
    assert message in capsys.readouterr().err


def test_demo_and_replay_exclude_each_other(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.gz").touch()

    assert call(monkeypatch, "--demo", "--replay", "a.gz") == 2
    assert "exclude each other" in capsys.readouterr().err


def test_an_error_while_running_ends_with_code_1_and_its_message(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise NetworkTimeout("the exchange does not answer")

    monkeypatch.setattr(sys.modules["raven.app.compose"], "run", fail)

    assert call(monkeypatch) == 1
    assert "error: the exchange does not answer" in capsys.readouterr().err


def test_the_table_has_every_promised_service_and_port() -> None:
    settings = Settings()

    assert {name: port(service, settings) for name, service in SERVICES.items()} == {
        "raven": 50051,
        "binance_spot": 50001,
        "binance_futures": 50002,
        "raven_timebar": 50051,
        "raven_tibs": 50052,
        "tick_persistence": 50091,
        "bar_persistence": 50092,
    }
    assert monitoring_port(SERVICES["binance_spot"], settings) == 51001
    assert all(service.upstream in {None, *SERVICES} for service in SERVICES.values())

"""The systemd units fit the programs: what they start exists, what they configure is accepted, a stop has its time."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from raven.app.lifecycle import STOP_BUDGET_S
from raven.app.services import SERVICES, alone
from raven.config import load

SYSTEMD = Path(__file__).resolve().parents[2] / "deploy" / "systemd"


def settings_of(unit: str) -> dict[str, list[str]]:
    """Read a unit: key → values, in their order."""
    said: dict[str, list[str]] = {}
    for line in (SYSTEMD / unit).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            said.setdefault(key, []).append(value)
    return said


def test_a_unit_starts_the_program_of_its_name_with_the_configuration_of_all() -> None:
    said = settings_of("raven@.service")

    assert said["ExecStart"] == ["/opt/raven/bin/%i --config /etc/raven/raven.toml"]
    assert "-/etc/raven/%i.env" in said["EnvironmentFile"]


def test_a_service_has_the_time_that_its_stop_takes_and_is_started_again() -> None:
    said = settings_of("raven@.service")

    assert float(said["TimeoutStopSec"][0]) > STOP_BUDGET_S
    assert said["Restart"] == ["always"]
    assert said["RestartPreventExitStatus"] == ["2"], "wrong settings do not become right by trying again"


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "raven"])
def test_the_example_configuration_is_accepted_by_every_service(tmp_path: Path, name: str) -> None:
    loaded = load(SYSTEMD / "raven.toml", env={"RUN_MODE": "production"}, cwd=tmp_path)

    settings = alone(loaded, SERVICES[name])

    assert settings.server.host == "127.0.0.1"
    assert set(settings.services) <= set(SERVICES)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", ["raven@.service", "raven.target"])
def test_systemd_understands_every_line(tmp_path: Path, unit: str) -> None:
    copied = tmp_path / unit.replace("@", "@binance_spot")
    # Neither the program nor its user are on a machine that only tests.
    text = (
        (SYSTEMD / unit).read_text().replace("/opt/raven/bin/%i", "/bin/true").replace("User=raven\nGroup=raven\n", "")
    )
    copied.write_text(text)
    (tmp_path / "raven.target").write_text((SYSTEMD / "raven.target").read_text())

    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copied)],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    complaints = [line for line in answer.stderr.splitlines() if "raven" in line]
    assert complaints == []

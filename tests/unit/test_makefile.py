import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


@pytest.mark.parametrize(
    "target", ["deploy", "start", "stop", "restart", "docker-build", "logs", "logs-influx", "shell"]
)
def test_what_needs_containers_says_so_and_fails(target: str) -> None:
    answer = make(target)

    assert answer.returncode != 0
    assert f"make {target} waits for the container stack" in answer.stderr


def test_a_restore_must_be_told_which_backup() -> None:
    answer = make("-n", "restore", "BACKUP_NAME=")

    assert "make restore BACKUP_NAME=" in answer.stdout


def test_urls_are_told_without_a_running_server() -> None:
    answer = make("urls")

    assert answer.returncode == 0
    assert "50051" in answer.stdout
    assert "/metrics" in answer.stdout


def test_urls_are_those_of_the_configuration_and_say_how_to_ask_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAVEN__MONITORING__METRICS_PORT", "9191")
    monkeypatch.setenv("RAVEN__SERVER__HOST", "0.0.0.0")

    answer = make("urls", "HEALTH_CHECK_PORT=8181")

    assert answer.returncode == 0, answer.stderr
    assert "gRPC     127.0.0.1:50051" in answer.stdout
    assert "http://127.0.0.1:8181/health" in answer.stdout
    assert "http://127.0.0.1:9191/metrics" in answer.stdout
    assert "--monitoring-port: make urls RAVEN_PORT=" in answer.stdout


def test_urls_are_told_by_a_python_without_packages() -> None:
    answer = subprocess.run(
        [sys.executable, "-S", "scripts/ask.py", "urls"],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60,
        env={"HEALTH_CHECK_PORT": "8181"},
    )  # fmt: skip

    assert answer.returncode == 0, answer.stderr
    assert "http://127.0.0.1:8181/health" in answer.stdout
    assert "http://127.0.0.1:9090/metrics" in answer.stdout


def test_make_alone_lists_the_verbs() -> None:
    answer = make()

    assert answer.returncode == 0
    assert all(verb in answer.stdout for verb in ("run", "test", "check", "bench", "deploy"))


@pytest.mark.parametrize("target", ["health", "status", "urls"])
def test_without_python_only_the_missing_python_is_told(target: str, tmp_path: Path) -> None:
    for tool in ("sh", "make", "find", "sed", "sort", "head", "mkdir", "touch"):
        where = shutil.which(tool)
        assert where is not None
        (tmp_path / tool).symlink_to(where)
    answer = subprocess.run(
        [str(tmp_path / "make"), target, f"VENV={tmp_path}/none"],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60, env={"PATH": str(tmp_path)},
    )  # fmt: skip

    assert answer.returncode != 0
    assert "missing: Python 3.11 or newer" in answer.stderr
    assert "denied" not in answer.stderr

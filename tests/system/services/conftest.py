"""The platform as its users run it: a process per service, `ravenctl` beside them, and the built-in exchange."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.influx import influx_server
from tests.servers.postgres import PostgresServer, postgres_server

from raven.app.services import SERVICES, port_path
from raven.exchange.process import ExchangeProcess

__all__ = ["influx_server", "postgres_server"]

SOURCE = Path(__file__).resolve().parents[3] / "src"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SOURCE)}
OFFSET = 1000
VENUES = {"binance_spot": "spot", "binance_futures": "usdm"}
SETTINGS = """
[monitoring]
log_format = "json"
health_check_interval = 200
[feeds]
state_dir = ""
linger_seconds = 0.5
[journal]
dir = "{journal}"
[sinks]
dead_letters = "{letters}"
"""


def free_port() -> int:
    """Return a port that is free, with the one for its monitoring."""
    while True:
        with socket.socket() as grpc, socket.socket() as http:
            grpc.bind(("127.0.0.1", 0))
            number = int(grpc.getsockname()[1])
            if number + OFFSET > 65535:
                continue
            try:
                http.bind(("127.0.0.1", number + OFFSET))
            except OSError:
                continue
            return number


def ask(url: str) -> tuple[int, Any]:
    """Return what an address answers: status and document; status 0 when nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status), json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)
    return value


class Running:
    """One service in a process of its own."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.port = port
        self.process = process
        self.log = log

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port + OFFSET}"

    def status(self) -> dict[str, Any]:
        """What `/status` says."""
        document: dict[str, Any] = ask(f"{self.http}/status")[1]
        return document

    def is_ready(self) -> bool:
        return ask(f"{self.http}/ready")[0] == 200

    def not_ready(self) -> dict[str, str]:
        """What `/ready` gives as reasons."""
        return dict(self.status().get("ready", {}))

    def collections(self) -> dict[str, str]:
        """Symbol → status of what it collects."""
        return {row["symbol"]: row["status"] for row in self.status().get("collections", ())}

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(15)

    def said(self, level: str = "error") -> list[str]:
        """Lines of its log at a level, and whatever is no log line at all."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if not line.startswith("{") or f'"level": "{level}"' in line]


class Platform:
    """Services of one configuration, on ports of their own."""

    def __init__(self, folder: Path, exchange: ExchangeProcess) -> None:
        self.folder = folder
        self.exchange = exchange
        self.ports = {name: free_port() for name in SERVICES}
        self.config = folder / "platform.toml"
        self.running: dict[str, Running] = {}
        ports = "".join(f"{port_path(SERVICES[name])} = {port}\n" for name, port in self.ports.items())
        venues = "".join(
            f'[venues.{venue}]\nws_url = "{urls["ws"]}"\nrest_url = "{urls["rest"]}"\n'
            for venue, urls in ((venue, exchange.urls[market]) for venue, market in VENUES.items())
        )
        common = SETTINGS.format(journal=folder / "journal", letters=folder / "letters.sqlite")
        self.config.write_text(f"{ports}{common}{venues}")

    def say_in(self, section: str, line: str) -> None:
        """Let a section of the configuration begin with a line, instead of what it says there."""
        key = line.partition(" ")[0]
        lines = [one for one in self.config.read_text().splitlines() if not one.startswith(f"{key} ")]
        lines.insert(lines.index(f"[{section}]") + 1, line)
        self.config.write_text("\n".join([*lines, ""]))

    def say(self, more: str) -> None:
        """Add to the configuration."""
        with self.config.open("a") as file:
            file.write(more)

    def start(self, *names: str, options: tuple[str, ...] = ()) -> Running:
        """Start a service, or several in one process, and wait until the last of them answers."""
        last = names[-1]
        log = self.folder / f"{last}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                self._command(*names, options=options), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, env=ENVIRONMENT,
            )  # fmt: skip
        for name in names:
            self.running[name] = Running(name, self.ports[name], process, log)
        for name in names:
            one = self.running[name]
            until(lambda one=one: one.status() or process.poll() is not None, f"{name} answers")
            assert process.poll() is None, log.read_text()[-3000:]
        return self.running[last]

    def _command(self, *names: str, options: tuple[str, ...]) -> list[str]:
        what = ("raven.app.cli", "main") if len(names) > 1 else ("raven.app.programs", names[0])
        run = f"import sys; from {what[0]} import {what[1]} as main; sys.argv[0] = '{names[-1]}'; main()"
        several = ("run", *names) if len(names) > 1 else ()
        return [sys.executable, "-c", run, *several, "--config", str(self.config), *options]

    def run(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a service that is expected to end by itself."""
        return subprocess.run(
            self._command(name, options=options), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=60, check=False, env=ENVIRONMENT,
        )  # fmt: skip

    def ctl(self, *arguments: str) -> tuple[int, str]:
        """Run `ravenctl`; return its exit code and what it printed."""
        run = "import sys; from raven.ctl.cli import main; sys.argv[0] = 'ravenctl'; main()"
        done = subprocess.run(
            [sys.executable, "-c", run, "--config", str(self.config), *arguments], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
            env=ENVIRONMENT | {"COLUMNS": "200"},
        )  # fmt: skip
        return done.returncode, done.stdout

    def market(self, venue: str = "binance_spot") -> dict[str, Any]:
        """What the exchange counts: `streams` that it is asked for now, and `ws` requests by their method."""
        _, state = ask(f"{self.exchange.urls[VENUES[venue]]['rest']}/_raven/state")
        document: dict[str, Any] = state[VENUES[venue]]
        return document

    def close(self) -> None:
        processes = {one.process for one in self.running.values()}
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """Nobody runs yet but the exchange."""
    arguments = ("--markets", "spot,usdm", "--symbols", "BTCUSDT,ETHUSDT", "--rate", "600", "--levels", "100")
    with ExchangeProcess(arguments) as exchange:
        made = Platform(tmp_path, exchange)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def database(postgres_server: PostgresServer) -> PostgresServer:
    """A PostgreSQL without anything of ours."""
    postgres_server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    return postgres_server

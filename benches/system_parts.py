"""What the benches of the whole server share: starting it as its own process, asking it, keeping results."""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
START_TIMEOUT_S = 60.0


def pinned(command: Sequence[str], cpus: str) -> list[str]:
    """Return a command that runs on these CPUs only (`0`, `0,1`); empty leaves it to the scheduler."""
    return ["taskset", "-c", cpus, *command] if cpus else list(command)


class Server:
    """`raven` in a process of its own, configured by `settings` (`section.key` → value). A context manager."""

    def __init__(self, settings: Mapping[str, Any], arguments: Sequence[str] = (), *, cpus: str = "") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="raven-bench-")
        defaults = {
            "server.port": 0, "monitoring.metrics_port": 0, "monitoring.health_check_port": 0,
            "monitoring.log_format": "json", "feeds.state_dir": "",
        }  # fmt: skip
        config = Path(self._folder.name) / "bench.toml"
        config.write_text(_toml(defaults | dict(settings)))
        main = "import sys; from raven.app.cli import main; sys.argv[0] = 'raven'; main()"
        self._command = pinned([sys.executable, "-c", main, "--config", str(config), "--plain", *arguments], cpus)
        self._process: subprocess.Popen[str] | None = None
        self._up = threading.Event()
        self._seen = threading.Condition()
        self.lines: list[tuple[float, dict[str, Any]]] = []
        """Log lines with the seconds since the start at which they came."""
        self.port = 0
        self.health_url = ""
        self.started = 0.0

    def __enter__(self) -> Self:
        self.started = time.monotonic()
        # The packages of this interpreter, also where `raven` is only on its path.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])}
        if "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        self._process = subprocess.Popen(
            self._command, cwd=self._folder.name, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        if not self._up.wait(START_TIMEOUT_S):
            self.__exit__(None, None, None)
            raise SystemExit(f"raven did not start: {self.lines[-5:]}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        self._folder.cleanup()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"event": line.rstrip()}
            with self._seen:
                self.lines.append((time.monotonic() - self.started, entry))
                self._seen.notify_all()
            if "grpc" in entry and "health" in entry:
                self.port = int(str(entry["grpc"]).rpartition(":")[2])
                self.health_url = str(entry["health"])
                self._up.set()

    def wait_for_line(self, matches: Callable[[dict[str, Any]], bool], timeout_s: float) -> float:
        """Return how many seconds after the start a log line came. Raises: SystemExit when it does not come."""
        deadline = time.monotonic() + timeout_s
        looked = 0
        with self._seen:
            while True:
                for came, entry in self.lines[looked:]:
                    if matches(entry):
                        return came
                looked = len(self.lines)
                if not self._seen.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    raise SystemExit(f"raven did not say it within {timeout_s:g} s; its last words: {self.lines[-3:]}")

    @property
    def process(self) -> psutil.Process:
        """The server's process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def rss_mib(self) -> float:
        """Return what the server holds in memory."""
        return float(self.process.memory_info().rss) / 2**20

    def cpu_seconds(self) -> float:
        """Return the time the server has used so far, of all its threads."""
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def metrics(self) -> dict[str, float]:
        """Return every sample of /metrics, summed over labels."""
        url = self.health_url.removesuffix("/health") + "/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        sums: dict[str, float] = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def wait_synced(self, books: int, timeout_s: float) -> float:
        """Wait until so many books have been in sync; return after how many seconds the last one was."""
        symbols: set[str] = set()

        def is_last(line: dict[str, Any]) -> bool:
            if line.get("event") == "book in sync":
                symbols.add(line["symbol"])
            return len(symbols) >= books

        return self.wait_for_line(is_last, timeout_s)


def _toml(settings: Mapping[str, Any]) -> str:
    """Write `section.key` settings as TOML; JSON's scalars and lists are TOML's."""
    return "".join(f"{path} = {json.dumps(value)}\n" for path, value in settings.items())


def native_client() -> Path:
    """Build the native clients and return the program."""
    command = ["cargo", "build", "-q", "--release", "--locked", "-p", "raven-serve", "--example", "stream_clients"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "stream_clients"


def percentile(ordered: Sequence[float], part: float) -> float:
    """Return a percentile of sorted values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))]


def median_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the median of every number that all runs have."""
    keys = [key for key, value in runs[0].items() if isinstance(value, int | float)]
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in keys}


def keep(name: str, case: str, runs: Sequence[Mapping[str, Any]], note: str = "") -> None:
    """Write the runs of a case and their median into `benches/results/<name>.json`, beside the other cases."""
    path = RESULTS / f"{name}.json"
    document = json.loads(path.read_text()) if path.exists() else {}
    cases = document.get("cases", {})
    cases[case] = {
        "median": median_of(runs),
        "runs": list(runs),
        "note": note,
        "command": " ".join(["python", *(_shown(argument) for argument in sys.argv)]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": _commit(),
        # Other work on the machine shows here; a bench that had to win against it ran with a nice value below 0.
        "load_average": os.getloadavg(),
        "nice": os.nice(0),
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "cases": cases}, indent=1) + "\n")
    print(f"{name} / {case}: {cases[case]['median']}", flush=True)


def machine() -> dict[str, Any]:
    """Describe where this was measured."""
    processor = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    return {"processor": processor, "cores": os.cpu_count(), "system": platform.system() + " " + platform.release()}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _shown(argument: str) -> str:
    path = Path(argument)
    return str(path.resolve().relative_to(ROOT)) if path.exists() and path.resolve().is_relative_to(ROOT) else argument


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"

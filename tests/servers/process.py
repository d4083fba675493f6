"""What every private server of a test needs: a free port, a process of its own, signals to it, and an end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

START_TIMEOUT_S = 60.0


def free_port() -> int:
    """Return a port of the loopback address that nobody uses now.

    Below those that systems give to clients: between this look and the start of the server, none of them takes it.
    """
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20,000 and 32,000")


class ServerProcess:
    """One server of a test: it can be started, killed, stopped for a while, and started again on the same data."""

    def __init__(self, command: Sequence[str], log: Path, is_ready: Callable[[], bool]) -> None:
        self._command = list(command)
        self._log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """False when it was ended or has ended by itself."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers."""
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal is for the test, which then stops the server.
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(
                    f"{self._command[0]} did not start:\n{self._log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order; kill it if it takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        # A suspended process ends only when it may run.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self._is_ready()
        return False

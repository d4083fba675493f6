"""The exchange in a process of its own: for `raven --demo`, load tests, and programs in other languages."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import IO, Any, Self

from raven.errors import InternalError

_STOP_GRACE_S = 5.0


class ExchangeStartError(InternalError):
    """The exchange's process ended or said nothing; the message has its last words."""


class ExchangeEndedError(InternalError):
    """The exchange's process ended by itself, and whoever waits for it would wait for ever."""


class ExchangeProcess:
    """`python -m raven.exchange …` as a child that cannot outlive its parent. A context manager.

    `arguments` are those of the command line, for instance `("--markets", "usdm,spot", "--rate", "2000")`.
    """

    def __init__(self, arguments: Sequence[str] = (), *, start_timeout_s: float = 30.0) -> None:
        self._arguments = list(arguments)
        self._timeout_s = start_timeout_s
        self._process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}
        """The child's first line: `markets` (URLs), `symbols`, `pid`."""
        self.replay_finished: Future[None] = Future()
        """Done when every line of the recording was sent and taken; fails when the child ends by itself before that."""

    @property
    def urls(self) -> dict[str, dict[str, str]]:
        """Both bases of every market: `{"usdm": {"ws": …, "rest": …}}`."""
        urls: dict[str, dict[str, str]] = self.ready["markets"]
        return urls

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return int(self.ready["pid"])

    def start(self) -> Self:
        """Start the child and wait for its URLs. Raises: ExchangeStartError if it ends first or takes too long."""
        command = [sys.executable, "-m", "raven.exchange", "--parent-stdin", *self._arguments]
        paths = [path for path in sys.path if path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            # Ctrl-C in a terminal reaches the whole group; the child goes when its parent has let go of it.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        watchdog = threading.Timer(self._timeout_s, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            assert self._process.stderr is not None
            words = self._process.stderr.read().strip()[-2000:]
            self.stop()
            raise ExchangeStartError(f"the exchange did not start within {self._timeout_s:g} s: {words or 'no output'}")
        self.ready = json.loads(line)
        # What it says later must not fill a pipe that nobody reads.
        threading.Thread(target=self._drain, daemon=True).start()
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()
        return self

    def stop(self) -> None:
        """End the child: by closing its standard input, after some seconds by force."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self, lines: IO[str]) -> None:
        with contextlib.suppress(ValueError):  # The pipe was closed by `stop`, or the child died within a line.
            for line in lines:
                if json.loads(line).get("replay_finished"):
                    self.replay_finished.set_result(None)
        process = self._process
        if process is not None and not self.replay_finished.done():
            self.replay_finished.set_exception(ExchangeEndedError(_how_it_ended(process)))

    def _drain(self) -> None:
        process = self._process
        if process is not None and process.stderr is not None:
            try:
                for line in process.stderr:
                    sys.stderr.write(line)
            except ValueError:
                return  # The pipe was closed by `stop`.


def _how_it_ended(process: subprocess.Popen[str]) -> str:
    try:
        code = process.wait(_STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        return "the exchange's process closed its output before the recording's end; start again"
    words = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"the exchange's process ended {words} before the recording's end; its last words are above; start again"

"""A private PostgreSQL: the real server of Debian's package `postgresql`, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.servers.process import ServerProcess, free_port

__all__ = ["PostgresServer", "folder_for_postgres", "postgres_server"]

_BINARIES = Path("/usr/lib/postgresql")


def _binary(name: str) -> Path | None:
    found = sorted(_BINARIES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return found[-1] if found else None


def _as_its_user(*command: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
    return as_postgres if os.geteuid() == 0 else list(command)


class PostgresServer(ServerProcess):
    """Keeps its data in `folder`; user `raven`, no password, loopback only."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"postgresql://raven@127.0.0.1:{self.port}/postgres"
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        self._data = folder / "data"
        initdb = _as_its_user(str(_binary("initdb")), "-D", str(self._data), "-A", "trust", "-U", "raven", "--no-sync")
        subprocess.run([*initdb, "-E", "UTF8", "--locale=C.UTF-8"], check=True, capture_output=True, cwd=folder)
        command = [str(_binary("postgres")), "-D", str(self._data), "-p", str(self.port), "-k", str(folder)]
        command += ["-c", "listen_addresses=127.0.0.1", *(part for option in options for part in ("-c", option))]
        super().__init__(_as_its_user(*command), folder / "postgres.log", self._answers_queries)

    def query(self, text: str) -> list[str]:
        """Return the rows that SQL finds, each as one line of text, columns separated by `|`."""
        psql = shutil.which("psql") or str(_binary("psql"))
        done = subprocess.run(
            [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.url, "-c", text],
            check=False, capture_output=True, text=True, timeout=120,
            env=os.environ | {"PGOPTIONS": "-c default_transaction_read_only=off"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def count(self, table: str) -> int:
        """Return the number of rows of a table of Raven's."""
        return int(self.query(f"SELECT count(*) FROM raven.{table}")[0])

    def stop(self) -> None:
        """End it in order, without waiting for who is connected."""
        self.resume()
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server and all its processes, as a crash does; `start` may follow."""
        killed = self._signal_all(signal.SIGKILL)
        super().kill()
        # Another server may start only when the last process of this one is gone.
        while any(Path(f"/proc/{pid}").exists() for pid in killed):
            time.sleep(0.01)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def suspend(self) -> None:
        """Let every process of it hang; connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> list[int]:
        if not self.is_running:
            return []
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        pids = [self.pid, *map(int, children.split())]
        for pid in pids:
            # One that has just ended is as it should be.
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    def _answers_queries(self) -> bool:
        ready = subprocess.run(
            [str(_binary("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False, timeout=10
        )
        return ready.returncode == 0


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the tests of one file; skips with the reason where PostgreSQL is not installed."""
    skip_without_postgres()
    with folder_for_postgres() as folder:
        server = PostgresServer(folder)
        server.start()
        yield server
        server.stop()


@contextmanager
def folder_for_postgres() -> Iterator[Path]:
    """A folder that the server's user can reach: every start of pytest closes those of pytest to others."""
    with tempfile.TemporaryDirectory(prefix="raven-postgres-") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "server"


def skip_without_postgres() -> None:
    """Skip a test with the reason where PostgreSQL is not installed."""
    if _binary("postgres") is None:
        pytest.skip("PostgreSQL is not installed; Debian's package `postgresql` has it")

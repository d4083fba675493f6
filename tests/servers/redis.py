"""A private Redis: the real `redis-server` of Debian's package, in memory only."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.servers.process import ServerProcess, free_port

__all__ = ["RedisServer", "redis_server", "require_redis"]


class RedisServer(ServerProcess):
    """`options` are further lines of its configuration, such as `--maxmemory 64mb`."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        super().__init__([*command, "--dir", str(folder), *options], folder / "redis.log", self._listens)

    def client(self, **options: object) -> redis.Redis:
        """Return a client of its own, closed by whoever asks."""
        return redis.Redis.from_url(self.url, decode_responses=True, **options)

    def _listens(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running, empty server; skipped where there is none."""
    require_redis()
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


def require_redis() -> None:
    """Skip the test where the server is not installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is missing; Debian has it in the package redis-server")

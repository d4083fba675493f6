"""What is said when PostgreSQL is not there."""

from __future__ import annotations

import socket

import pytest

from raven.errors import DatabaseConnection
from raven.sinks.postgres.connection import Judging, connected


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        port = taken.getsockname()[1]
        with pytest.raises(DatabaseConnection, match=rf"127\.0\.0\.1:{port}/market cannot be reached: ") as told:
            async with Judging():
                await connected(f"postgresql://raven:hush@127.0.0.1:{port}/market")

    assert "hush" not in told.value.message

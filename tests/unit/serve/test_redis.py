"""What a publisher says before there is a Redis."""

from __future__ import annotations

import subprocess
import sys

import pytest

from raven._core import Hub
from raven.errors import ConfigurationError
from raven.serve.redis import RedisPlan, RedisPublisher


def test_without_the_driver_it_is_said_how_to_get_it() -> None:
    program = "import sys; sys.modules['redis'] = None; import raven.serve.redis"

    said = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    ).stderr

    assert said.splitlines()[-1].startswith("raven.errors.MissingDependency: redis.url is set, but redis-py is missing")
    assert 'pip install "raven[redis]"' in said


@pytest.mark.parametrize("url", ["http://:secret@localhost", "redis://:secret@localhost:port"])
def test_a_url_that_makes_no_sense_is_a_configuration_error_without_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.url \w+://:\*+@localhost") as raised:
        RedisPublisher(Hub(), RedisPlan(url))

    assert "secret" not in raised.value.message


def test_one_that_was_not_started_has_no_trouble() -> None:
    assert RedisPublisher(Hub(), RedisPlan("redis://localhost:1")).trouble == ""

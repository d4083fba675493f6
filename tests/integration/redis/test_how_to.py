"""docs/how-to/use-redis.md tells the truth."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline import until
from tests.redis_scene import Scene
from tests.servers.redis import RedisServer

from raven.config import load

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "use-redis.md"


def block(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(code)


class Program:
    """A program of the page: what it prints, line by line."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def lines(self) -> Iterator[str]:
        assert self._process.stdout is not None
        return iter(self._process.stdout)


async def heard_by_somebody(server: RedisServer) -> None:
    """Wait until two channels, or one pattern, are subscribed to."""
    with server.client() as client:
        await until(lambda: len(client.pubsub_channels()) == 2)


async def test_the_program_prints_messages_and_what_is_missing(redis_server: RedisServer) -> None:
    code = block("python").replace("redis://localhost:6379", redis_server.url)
    with Program([sys.executable, "-u", "-c", code]) as program, redis_server.client() as client:
        await heard_by_somebody(redis_server)
        for sequence in (1, 2, 5, 1):
            client.publish("trades:BTCUSDT", json.dumps({"sequence": sequence}))

        lines = program.lines()
        said = [next(lines).strip() for _ in range(6)]

    assert said == [
        "{'sequence': 1}", "{'sequence': 2}", "trades:BTCUSDT: 2 missing", "{'sequence': 5}",
        "trades:BTCUSDT: Raven was restarted", "{'sequence': 1}",
    ]  # fmt: skip


async def test_the_lines_of_the_shell_show_what_the_page_says(redis_server: RedisServer) -> None:
    if shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is missing; Debian has it in the package redis-tools")
    lines = [shlex.split(line) for line in block("sh").splitlines()]
    async with Scene(redis_server, latest_ttl_s=60, stream_length=1000) as scene:
        scene.trade(3)
        await scene.settled()
        for _, *arguments in lines:
            command = ["redis-cli", "-p", str(redis_server.port), *arguments]
            if "SUBSCRIBE" in arguments[0]:
                with Program(command) as program:
                    assert next(program.lines()).strip() == arguments[0].lower()
                continue
            assert arguments[0] in ("GET", "XREVRANGE")
            shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: ASYNC221
            # Nobody publishes books here.
            assert ('"trade_id":3' in shown) == ("trades" in arguments[1]), command


def test_the_configuration_of_the_page_loads(tmp_path: Path) -> None:
    (tmp_path / "raven.toml").write_text(block("toml"))

    settings = load(tmp_path / "raven.toml", env={}, cwd=tmp_path).settings.redis

    assert (settings.url, settings.latest, settings.streams) == ("redis://localhost:6379", True, True)


async def test_messages_have_the_keys_of_the_page(redis_server: RedisServer) -> None:
    shown: dict[str, dict[str, Any]] = {
        channel: json.loads(text.replace("…", "[0, 0]"))
        for channel, text in re.findall(r"^\| `(\w+):\{SYMBOL\}` \| `(.*)` \|$", PAGE.read_text(encoding="utf-8"), re.M)
    }
    async with Scene(redis_server) as scene:
        subscriber = await scene.subscriber()
        scene.trade()
        await until(subscriber.sequences)

    assert list(subscriber.heard["trades:BTCUSDT"][0]) == list(shown["trades"])
    assert list(shown["orderbook"]) == ["symbol", "bids", "asks", "last_update_id", "timestamp", "sequence"]

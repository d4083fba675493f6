"""docs/how-to/run-as-services.md, done as it stands there: six programs, a real PostgreSQL and a real InfluxDB."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.influx import InfluxServer
from tests.servers.postgres import PostgresServer
from tests.system.services.conftest import Platform, until
from tests.system.services.test_chain import Bars, differences, holes
from tests.system.services.truth import Truth

from raven.app.services import SERVICES, monitoring_port, port
from raven.config import Settings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "run-as-services.md").read_text()
CONFIG = ("--config", "platform.toml")


def blocks(language: str) -> list[str]:
    """Return the blocks of the page in a language."""
    return [text for name, text in re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL) if name == language]


def commands(block: str) -> Iterator[list[str]]:
    """Return the commands of a block as words, the configuration's name left out."""
    for line in block.splitlines():
        words = shlex.split(line.rstrip("& "), comments=True)
        at = words.index("--config")
        assert tuple(words[at : at + 2]) == CONFIG
        yield words[:at] + words[at + 2 :]


def drawing(platform: Platform) -> list[str]:
    """Return the picture of the page with the ports of this platform."""
    (picture,) = (block for block in blocks("") if "who feeds whom" in block)
    for name, service in list(SERVICES.items())[1:]:
        picture = picture.replace(f":{port(service, Settings())}", f":{platform.ports[name]}")
    return picture.splitlines()


@pytest.mark.timeout(300)
def test_six_programs_do_what_the_page_says(
    platform: Platform, influx_server: InfluxServer, database: PostgresServer
) -> None:
    influx_server.query('CREATE DATABASE "market_data"')
    said = blocks("toml")[0].replace("http://localhost:8086", influx_server.url)
    platform.say(said.replace("postgresql://raven@localhost:5432/market", database.url))
    start, steer, together = (list(commands(block)) for block in blocks("sh"))

    for name, *options in start:
        platform.start(name, options=tuple(options))
    bars, truth, answers = Bars(database), Truth(platform), {}

    def there_is_something_to_see() -> bool:
        is_written = len(bars.rows()) > 2 and influx_server.count("trades") > 500
        return is_written and platform.running["raven_tibs"].status()["events"] > 2

    for program, *words in steer:
        assert program == "ravenctl"
        if words[0] == "status":
            until(lambda: platform.ctl("status")[0] == 0, "all of them are well")
        if words[0] == "stop":
            until(there_is_something_to_see, "both databases get theirs, and imbalance bars are made")
        code, answers[words[0]] = platform.ctl(*words)
        assert code == 0, answers[words[0]]
    until(lambda: not platform.market()["streams"], "the exchange is asked for nothing")
    truth.follow()

    assert [line.split()[1] for line in answers["plan"].splitlines() if line[0].isdigit()] == [
        "bar_persistence", "raven_timebar", "binance_spot",
    ]  # fmt: skip
    assert len(answers["list"].splitlines()) == 4 + 5
    assert answers["graph"].splitlines() == drawing(platform)
    rows = bars.rows()
    assert differences(rows, truth.bars("time", seconds=5)) == []
    assert holes(rows) == []
    assert platform.market()["ws"]["unsubscribe"] >= 1
    assert {one.name: one.end() for one in platform.running.values()} == dict.fromkeys((row[0] for row in start), 0)
    assert {one.name: one.said() for one in platform.running.values() if one.said()} == {}
    assert together == [["raven", "run", "binance_spot", "raven_timebar", "bar_persistence", "--symbols", "BTCUSDT"]]


def test_three_in_one_process_as_the_page_says(platform: Platform, database: PostgresServer) -> None:
    platform.say(f'[timebar]\nseconds = 1\n[timescale]\nurl = "{database.url}"\n')
    (words,) = commands(blocks("sh")[2])
    at = words.index("--symbols")

    platform.start(*words[2:at], options=tuple(words[at:]))
    bars = Bars(database)
    until(bars.whole, "bars are in the database")

    heard = [(platform.running[name].status()["upstream"] or {}).get("address") for name in words[2:at]]
    assert heard == [None, "local:binance_spot", "local:raven_timebar"]
    assert platform.running["bar_persistence"].end() == 0
    assert platform.running["bar_persistence"].said() == []


def test_the_table_of_the_page_is_the_table_of_services() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .*? \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    settings = Settings()

    assert rows == [
        (
            name,
            f"`{service.upstream}`" if service.upstream else "the exchange",
            str(port(service, settings)),
            str(monitoring_port(service, settings)),
        )
        for name, service in SERVICES.items()
        if name != "raven"
    ]

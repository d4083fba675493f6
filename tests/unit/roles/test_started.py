"""What was started by hand goes on after a restart, until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.roles.test_control import FUTURES, SPOT, Holders

from raven.errors import NetworkTimeout
from raven.fanout import dialect
from raven.roles.control import CollectorControl
from raven.roles.started import Started
from raven.testing import ManualClock
from raven.topics import DataType, StreamKind, Topic

ANY, TRADE = StreamKind.UNSPECIFIED, StreamKind.TRADE
BOTH = ["binance_spot.BTCUSDT.ORDERBOOK", "binance_spot.BTCUSDT.TRADES"]


class Away(Holders):
    """A collector whose upstream is not there at first."""

    def __init__(self, *venues: str) -> None:
        super().__init__(*venues)
        self.is_away = True
        self.attempts = 0

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        self.attempts += 1
        if self.is_away:
            raise NetworkTimeout("nobody listens there")
        return await super().acquire(holder, venue, symbol, data_type, depth)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "started.json"


def control_of(collector: Holders, file: Path | None, clock: ManualClock | None = None) -> CollectorControl:
    return CollectorControl(collector, dialect.SOURCE, file=file, clock=clock)


async def turn_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never became true")


async def test_what_was_started_is_collected_again(file: Path) -> None:
    await control_of(Holders(SPOT), file).start("BTCUSDT", "", ANY)

    after = Holders(SPOT)
    await control_of(after, file).restore()

    assert after.by_hand() == BOTH


async def test_what_was_stopped_is_not(file: Path) -> None:
    before = control_of(Holders(SPOT, FUTURES), file)
    await before.start("BTCUSDT", "", ANY)
    await before.start("ETHUSDT", FUTURES, TRADE)
    await before.stop("BTCUSDT", "", ANY)

    after = Holders(SPOT, FUTURES)
    await control_of(after, file).restore()
    assert after.by_hand() == ["binance_futures.ETHUSDT.TRADES"]

    await before.stop_all()
    last = Holders(SPOT, FUTURES)
    await control_of(last, file).restore()
    assert last.held == {}


async def test_without_a_file_nothing_is_collected_again() -> None:
    await control_of(Holders(SPOT), None).start("BTCUSDT", "", ANY)

    after = Holders(SPOT)
    await control_of(after, None).restore()

    assert after.held == {}


async def test_an_upstream_that_is_away_is_waited_for(file: Path, clock: ManualClock) -> None:
    Started(file).add([Topic(SPOT, "BTCUSDT", DataType.TRADES)])
    collector = Away(SPOT)
    control = control_of(collector, file, clock)
    restoring = asyncio.ensure_future(control.restore())
    await turn_until(lambda: collector.attempts == 1)
    await clock.advance(0.5)
    await turn_until(lambda: collector.attempts == 2)

    collector.is_away = False
    await clock.advance(1.0)
    await restoring

    assert collector.by_hand() == ["binance_spot.BTCUSDT.TRADES"]


async def test_what_is_stopped_while_it_waits_stays_stopped(file: Path, clock: ManualClock) -> None:
    Started(file).add([Topic(SPOT, "BTCUSDT", DataType.TRADES)])
    collector = Away(SPOT)
    control = control_of(collector, file, clock)
    restoring = asyncio.ensure_future(control.restore())
    await turn_until(lambda: collector.attempts == 1)

    await control.stop("BTCUSDT", "", ANY)
    collector.is_away = False
    await clock.advance(1.0)
    await restoring

    assert (collector.attempts, collector.held) == (1, {})


async def test_a_symbol_that_is_no_more_is_forgotten_and_the_others_go_on(file: Path) -> None:
    Started(file).add([Topic(SPOT, "LUNAUSDT", DataType.TRADES), Topic(SPOT, "BTCUSDT", DataType.TRADES)])
    collector = Holders(SPOT)

    await control_of(collector, file).restore()

    assert collector.by_hand() == ["binance_spot.BTCUSDT.TRADES"]
    assert [topic.symbol for topic in Started(file)] == ["BTCUSDT"]


@pytest.mark.parametrize("content", ["", "{}", '[["binance_spot", "BTCUSDT", "NONSENSE"]]'])
def test_a_file_that_cannot_be_read_is_reported(file: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.parent.mkdir()
    file.write_text(content, encoding="utf-8")

    assert list(Started(file)) == []

    assert "cannot be read" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("in the way", encoding="utf-8")
    started = Started(tmp_path / "state" / "started.json")

    started.add([Topic(SPOT, "BTCUSDT", DataType.TRADES)])

    assert len(started) == 1
    assert "is forgotten at the end" in capsys.readouterr().out

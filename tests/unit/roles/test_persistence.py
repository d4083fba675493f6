"""Every record of the journal comes into the database once, whatever the database does; what it refuses is found."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from raven._core import Hub
from raven.errors import ConfigurationError, DatabaseConnection, DataValidation, RateLimited
from raven.journal import Journal
from raven.journal.cursors import load_cursor, save_cursor
from raven.journal.segment import segments_in
from raven.ports import SinkBatch
from raven.resilience.breaker import BreakerSettings, BreakerState, CircuitBreaker
from raven.resilience.dead_letters import DeadLetterQueue
from raven.roles.persistence import Persistence, PersistenceSettings
from raven.topics import DataType

QUICK = PersistenceSettings(batch_rows=10, batch_s=0.005, first_pause_s=0.001, longest_pause_s=0.005)


class Database:
    """A sink that keeps ids, and fails as it is told."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.poison: set[int] = set()
        self.failures: list[Exception] = []
        """Raised by the next writes, first first."""
        self.opened = 0
        self.writes = 0
        self.is_closed = False

    async def open(self) -> None:
        self.opened += 1

    async def write(self, batch: SinkBatch) -> None:
        self.writes += 1
        if self.failures:
            raise self.failures.pop(0)
        ids = batch.records["id"].to_pylist()
        if bad := self.poison & set(ids):
            raise DataValidation(f"record {min(bad)} is out of range")
        self.ids += [number for number in ids if number not in self.ids]

    async def close(self) -> None:
        self.is_closed = True


class SlowDatabase(Database):
    """One whose first write takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def write(self, batch: SinkBatch) -> None:
        self.asked.set()
        await self.may_go_on.wait()
        await super().write(batch)


class World:
    """A journal that is written by hand, and what brings it into a database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = Hub()
        self.journal = Journal(self.hub, folder)
        self.journal.open()
        self.trades = self.hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 16)
        self.letters = DeadLetterQueue(folder / "letters.sqlite", max_attempts=2)
        self.breaker = CircuitBreaker("database", BreakerSettings(failures=3, open_s=0.01, max_open_s=0.02))

    def publish(self, ids: range) -> None:
        for number in ids:
            self.trades.trade(number, number, number, 60_000, 25, price_scale=2, quantity_scale=3, taker_sells=False)
        self.journal.turn()

    def persistence(self, database: Database, **options: object) -> Persistence:
        chosen = PersistenceSettings(**{name: getattr(QUICK, name) for name in QUICK.__slots__} | options)  # type: ignore[arg-type]
        return Persistence(
            "database", database, self.folder, breaker=self.breaker, letters=self.letters, settings=chosen
        )

    @asynccontextmanager
    async def running(self, database: Database, **options: object) -> AsyncIterator[Persistence]:
        persistence = self.persistence(database, **options)
        task = asyncio.create_task(persistence.run())
        try:
            yield persistence
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.journal.close()
    world.letters.close()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for lives in other threads, too
            await asyncio.sleep(0.002)


async def test_what_is_there_and_what_comes_is_written(world: World) -> None:
    world.publish(range(1, 26))
    database = Database()
    async with world.running(database) as persistence:
        await until(lambda: len(database.ids) == 25)
        world.publish(range(26, 31))
        await until(lambda: persistence.status.rows == 30)
        await until(lambda: persistence.status.behind_bytes == 0)
    assert database.ids == list(range(1, 31))
    assert database.is_closed
    assert load_cursor(world.folder, "database").rows == 30


async def test_what_of_the_journal_cannot_be_read_is_told(world: World) -> None:
    world.publish(range(1, 3))
    path = segments_in(world.folder)[0]
    size = path.stat().st_size
    world.publish(range(3, 5))
    world.publish(range(5, 7))
    content = bytearray(path.read_bytes())
    content[size + 40] ^= 1
    path.write_bytes(content)
    database = Database()
    async with world.running(database) as persistence:
        await until(lambda: database.ids == [1, 2, 5, 6])
        told = "places of the journal that could not be read: 1, see the log"
        await until(lambda: str(persistence.status) == told)
        assert persistence.status.unreadable == 1


async def test_it_can_end_when_everything_is_written(world: World) -> None:
    world.publish(range(1, 26))
    database = Database()
    persistence = world.persistence(database)
    persistence.finish()
    await persistence.run()
    assert database.ids == list(range(1, 26))
    assert database.is_closed


async def test_what_came_while_it_wrote_is_written_before_it_ends(world: World) -> None:
    """It looks ahead while the database writes, and finds nothing; then the journal gets its last records."""
    world.publish(range(1, 26))
    database = SlowDatabase()
    async with world.running(database, batch_rows=1000) as persistence:
        await database.asked.wait()
        await until(lambda: "database reads ahead" not in [one.get_name() for one in asyncio.all_tasks()])
        world.publish(range(26, 31))
        persistence.finish()
        database.may_go_on.set()
        await until(lambda: database.is_closed)
    assert database.ids == list(range(1, 31))


async def test_a_place_that_is_being_saved_is_saved_before_another_reader_begins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving, may_go_on, saved = threading.Event(), threading.Event(), threading.Event()

    def slow_disk(*what: Any) -> None:
        saving.set()
        may_go_on.wait(20)
        save_cursor(*what)
        saved.set()

    monkeypatch.setattr("raven.roles.persistence.save_cursor", slow_disk)
    task = asyncio.create_task(world.persistence(Database()).run())
    await until(saving.is_set)
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, may_go_on.set)
    with suppress(asyncio.CancelledError):
        await task
    assert saved.is_set()


async def test_a_restart_goes_on_at_the_cursor(world: World) -> None:
    database = Database()
    for first in range(1, 60, 20):
        world.publish(range(first, first + 20))
        async with world.running(database) as persistence:
            await until(lambda persistence=persistence: persistence.status.rows == 20)
            await until(lambda first=first: load_cursor(world.folder, "database").rows == first + 19)
    assert database.ids == list(range(1, 61))


@pytest.mark.parametrize(
    "failure",
    [
        DatabaseConnection("connection refused"),
        ConfigurationError("database market_data does not exist"),
        OSError("network is unreachable"),
        ZeroDivisionError("a bug in a driver"),
    ],
)
async def test_a_failure_of_any_kind_is_tried_again(world: World, failure: Exception) -> None:
    world.publish(range(1, 6))
    database = Database()
    database.failures = [failure] * 7
    async with world.running(database) as persistence:
        await until(lambda: persistence.status.trouble)
        assert str(failure) in str(persistence.status)
        assert "of the journal are not written yet" in str(persistence.status)
        await until(lambda: persistence.status.rows == 5)
        await until(lambda: str(persistence.status) == "")
    assert database.ids == [1, 2, 3, 4, 5]
    assert database.writes == 8
    assert database.opened == 8, "after a failure it is opened anew"
    assert world.letters.letters() == []
    assert world.breaker.state is BreakerState.CLOSED


async def test_nothing_is_asked_before_the_time_that_the_database_names(world: World) -> None:
    world.publish(range(1, 3))
    database = Database()
    database.failures = [RateLimited("too many requests", 0.2)]
    began = asyncio.get_running_loop().time()
    async with world.running(database):
        await until(lambda: database.ids == [1, 2])
    assert asyncio.get_running_loop().time() - began >= 0.2
    assert database.writes == 2


@pytest.mark.parametrize("poison", [{1}, {7}, {20}, {3, 4}, set(range(1, 21))])
async def test_a_refused_record_is_found_and_its_neighbours_go_in(world: World, poison: set[int]) -> None:
    world.publish(range(1, 21))
    database = Database()
    database.poison = poison
    async with world.running(database, batch_rows=100) as persistence:
        await until(lambda: persistence.status.rows + persistence.status.refused == 20)
    assert database.ids == [number for number in range(1, 21) if number not in poison]
    letters = world.letters.letters()
    assert len(letters) == len(poison)
    assert all(
        f"record {number} is out of range" in letter.reason
        for number, letter in zip(sorted(poison), letters, strict=True)
    )
    assert {letter.symbol for letter in letters} == {"BTCUSDT"}


async def test_a_letter_goes_in_when_somebody_asks_again(world: World) -> None:
    world.publish(range(1, 4))
    database = Database()
    database.poison = {2}
    async with world.running(database) as persistence:
        await until(lambda: persistence.status.refused == 1)
        (letter,) = world.letters.letters()
        for _ in range(2):
            world.letters.ask_retry([letter.number])
            await until(
                lambda: (left := world.letters.letter(letter.number)) and left.attempts == 1 and left.state != "trying"
            )
        assert database.ids == [1, 3]
        database.poison = set()
        world.letters.ask_retry([letter.number])
        await until(lambda: world.letters.letters() == [])
    assert database.ids == [1, 3, 2]


@pytest.mark.fault("D7")
async def test_a_letter_waits_as_long_as_the_database_says_and_that_is_no_try(world: World) -> None:
    world.publish(range(1, 4))
    database = Database()
    database.poison = {2}
    async with world.running(database):
        await until(lambda: load_cursor(world.folder, "database").rows == 3)
        (letter,) = world.letters.letters()
        database.poison, writes = set(), database.writes
        # More often than it may be tried.
        database.failures = [RateLimited("too many requests", 0.1) for _ in range(3)]
        began = asyncio.get_running_loop().time()
        world.letters.ask_retry([letter.number])
        await until(lambda: world.letters.letters() == [])
    assert asyncio.get_running_loop().time() - began >= 0.3
    assert database.writes == writes + 4
    assert database.ids == [1, 3, 2]


@pytest.mark.fault("D3")
async def test_a_letter_that_the_program_dies_of_takes_no_other_with_it(world: World) -> None:
    world.publish(range(1, 5))
    database = Database()
    database.poison = {1, 2, 3}
    async with world.running(database):
        await until(lambda: load_cursor(world.folder, "database").rows == 4)
    poison, *others = [letter.number for letter in world.letters.letters()]
    world.letters.ask_retry([poison, *others])
    for _ in range(2):
        deadly = SlowDatabase()
        async with world.running(deadly):
            await deadly.asked.wait()

    database.poison = set()
    async with world.running(database):
        await until(lambda: [letter.number for letter in world.letters.letters()] == [poison])
    (left,) = world.letters.letters()
    assert (left.state, left.attempts) == ("parked", 2)
    assert database.ids == [4, 2, 3]


async def test_a_letter_that_is_no_record_is_refused_and_the_next_one_tried(world: World) -> None:
    world.publish(range(1, 3))
    database = Database()
    database.poison = {2}
    async with world.running(database) as persistence:
        world.letters.put("database", "nonsense", "no", b"no record", format="arrow")
        await until(lambda: persistence.status.refused == 1)
        nonsense, good = (letter.number for letter in world.letters.letters())
        database.poison = set()
        world.letters.ask_retry([nonsense, good])
        await until(lambda: world.letters.letter(good) is None)
        left = world.letters.letter(nonsense)
        assert left is not None
        assert "holds no record that this Raven can read" in left.reason
    assert database.ids == [1, 2]


async def test_types_choose(world: World) -> None:
    quotes = world.hub.create_topic("binance_spot", "BTCUSDT", int(DataType.QUOTES), 1 << 16)
    quotes.trade(1, 1, 77, 60_000, 25, price_scale=2, quantity_scale=3, taker_sells=False)
    world.publish(range(1, 3))
    database = Database()
    async with world.running(database, types=("trades",)) as persistence:
        await until(lambda: persistence.status.rows >= 2)
    assert {1, 2} <= set(database.ids)


async def test_a_new_reader_holds_back_what_it_needs_from_the_first_moment(world: World) -> None:
    database = Database()
    async with world.running(database):
        await until((world.folder / "cursors" / "database.json").exists)

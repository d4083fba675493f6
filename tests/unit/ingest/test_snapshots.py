"""The queue of snapshots: order, pauses, bans, budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from raven.errors import DataValidation, NetworkTimeout, RateLimited
from raven.ingest.budgets import Budgets
from raven.ingest.settings import IngestSettings
from raven.ingest.snapshots import SnapshotQueue
from raven.ports import Request
from raven.resilience.bans import Bans
from raven.testing import ManualClock
from raven.venues.binance import usdm


class Rest:
    """Answers requests within the budget, or with errors from a list."""

    def __init__(self, clock: ManualClock, weight_per_minute: float = 2400) -> None:
        self.clock = clock
        self.budget = Budgets(0.8, clock, Bans(clock)).of(usdm(), weight_per_minute)
        self.asked: list[tuple[float, str]] = []
        self.errors: list[Exception] = []
        self.takes_s = 0.1

    async def get(self, request: Request) -> bytes:
        await self.budget.weight.take(request.weight)
        symbol = request.path.partition("symbol=")[2].partition("&")[0]
        self.asked.append((self.clock.monotonic(), symbol))
        await self.clock.sleep(self.takes_s)
        if self.errors:
            error = self.errors.pop(0)
            if isinstance(error, RateLimited):
                self.budget.ban(error.retry_after_s)
            raise error
        return symbol.encode()


class Stand:
    def __init__(self, clock: ManualClock, engine: Any, **settings: Any) -> None:
        self.clock = clock
        self.engine = engine
        self.rest = Rest(clock)
        self.queue = SnapshotQueue(
            usdm(), engine, self.rest, IngestSettings(**settings), clock  # type: ignore[arg-type]
        )  # fmt: skip
        engine.on_event = self.queue.synced

    def symbols(self) -> list[str]:
        return [symbol for _, symbol in self.rest.asked]


@pytest.fixture
async def stand(clock: ManualClock, engine: Any, request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    stand = Stand(clock, engine, **getattr(request, "param", {"snapshot_workers": 1}))
    task = asyncio.create_task(stand.queue.run())
    await clock.settle()
    yield stand
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_book_that_asks_gets_its_snapshot_once(stand: Stand) -> None:
    stand.queue.request(1, "BTCUSDT", "start")
    stand.queue.request(1, "BTCUSDT", "start")
    await stand.clock.advance(60)

    assert stand.engine.snapshots == [(1, b"BTCUSDT")]
    assert stand.queue.waiting() == {}


async def test_books_that_were_shown_come_before_those_nobody_has_seen(stand: Stand) -> None:
    for instrument, reason in enumerate(["start", "start", "sequence_gap", "start", "reconnect"]):
        stand.queue.request(instrument, f"S{instrument}", reason)
    await stand.clock.advance(5)

    assert stand.symbols() == ["S2", "S4", "S0", "S1", "S3"]


@pytest.mark.parametrize(
    "error", [NetworkTimeout("500"), NetworkTimeout("half an answer"), DataValidation("404")], ids=str
)
async def test_after_a_failure_the_pauses_grow_up_to_half_a_minute(stand: Stand, error: Exception) -> None:
    stand.rest.errors = [error] * 12
    stand.queue.request(1, "BTCUSDT", "start")
    await stand.clock.advance(300)

    times = [at for at, _ in stand.rest.asked]
    pauses = [after - before - stand.rest.takes_s for before, after in pairwise(times)]
    longest = [min(30.0, 0.25 * 2**number) for number in range(len(pauses))]
    assert len(pauses) >= 9
    assert all(0.25 * most - 1e-6 <= pause <= most + 0.002 for pause, most in zip(pauses, longest, strict=True))


async def test_an_answer_that_is_too_old_is_asked_for_again_after_its_pause(stand: Stand) -> None:
    stand.engine.too_old()
    stand.queue.request(1, "BTCUSDT", "start")
    await stand.clock.advance(10)

    # 0.25 + 0.5 + 1 + 2 + 4 s at the most, a quarter of that at the least.
    assert 5 <= len(stand.rest.asked) <= 9


async def test_a_broken_book_does_not_hold_the_others_up(stand: Stand) -> None:
    stand.rest.errors = [NetworkTimeout("500")]
    stand.queue.request(1, "AAA", "start")
    stand.queue.request(2, "BBB", "start")
    await stand.clock.advance(0.25)

    assert stand.symbols()[:2] == ["AAA", "BBB"]


async def test_nothing_is_asked_during_a_ban_and_people_are_told_when(stand: Stand) -> None:
    stand.rest.errors = [RateLimited("429", 30.0)]
    for instrument in range(5):
        stand.queue.request(instrument, f"S{instrument}", "start")
    await stand.clock.advance(20)
    assert len(stand.rest.asked) == 1
    assert all(9 <= seconds <= 11 for seconds in stand.queue.waiting().values())

    await stand.clock.advance(20)

    assert len(stand.rest.asked) == 6
    assert stand.rest.asked[1][0] >= 30.1


async def test_a_thousand_books_stay_within_four_fifths_of_the_budget(stand: Stand) -> None:
    stand.rest.takes_s = 0.001
    for instrument in range(1000):
        stand.queue.request(instrument, f"S{instrument}", "start")
    await stand.clock.advance(1)
    waiting = stand.queue.waiting()
    # Twenty of weight each, 1920 a minute: 96 at once, the last ones in the tenth minute.
    assert len(stand.rest.asked) == 96
    assert max(waiting.values()) == pytest.approx(600, abs=70)

    await stand.clock.advance(660)

    times = [at for at, _ in stand.rest.asked]
    assert len(times) == 1000
    assert all(sum(at <= other < at + 59.99 for other in times) <= 96 for at in times[::50])


@pytest.mark.parametrize("stand", [{"snapshot_workers": 4}], indirect=True)
async def test_no_symbol_is_asked_for_twice_at_the_same_time(stand: Stand) -> None:
    stand.rest.takes_s = 5.0
    for _ in range(3):
        stand.queue.request(1, "BTCUSDT", "sequence_gap")
        await stand.clock.advance(1)

    assert stand.symbols() == ["BTCUSDT"]


async def test_an_answer_for_a_stream_that_was_lost_meanwhile_is_thrown_away(stand: Stand) -> None:
    stand.rest.takes_s = 5.0
    stand.queue.request(1, "BTCUSDT", "start")
    await stand.clock.advance(1)

    stand.queue.forget(1)
    await stand.clock.advance(10)

    assert stand.engine.snapshots == []
    assert len(stand.rest.asked) == 1


async def test_a_bug_in_one_answer_does_not_end_the_queue(stand: Stand) -> None:
    stand.rest.errors = [RuntimeError("a bug")]
    stand.queue.request(1, "AAA", "start")
    stand.queue.request(2, "BBB", "start")
    await stand.clock.advance(5)

    assert sorted(stand.engine.snapshots) == [(1, b"AAA"), (2, b"BBB")]

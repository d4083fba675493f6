"""A journal that is written under load, and what brings it into a database: the way of a record, without a feed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil
import pyarrow.compute as pc

from raven._core import Hub
from raven.journal import Batch, Journal, read_journal
from raven.journal.cursors import load_cursor
from raven.ports import Sink
from raven.records import Kind
from raven.resilience.breaker import BreakerSettings, BreakerState, CircuitBreaker
from raven.resilience.dead_letters import DeadLetterQueue
from raven.roles.persistence import Persistence, PersistenceSettings
from raven.topics import DataType

__all__ = ["Pipeline", "until"]

_TICK_S = 0.01
_RING_BYTES = 1 << 23


async def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something that lives in other threads or processes, too."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Pipeline:
    """Hub, journal, cursor, breaker, dead letters and persistence of one sink; an asynchronous context manager."""

    def __init__(self, folder: Path, sink: Sink, *, settings: PersistenceSettings | None = None) -> None:
        self.folder = folder
        self.published = 0
        self.opened_breaker = 0
        """How often the breaker opened."""
        self.peak_rss_bytes = 0
        hub = Hub()
        self._trades = hub.create_topic("binance_futures", "BTCUSDT", int(DataType.TRADES), _RING_BYTES)
        self._journal = Journal(hub, folder / "journal")
        self.letters = DeadLetterQueue(folder / "letters.sqlite")
        self.breaker = CircuitBreaker("sink", BreakerSettings(failures=3, open_s=0.2, max_open_s=2.0))
        self._sink = sink
        self._settings = settings or PersistenceSettings(batch_s=0.05, longest_pause_s=1.0)
        self._tasks: list[asyncio.Task[None]] = []
        self.persistence: Persistence | None = None

    async def __aenter__(self) -> Pipeline:
        """Begin; records published from now on are written."""
        await self._journal.start()
        self.persist()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of it."""
        await self.stop_persisting()
        await self._journal.stop()
        self.letters.close()

    def persist(self) -> None:
        """Start to bring the journal into the database."""
        self.persistence = Persistence(
            "sink",
            self._sink,
            self.folder / "journal",
            breaker=self.breaker,
            letters=self.letters,
            settings=self._settings,
        )
        self._tasks = [asyncio.create_task(self.persistence.run()), asyncio.create_task(self._watch())]

    async def stop_persisting(self) -> None:
        """Stop it wherever it is; what was under way comes again."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    def publish(self, count: int, *, exchange_ns: int | None = None) -> None:
        """Publish trades with the next ids, all of this moment."""
        now = time.time_ns()
        moment = now // 1_000_000 * 1_000_000 if exchange_ns is None else exchange_ns
        for number in range(self.published + 1, self.published + count + 1):
            self._trades.trade(
                now, moment, number, 618_000 + number % 50, 1 + number % 2_000,
                price_scale=1, quantity_scale=3, taker_sells=bool(number % 2),
            )  # fmt: skip
        self.published += count

    async def publish_for(self, seconds: float, per_second: int) -> None:
        """Publish at a steady rate."""
        began, first = time.monotonic(), self.published
        while (passed := time.monotonic() - began) < seconds:
            self.publish(int(passed * per_second) - (self.published - first))
            await asyncio.sleep(_TICK_S)
        self.publish(int(seconds * per_second) - (self.published - first))

    async def all_written(self, seconds: float = 60.0) -> None:
        """Wait until the database has said that it has everything published."""
        await until(lambda: load_cursor(self.folder / "journal", "sink").rows >= self.published, seconds)

    def journalled(self) -> tuple[int, int]:
        """Return the number of trades in the journal and the sum of their ids."""
        batches = [one for one in read_journal(self.folder / "journal", [Kind.TRADE]) if isinstance(one, Batch)]
        return (
            sum(len(one.records) for one in batches),
            sum(pc.sum(one.records["id"]).as_py() for one in batches),
        )

    async def _watch(self) -> None:
        process, was = psutil.Process(), BreakerState.CLOSED
        while True:
            now = self.breaker.state
            self.opened_breaker += now is BreakerState.OPEN and was is not BreakerState.OPEN
            was = now
            self.peak_rss_bytes = max(self.peak_rss_bytes, process.memory_info().rss)
            await asyncio.sleep(_TICK_S)

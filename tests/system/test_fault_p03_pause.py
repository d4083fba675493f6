"""P3, in small: the process stood still, so every book is taken anew; and a dead ingest thread is noticed."""

from __future__ import annotations

import asyncio
import time

import pytest

from raven._core import Hub
from raven.errors import InternalError
from raven.ingest.thread import Ingest

pytestmark = pytest.mark.fault("P3")


async def test_after_a_pause_every_book_is_taken_anew(collecting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raven.ingest.thread._PAUSED_S", 0.5)
    async with collecting() as bench:
        before = {symbol: bench.counters(symbol)["resyncs"] for symbol in bench.states()}

        async def stand_still() -> None:
            time.sleep(2.0)  # noqa: ASYNC251 - a machine that is paused does not await

        await bench.ingest.call(stand_still())
        await bench.until(
            lambda: all(bench.counters(symbol)["resyncs"] > count for symbol, count in before.items()), "taken anew", 5
        )
        await bench.until(lambda: bench.all_synced(2), "in sync", 5)

        await bench.assert_book_is_true()


async def test_the_end_of_the_thread_is_an_error_unless_it_was_wanted() -> None:
    wanted, unwanted = Ingest(Hub(), []), Ingest(Hub(), [])
    await wanted.start()
    await unwanted.start()
    watching = [asyncio.create_task(one.watch()) for one in (wanted, unwanted)]

    await wanted.stop()
    unwanted._loop.call_soon_threadsafe(unwanted._loop.stop)
    ends = await asyncio.wait_for(asyncio.gather(*watching, return_exceptions=True), 5)

    assert ends[0] is None
    assert isinstance(ends[1], InternalError)
    assert "the ingest thread ended" in str(ends[1])

"""The whole ingest over real sockets: the built-in exchange on the test's loop, ingest on its own thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from raven._core import Hub, Reader, Record
from raven.exchange import Exchange, ExchangeConfig
from raven.ingest.settings import EngineSettings, IngestSettings, VenuePlan
from raven.ingest.thread import Ingest
from raven.registry import VENUES, load
from raven.topics import DataType

VENUE_OF = {"usdm": "binance_futures", "spot": "binance_spot", "coinm": "binance_coinm"}
GAP = 7
_PARTS = ("published", "rejected", "ignored", "gap", "pending")


async def _until(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(0.005)


def assert_balanced(ingest: Ingest) -> None:
    """Every event of every symbol is accounted for, to the unit."""
    for venue, symbol, _, count in ingest.counters():
        assert count["received"] == sum(count[part] for part in _PARTS), (venue, symbol, count)


def assert_in_order_or_marked(records: list[Record], *, ids_in_a_row: bool = False) -> None:
    """No record is missing between two that a reader saw; with `ids_in_a_row` (trades) no id of the venue is, either.

    What the venue did not send is named by a gap mark: `(data type, count, first id, last id, reason, repaired)`.
    """
    assert records, "the reader saw nothing"
    assert all(after.sequence == before.sequence + 1 for before, after in pairwise(records))
    expected = 0
    for record in records if ids_in_a_row else ():
        first, last = (record.body[2], record.body[3]) if record.kind == GAP else (record.id, record.id)
        assert expected in (0, first), f"ids {expected} to {first - 1} are missing and no mark says so"
        expected = last + 1


@dataclass
class Spine:
    """One exchange, one ingest, and readers on whatever it collects."""

    exchange: Exchange
    ingest: Ingest
    plans: list[VenuePlan]

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
        """Wait until something is true."""
        await _until(condition, what, seconds)

    def instrument(self, venue: str, symbol: str) -> int:
        return dict(self.ingest.instruments())[venue, symbol]

    def reader(self, venue: str, symbol: str, data_type: DataType) -> Reader:
        topic = self.ingest.hub.find(venue, symbol, data_type)
        assert topic is not None, f"{venue} {symbol} has no {data_type.name}"
        return self.ingest.hub.reader(topic)

    def are_synced(self) -> bool:
        wanted = sum(len(plan.symbols) for plan in self.plans)
        rows = self.ingest.books()
        return len(rows) == wanted and all(state == "synced" for _, _, state in rows)


@asynccontextmanager
async def _spine(
    config: ExchangeConfig,
    plans: dict[str, tuple[str, ...]],
    *,
    options: dict[str, str] | None = None,
    ring_bytes: int = 4 * 1024 * 1024,
    **settings: Any,
) -> AsyncIterator[Spine]:
    """`plans` says which symbols of each market are collected at all times."""
    async with Exchange(config) as exchange:
        wanted = [
            VenuePlan(
                VENUE_OF[market],
                ws_url=exchange.market(market).ws_url,
                rest_url=exchange.market(market).rest_url,
                symbols=symbols,
                options=options or {},
            )
            for market, symbols in plans.items()
        ]
        chosen = {"linger_s": 0.3, "reconnect_delay_s": 0.2, "max_reconnect_delay_s": 1.0} | settings
        ingest = Ingest(
            Hub(),
            [(load(VENUES, plan.name, "venue"), plan) for plan in wanted],
            settings=IngestSettings(**chosen),
            engine=EngineSettings(ring_bytes=ring_bytes),
        )
        await ingest.start()
        try:
            yield Spine(exchange, ingest, wanted)
            assert_balanced(ingest)
        finally:
            await ingest.stop()


@pytest.fixture
def spine() -> Callable[..., Any]:
    """Return `async with spine(config, {"usdm": ("BTCUSDT",)}) as parts`; the balance is checked at its end."""
    return _spine


@pytest.fixture
def in_order() -> Callable[..., None]:
    """Return the check of what a reader saw, see `assert_in_order_or_marked`."""
    return assert_in_order_or_marked

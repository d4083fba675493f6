"""Real sockets: the built-in exchange on a loop of its own, ingest on its thread, and this test on a third one.

Every test ends with the balance of all symbols, and with proof that no limit of the venue was overstepped.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raven._core import Hub
from raven.exchange import Exchange, ExchangeConfig, Fault
from raven.exchange.markets import RULES, Market
from raven.ingest.settings import EngineSettings, IngestSettings, VenuePlan
from raven.ingest.thread import Ingest
from raven.topics import DataType
from raven.venues import binance

VENUES = {"usdm": ("binance_futures", binance.usdm), "spot": ("binance_spot", binance.spot)}
GAP, TRADE = 7, 2


class ExchangeThread:
    """The exchange on a thread of its own, so that a test may block its own loop."""

    def __init__(self, config: ExchangeConfig) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="exchange", daemon=True)
        self.exchange = Exchange(config)

    def call(self, action: Callable[[], Any]) -> Any:
        """Run something on the exchange's loop and return its result."""

        async def run() -> Any:
            result = action()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def __enter__(self) -> ExchangeThread:
        self._thread.start()
        self.call(self.exchange.start)
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.exchange.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Bench:
    """One market, collected."""

    def __init__(self, market: str, server: ExchangeThread, ingest: Ingest) -> None:
        self.server = server
        self.exchange = server.exchange
        self.ingest = ingest
        self.market = server.exchange.market(market)
        self.venue = VENUES[market][0]

    # --- what is done to it -----------------------------------------------------------------------------

    def inject(self, kind: str, **fields: Any) -> int:
        """Arm a fault; return its number."""
        return int(self.server.call(lambda: self.exchange.inject(Fault(kind, **fields))))

    def clear_faults(self) -> None:
        self.server.call(self.exchange.faults.clear)

    # --- what is seen of it -----------------------------------------------------------------------------

    @property
    def ws_stats(self) -> dict[str, int]:
        return dict(self.market.ws.stats)

    @property
    def rest_stats(self) -> dict[str, int]:
        return dict(self.market.rest.stats)

    @property
    def connections(self) -> list[dict[str, Any]]:
        return self.ingest.status()[self.venue]

    def instrument(self, symbol: str) -> int:
        return dict(self.ingest.instruments())[self.venue, symbol]

    def state(self, symbol: str = "BTCUSDT") -> str:
        return str(self.ingest.engine.state(self.instrument(symbol)))

    def states(self) -> dict[str, str]:
        return {symbol: state for _, symbol, state, _ in self.ingest.counters()}

    def counters(self, symbol: str = "BTCUSDT") -> dict[str, int]:
        return dict(self.ingest.engine.counters(self.instrument(symbol)))

    def all_synced(self, symbols: int | None = None) -> bool:
        states = self.states()
        return len(states) >= (symbols or 1) and set(states.values()) == {"synced"}

    def reader(self, data_type: DataType, symbol: str = "BTCUSDT") -> Any:
        topic = self.ingest.hub.find(self.venue, symbol, data_type)
        assert topic is not None
        return self.ingest.hub.reader(topic)

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = 15.0) -> float:
        """Wait until something is true; return after how many seconds it was."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, f"{what}: not within {seconds} s; {self.states()}"
            await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def assert_book_is_true(self, symbol: str = "BTCUSDT", depth: int = 50) -> None:
        """Hold the market and compare our book with the exchange's own, level by level."""
        self.server.call(self.exchange.pause)
        try:
            ours, theirs = b"", b"?"
            deadline = time.monotonic() + 10
            while ours != theirs:
                book = self.server.call(lambda: self.exchange.book(symbol))
                theirs = book.canonical(depth)
                if self.state(symbol) == "synced":
                    ours = self.ingest.engine.canonical(self.instrument(symbol), depth)
                assert time.monotonic() < deadline, f"{symbol} is {self.state(symbol)}:\n{ours!r}\n{theirs!r}"
                await asyncio.sleep(0.02)
        finally:
            self.server.call(self.exchange.resume)

    def assert_balanced(self) -> None:
        for venue, symbol, _, count in self.ingest.counters():
            parts = ("published", "rejected", "ignored", "gap", "pending")
            assert count["received"] == sum(count[part] for part in parts), (venue, symbol, count)

    def assert_within_limits(self) -> None:
        assert self.ws_stats.get("over_message_limit", 0) == 0
        assert self.ws_stats.get("attempts_refused", 0) == 0
        assert self.ws_stats.get("dropped_without_pong", 0) == 0


@asynccontextmanager
async def _collecting(
    market: str = "usdm",
    *,
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT"),
    symbol_count: int = 0,
    collected: int = 0,
    rate: float = 800.0,
    skewed_rates: bool = True,
    rules: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
    state_dir: Path | None = None,
    faults: tuple[Fault, ...] = (),
    wait: bool = True,
    server: ExchangeThread | None = None,
    **settings: Any,
) -> AsyncIterator[Bench]:
    changed = {market: replace(RULES[Market(market)], **(rules or {}))}
    config = ExchangeConfig(
        markets=(market,),
        symbols=symbols,
        symbol_count=symbol_count,
        rate=rate,
        skewed_rates=skewed_rates,
        levels=150,
        seed=11,
        rules=changed,
    )
    own = ExchangeThread(config) if server is None else None
    if own is not None:
        own.__enter__()
        server = own
    assert server is not None
    for fault in faults:
        server.call(lambda fault=fault: server.exchange.inject(fault))
    name, factory = VENUES[market]
    here = server.exchange.market(market)
    known = tuple(config.symbols_for(Market(market)))
    chosen = {"symbols": known[: collected or None], **(plan or {})}
    wanted = VenuePlan(name, ws_url=here.ws_url, rest_url=here.rest_url, **chosen)
    defaults = {"reconnect_delay_s": 0.2, "max_reconnect_delay_s": 1.0, "linger_s": 0.2, "snapshot_levels": 100}
    ingest = Ingest(
        Hub(),
        [(factory, wanted)],
        settings=IngestSettings(**{**defaults, "state_dir": state_dir, **settings}),
        engine=EngineSettings(ring_bytes=4 * 1024 * 1024 // max(1, len(known) // 8)),
    )
    await ingest.start()
    bench = Bench(market, server, ingest)
    try:
        if wait:
            await bench.until(lambda: bench.all_synced(len(wanted.symbols)), "books in sync", 20)
        yield bench
        bench.assert_balanced()
        bench.assert_within_limits()
    finally:
        await ingest.stop()
        if own is not None:
            own.__exit__()


@pytest.fixture
def collecting() -> Callable[..., Any]:
    """Return `async with collecting(...) as bench`; see `_collecting` for what can be chosen."""
    return _collecting

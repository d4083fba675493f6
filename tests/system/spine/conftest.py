"""The whole ingest over real sockets: the built-in exchange on the test's loop, ingest on its own thread."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
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


class Program:
    """`raven` in a process of its own, on free ports. A context manager: inside it, it is up."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        config = folder / "test.toml"
        config.write_text('[monitoring]\nlog_format = "json"\n[feeds]\nstate_dir = ""\n')
        main = "import sys; from raven.app.cli import main; sys.argv[0] = 'raven'; main()"
        ports = ("--port", "0", "--monitoring-port", "0")
        self._command = [sys.executable, "-c", main, "--config", str(config), "--plain", *ports, *arguments]
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._up = threading.Event()
        self.lines: list[str] = []
        """What it said."""
        self.address = ""
        self.http = ""

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def end(self, number: int) -> int:
        """Send a signal and return the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(15)

    def __enter__(self) -> Self:
        source = Path(__file__).resolve().parents[3] / "src"
        environment = os.environ | {"PYTHONPATH": str(source)}
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        if not self._up.wait(60):
            self.__exit__(None, None, None)
            pytest.fail(f"raven did not come up: {self.lines[-5:]}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(5)
        self._process.stdout.close()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())
            if '"grpc"' in line and '"health"' in line:
                entry = json.loads(line)
                self.address = entry["grpc"]
                self.http = entry["health"].removesuffix("/health")
                self._up.set()


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Program]:
    """Return `with program("--demo") as raven`: the whole program, started and ended."""
    return lambda *arguments: Program(tmp_path, *arguments)

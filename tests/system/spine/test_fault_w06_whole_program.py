"""W6 for the whole server: its disk is full. Clients notice nothing, `/ready` names it, and it mends itself."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
from tests.servers.disk import fill, small_disk

import raven
from raven.client import Trade
from raven.errors import RavenError
from raven.journal import Batch, read_journal, verify_journal
from raven.records import Kind
from raven.topics import DataType

__all__ = ["small_disk"]

pytestmark = pytest.mark.fault("W6")

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def until(ask: Callable[[], Any], is_it: Callable[[Any], bool], seconds: float = 20.0) -> Any:
    """Ask until the answer is right; return it."""
    deadline = time.monotonic() + seconds
    while not is_it(said := ask()):
        assert time.monotonic() < deadline, said
        time.sleep(0.02)
    return said


def ask(url: str) -> Any:
    """Return what is answered with code 200."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.status == 200
        return json.load(answer)


class Client:
    """Sees trades for as long as the server lives."""

    def __init__(self, address: str) -> None:
        self.seen: dict[str, list[int]] = {symbol: [] for symbol in SYMBOLS}
        self.others: list[Any] = []
        self._thread = threading.Thread(target=self._watch, args=(address,))
        self._thread.start()

    def __len__(self) -> int:
        return sum(map(len, self.seen.values()))

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _watch(self, address: str) -> None:
        try:
            with raven.connect(address, reconnect=False) as feed:
                for event in feed.subscribe(SYMBOLS, "trades"):
                    if isinstance(event, Trade):
                        self.seen[event.symbol].append(event.sequence)
                    else:
                        self.others.append(event)
        except RavenError:
            return


@pytest.fixture
def journal(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let programs keep a journal on a disk of 4 MiB; return its folder."""
    monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(small_disk / "journal"))
    monkeypatch.setenv("RAVEN__MONITORING__HEALTH_CHECK_INTERVAL", "100")
    return small_disk / "journal"


def test_a_full_disk_is_named_and_costs_clients_nothing_and_is_mended_by_room_alone(
    program: Callable[..., Any], journal: Path, figure: Callable[[str, object], None]
) -> None:
    with program("--demo") as server:
        client = Client(server.address)
        ready, health = f"{server.http}/ready", f"{server.http}/health"
        until(lambda: len(client), lambda seen: seen > 100)
        assert ask(ready)["status"] == "ready"

        ballast = journal.parent / "ballast"
        fill(ballast)
        began = time.monotonic()
        said = until(lambda: ask(ready), lambda said: said["status"] != "ready")
        named_s = time.monotonic() - began
        assert (said["status"], said["checks"]["journal"]) == ("degraded", "storage_full: no space left")
        assert said["checks"]["books"] == "ok"
        until(lambda: ask(health)["components"]["journal"]["status"], lambda status: status == "degraded")
        before = len(client)
        until(lambda: len(client), lambda seen: seen > before + 200)

        ballast.unlink()
        began = time.monotonic()
        said = until(lambda: ask(ready), lambda said: said["status"] == "ready")
        mended_s = time.monotonic() - began
        assert said["checks"]["journal"] == "ok"
        until(lambda: ask(health)["status"], lambda status: status == "healthy")
        before = len(client)
        until(lambda: len(client), lambda seen: seen > before + 100)
        assert server.end(SIGTERM) == 0
        client.join()

    for seen in client.seen.values():
        assert all(after == before + 1 for before, after in pairwise(seen))
    assert client.others == []
    assert_every_trade_is_kept_or_counted(journal)
    figure("named after_s", round(named_s, 2))
    figure("mended after_s", round(mended_s, 2))


def assert_every_trade_is_kept_or_counted(journal: Path) -> None:
    """What was published of every symbol is in the journal, or in a gap record of it, to the unit."""
    kept: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    last: Counter[str] = Counter()
    for item in read_journal(journal, [Kind.TRADE, Kind.GAP]):
        assert isinstance(item, Batch), str(item)
        for row in item.records.to_pylist():
            topic = item.topics[row["topic"]]
            if item.kind is Kind.TRADE:
                kept[topic.symbol] += 1
                last[topic.symbol] = max(last[topic.symbol], row["sequence"])
            elif topic.data_type is DataType.TRADES:
                counted[topic.symbol] += row["count"]
    assert verify_journal(journal).is_sound
    assert set(counted) == set(SYMBOLS), "the disk was full for all of them"
    assert {symbol: kept[symbol] + counted[symbol] for symbol in SYMBOLS} == dict(last)

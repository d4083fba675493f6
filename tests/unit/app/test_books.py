"""The book as of a time is the exchange's own, to the digit, and says how exact it is."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raven
from raven._core import Hub
from raven.app.books import BookAt, book_at
from raven.app.rebuild import rebuild
from raven.errors import ConfigurationError, DataValidation
from raven.exchange import Exchange, ExchangeConfig, TrueBook
from raven.ingest.recorder import Recorder
from raven.ingest.settings import EngineSettings, VenuePlan
from raven.ingest.thread import Ingest
from raven.journal import Journal
from raven.registry import VENUES, load

VENUE = "binance_futures"
MOMENTS = 6


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, TrueBook]]]:
    """A capture and a journal of one run, and the exchange's own book at random moments of it."""
    folder = tmp_path_factory.mktemp("run")
    return folder, asyncio.run(_run(folder))


async def _run(folder: Path) -> list[tuple[int, TrueBook]]:
    chance = random.Random(7)
    async with Exchange(ExchangeConfig(markets=("usdm",), symbols=("BTCUSDT",), rate=2000.0)) as exchange:
        market = exchange.market("usdm")
        plan = VenuePlan(VENUE, ws_url=market.ws_url, rest_url=market.rest_url, symbols=("BTCUSDT",))
        hub, recorder = Hub(), Recorder(folder / "capture", flush_interval_s=0.02)
        # Rings so large that the journal misses nothing, however long a busy machine lets it wait.
        engine = EngineSettings(ring_bytes=16 << 20)
        ingest = Ingest(hub, [(load(VENUES, VENUE, "venue"), plan)], engine=engine, capture=recorder)
        journal = Journal(hub, folder / "journal", books_every_s=0.0)
        await journal.start()
        await recorder.start()
        await ingest.start()
        try:
            await until(lambda: [state for _, _, state in ingest.books()] == ["synced"])
            instrument = dict(ingest.instruments())[VENUE, "BTCUSDT"]
            truths = []
            for _ in range(MOMENTS):
                await asyncio.sleep(chance.uniform(0.05, 0.3))
                exchange.pause()
                truth = exchange.book("BTCUSDT", "usdm")
                await until(lambda truth=truth: ingest.engine.book(instrument)["update_id"] >= truth.update_id)
                truths.append((time.time_ns(), truth))
                await asyncio.sleep(0.002)
                exchange.resume()
            # A change after the last moment, so that it is known that none came before it.
            seen = truths[-1][1].update_id
            await until(lambda: ingest.engine.book(instrument)["update_id"] > seen)
        finally:
            await ingest.stop()
            await recorder.stop()
            await journal.stop()
        assert (recorder.status.lost, recorder.status.trouble) == (0, "")
        return truths


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_a_capture_gives_every_level_of_the_exchanges_own_book(recorded: tuple[Path, list[Any]]) -> None:
    folder, truths = recorded
    for at_ns, truth in truths:
        book = book_at("BTCUSDT", at_ns, capture=folder / "capture")
        # What a snapshot of 1000 levels a side did not reach is known only once a change named it.
        assert (book.update_id, book.is_exact) == (truth.update_id, True), book.how
        assert book.canonical(100).encode() == truth.canonical(100)
        assert book.exchange_ns <= at_ns


def test_a_journal_of_every_state_gives_the_best_levels_and_says_that_they_are_exact(
    recorded: tuple[Path, list[Any]],
) -> None:
    folder, truths = recorded
    for at_ns, truth in truths:
        book = raven.book_at("BTCUSDT", at_ns, journal=folder / "journal")
        assert (book.update_id, book.is_exact) == (truth.update_id, True), book.how
        assert book.canonical().encode() == truth.canonical(20)


def test_a_journal_that_keeps_few_states_says_what_it_does_not_know(recorded: tuple[Path, list[Any]]) -> None:
    folder, truths = recorded
    for name, books_every_s in (("few", 0.5), ("fewest", 3600.0)):
        rebuild([folder / "capture"], folder / name, books_every_s=books_every_s)
        found: list[BookAt] = [book_at("BTCUSDT", at_ns, journal=folder / name) for at_ns, _ in truths]

        assert all(
            book.update_id == truth.update_id for book, (_, truth) in zip(found, truths, strict=True) if book.is_exact
        )
    assert any("later states" in book.how for book in found), [book.how for book in found]


def test_before_the_first_book_and_after_the_last_one_it_is_said(recorded: tuple[Path, list[Any]]) -> None:
    folder, truths = recorded
    for source in ({"capture": folder / "capture"}, {"journal": folder / "journal"}):
        after = book_at("BTCUSDT", truths[-1][0] + 3600 * 10**9, **source)
        assert not after.is_exact
        assert "ends" in after.how
        with pytest.raises(DataValidation, match="no book of BTCUSDT"):
            book_at("BTCUSDT", truths[0][0] - 3600 * 10**9, **source)
        with pytest.raises(DataValidation, match="no book of NOPE"):
            book_at("NOPE", truths[0][0], **source)
    with pytest.raises(ConfigurationError, match="one source"):
        book_at("BTCUSDT", truths[0][0])


def test_the_command_shows_it(recorded: tuple[Path, list[Any]], capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from raven.ctl.cli import app

    folder, truths = recorded
    at_ns, truth = truths[0]
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_ns // 10**9))}.{at_ns % 10**9 // 1000:06d}Z"
    for source in (["--capture", str(folder / "capture")], ["--journal", str(folder / "journal")]):
        shown = CliRunner().invoke(app, ["book", "--symbol", "BTCUSDT", "--at", moment, *source])
        assert shown.exit_code == 0, shown.output
        assert f"update {truth.update_id}" in shown.output
        assert "exact:" in shown.output

"""Control over a real collection: what is asked of the exchange, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raven.fanout import Unobtainable, dialect
from raven.roles.control import CollectorControl
from raven.topics import DataType, StreamKind

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
ANY = StreamKind.UNSPECIFIED


def streams_of(bench: Any) -> int:
    return int(bench.server.call(bench.exchange.state)["spot"]["streams"])


def statuses(control: CollectorControl) -> dict[str, str]:
    return {row.symbol: row.status for row in control.collections()}


async def test_an_idle_source_collects_when_asked_and_stops_when_told(collecting: Callable[..., Any]) -> None:
    async with collecting("spot", symbols=SYMBOLS, plan={"symbols": ()}, wait=False) as bench:
        control = CollectorControl(bench.ingest, dialect.SOURCE)
        assert control.collections() == []
        assert streams_of(bench) == 0, "nobody has asked for anything"

        await control.start("BTCUSDT", "", ANY)
        started_s = await bench.until(lambda: statuses(control) == {"BTCUSDT": "live"}, "book and trades are there")
        assert streams_of(bench) == 2

        await control.stop("BTCUSDT", "", ANY)
        assert statuses(control) == {"BTCUSDT": "lingering"}
        await bench.until(lambda: streams_of(bench) == 0, "the exchange was told")
        assert control.collections() == []
        assert started_s < 5


async def test_control_and_a_subscriber_do_not_disturb_each_other(collecting: Callable[..., Any]) -> None:
    async with collecting("spot", symbols=SYMBOLS, plan={"symbols": ()}, wait=False) as bench:
        control = CollectorControl(bench.ingest, dialect.SOURCE)
        await control.start("BTCUSDT", "", StreamKind.TRADE)
        await bench.ingest.acquire("stream:1", bench.venue, "BTCUSDT", DataType.TRADES)

        await control.stop_all()
        (row,) = control.collections()
        assert (row.subscribers, row.data_types) == (1, (DataType.TRADES,))
        await bench.until(lambda: statuses(control) == {"BTCUSDT": "live"}, "trades flow for the subscriber")

        await bench.ingest.release_all("stream:1")
        await bench.until(lambda: streams_of(bench) == 0, "the exchange was told")


async def test_what_is_wrong_shows_in_the_status(collecting: Callable[..., Any]) -> None:
    async with collecting("spot", symbols=SYMBOLS, plan={"symbols": ()}, wait=False) as bench:
        control = CollectorControl(bench.ingest, dialect.SOURCE)
        bench.inject("refuse", seconds=1.0)
        await control.start("BTCUSDT", "", ANY)
        assert statuses(control) == {"BTCUSDT": "connecting"}

        await bench.until(lambda: statuses(control) == {"BTCUSDT": "live"}, "connected")


async def test_a_symbol_that_is_not_listed_is_answered_with_the_nearest(collecting: Callable[..., Any]) -> None:
    async with collecting("spot", symbols=SYMBOLS, plan={"symbols": ()}, wait=False) as bench:
        with pytest.raises(Unobtainable, match="has no symbol 'BTCUSD'; did you mean BTCUSDT"):
            await CollectorControl(bench.ingest, dialect.SOURCE).start("BTCUSD", "", ANY)

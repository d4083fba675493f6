"""A frame that comes after the process stood still is not taken before every book is declared old."""

from __future__ import annotations

from typing import Any

import pytest

from raven._core import Engine, Hub
from raven.ingest.capture import Capture
from raven.ingest.engine_host import EngineHost
from raven.ingest.thread import Ingest
from raven.testing import ManualClock


def test_doubt_comes_before_the_frame() -> None:
    told: list[str] = []
    clock = ManualClock()
    host = EngineHost(Engine(Hub()), lambda: None, Capture(), clock, lambda: told.append("doubt"))
    connection = host.open_connection(host.add_venue("binance_spot", "spot"))
    host.doubt_from_ns = 1_000

    host.on_frame(connection, 999, b"{}")
    assert told == []
    host.on_frame(connection, 1_000, b"{}")
    assert told == ["doubt"]


@pytest.mark.parametrize(("stood_still_s", "is_pause"), [(10.5, False), (11.5, True)])
async def test_only_who_stood_still_is_in_doubt_and_once(
    stood_still_s: float, is_pause: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    ingest = Ingest(Hub(), [], clock=clock)
    desynced: list[Any] = []
    monkeypatch.setattr(ingest, "instruments", lambda: [(("binance_spot", "BTCUSDT"), 7)])
    monkeypatch.setattr(ingest._host, "desync", lambda *what: desynced.append(what))
    ingest._look_for_pause()

    await clock.advance(stood_still_s)
    assert (clock.time_ns() >= ingest._host.doubt_from_ns) is is_pause
    ingest._look_for_pause()
    ingest._look_for_pause()

    assert desynced == ([(7, "paused")] if is_pause else [])

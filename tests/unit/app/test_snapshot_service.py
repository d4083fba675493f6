"""Snapshots on demand are exact and counted; those that the journal keeps are counted with them."""

from __future__ import annotations

from decimal import Decimal

import pytest

import raven
from raven._core import Engine, Hub
from raven.errors import DataValidation
from raven.observe import SnapshotCollector
from raven.testing import ManualClock

VENUE = "binance_futures"
NOW_NS = 1_700_000_000_000_000_000


def synced_engine() -> tuple[Engine, int]:
    engine = Engine(Hub())
    venue = engine.add_venue(VENUE, "futures")
    instrument = engine.add_instrument(venue, "BTCUSDT")
    connection = engine.open_connection(venue)
    diff = '{"e":"depthUpdate","E":1700000000000,"T":1700000000000,"s":"BTCUSDT","U":1,"u":9,"pu":0,"b":[],"a":[]}'
    engine.on_frame(connection, NOW_NS, diff.encode())
    body = b'{"lastUpdateId":9,"bids":[["100.10","1.5"],["99","2"]],"asks":[["100.2","0.003"]]}'
    engine.on_snapshot(instrument, NOW_NS, body, limit=2)
    return engine, instrument


def test_a_snapshot_on_demand_is_the_published_book_to_the_digit() -> None:
    engine, instrument = synced_engine()
    service = raven.SnapshotService(engine, lambda: [((VENUE, "BTCUSDT"), instrument)])

    snapshot = service.capture_snapshot("BTCUSDT")

    assert (snapshot.venue, snapshot.update_id) == (VENUE, 9)
    assert snapshot.bids == [(Decimal("100.1"), Decimal("1.5")), (Decimal(99), Decimal(2))]
    assert snapshot.asks == [(Decimal("100.2"), Decimal("0.003"))]
    assert service.get_metrics().snapshots_captured == 1


def test_a_symbol_that_is_collected_anew_is_found_again() -> None:
    first, second = synced_engine()
    rows = [((VENUE, "BTCUSDT"), second)]
    service = raven.SnapshotService(first, lambda: rows)
    service.capture_snapshot("BTCUSDT")

    first.remove_instrument(second)
    rows.clear()
    with pytest.raises(DataValidation, match="no venue"):
        service.capture_snapshot("BTCUSDT")
    assert service.get_metrics().snapshots_captured == 1


def test_a_book_that_is_not_there_is_said_so() -> None:
    engine = Engine(Hub())
    instrument = engine.add_instrument(engine.add_venue(VENUE, "futures"), "BTCUSDT")
    rows = [((VENUE, "BTCUSDT"), instrument), (("binance_spot", "BTCUSDT"), instrument)]
    service = raven.SnapshotService(engine, lambda: rows)

    with pytest.raises(DataValidation, match="no book yet"):
        service.capture_snapshot("BTCUSDT", VENUE)
    with pytest.raises(DataValidation, match="binance_futures, binance_spot; name one"):
        service.capture_snapshot("BTCUSDT")
    with pytest.raises(DataValidation, match="collected from no venue"):
        service.capture_snapshot("ETHUSDT")
    assert service.get_metrics().snapshots_captured == 0


def test_the_metrics_have_what_was_kept_and_what_was_asked_for(clock: ManualClock) -> None:
    engine, instrument = synced_engine()
    kept = [(VENUE, "BTCUSDT", 41, clock.time_ns() - 2 * 10**9)]
    service = raven.SnapshotService(engine, lambda: [((VENUE, "BTCUSDT"), instrument)], lambda: kept)
    service.capture_snapshot("BTCUSDT")

    samples = {
        sample.name: (sample.labels, sample.value)
        for family in SnapshotCollector(service, clock=clock).collect() for sample in family.samples
    }  # fmt: skip

    labels = {"symbol": "BTCUSDT", "venue": VENUE}
    assert samples["raven_snapshots_captured_total"] == (labels, 42)
    assert samples["raven_snapshot_age_seconds"] == (labels, 2.0)
    assert service.get_metrics().snapshots_captured == 42

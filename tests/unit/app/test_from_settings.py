"""Where keys of the configuration meet."""

from __future__ import annotations

import pytest

from raven.app.from_settings import books_interval_ms, expected_symbols
from raven.app.memory import recorder
from raven.config import Settings
from raven.ingest.settings import VenuePlan


@pytest.mark.parametrize(("chosen", "expected"), [(-1, 40), (0, 0), (1000, 1000)])
def test_books_are_stored_as_often_as_they_are_captured_unless_the_journal_is_told_otherwise(
    chosen: int, expected: int
) -> None:
    settings = Settings.model_validate(
        {"data_processing": {"snapshot_interval_ms": 40}, "journal": {"books_interval_ms": chosen}}
    )
    assert books_interval_ms(settings) == expected


def test_nothing_is_recorded_unless_asked_for() -> None:
    assert recorder(Settings()) is None
    assert recorder(Settings.model_validate({"record": {"enabled": True, "dir": "elsewhere"}})) is not None


def test_a_pattern_stands_for_many_symbols_before_they_are_known() -> None:
    plans = [VenuePlan("a", symbols=("BTCUSDT", "*/USDT")), VenuePlan("b", symbols=("BTC/USDT",))]

    assert expected_symbols(plans) == 502

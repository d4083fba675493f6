"""Where keys of the configuration meet."""

from __future__ import annotations

import pytest

from raven.app.from_settings import bar_spec_of, books_interval_ms, expected_symbols
from raven.app.memory import keeper, recorder
from raven.app.services import find
from raven.config import Settings
from raven.errors import ConfigurationError
from raven.ingest.settings import VenuePlan
from raven.journal.retention import Days, Retention
from raven.topics import DataType


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


def test_who_keeps_house_is_told_the_days_of_every_type_and_who_reads() -> None:
    settings = Settings.model_validate(
        {
            "journal": {
                "enabled": True, "retention_days": 30, "retention_bytes": 5, "retention_first": "quotes,orderbook",
                "types": {"trades": {"retention_days": 0}},
            },
            "influx": {"url": "http://localhost:8086", "types": ["trades"]},
        }
    )  # fmt: skip
    made = keeper(settings)

    assert made is not None
    assert made.settings.readers == {"influx": ["trades"]}
    assert made.settings.retention == Retention(Days(delete=30), {"trades": Days()}, None, 5, ["quotes", "orderbook"])
    assert keeper(Settings()) is None


def test_a_pattern_stands_for_many_symbols_before_they_are_known() -> None:
    plans = [VenuePlan("a", symbols=("BTCUSDT", "*/USDT")), VenuePlan("b", symbols=("BTC/USDT",))]

    assert expected_symbols(plans) == 502


def test_what_an_aggregator_makes_is_what_the_configuration_says() -> None:
    settings = Settings.model_validate({"timebar": {"seconds": 300}, "tibs": {"initial_size": 50, "size_min": "90%"}})

    assert bar_spec_of(find("timebar"), settings).label == "5m"
    assert bar_spec_of(find("timebar"), settings).data_type == DataType.CANDLES_5M
    assert bar_spec_of(find("tibs"), settings).data_type == DataType.TICK_IMBALANCE_BARS


def test_parameters_of_bars_that_make_no_sense_are_named_with_their_section() -> None:
    settings = Settings.model_validate({"tibs": {"size_min": "2000", "size_max": "1000"}})

    with pytest.raises(ConfigurationError, match=r"\[tibs\] size_min 2000 is above size_max 1000"):
        bar_spec_of(find("tibs"), settings)

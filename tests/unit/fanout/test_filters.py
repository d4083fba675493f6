"""The `filters` of a subscription."""

from __future__ import annotations

import time

import pytest

from raven.fanout import Refused, Status
from raven.fanout.filters import FILTERS, Delivery, Position, parse_filters
from raven.topics import DataType

BOOKS = (DataType.ORDERBOOK,)
TRADES = (DataType.TRADES,)


def test_books_conflate_and_trades_keep_every_message_unless_told_otherwise() -> None:
    filters = parse_filters({}, BOOKS + TRADES)

    assert filters.delivery(DataType.ORDERBOOK) == Delivery(depth=20, overflow="conflate")
    assert filters.delivery(DataType.QUOTES) == Delivery(overflow="conflate")
    assert filters.delivery(DataType.TRADES) == Delivery(overflow="gap")
    assert filters.delivery(DataType.CANDLES_1M) == Delivery(overflow="gap")


def test_conflation_of_a_mixed_request_concerns_its_states_only() -> None:
    filters = parse_filters({"conflate_ms": "100", "overflow": "conflate"}, BOOKS + TRADES)

    assert filters.delivery(DataType.ORDERBOOK) == Delivery(depth=20, conflate_ms=100, overflow="conflate")
    assert filters.delivery(DataType.TRADES) == Delivery(overflow="gap")


def test_disconnect_concerns_every_type() -> None:
    filters = parse_filters({"overflow": "disconnect"}, BOOKS + TRADES)

    assert {filters.delivery(kind).overflow for kind in BOOKS + TRADES} == {"disconnect"}


def test_every_filter_is_read() -> None:
    filters = parse_filters(
        {
            "depth": "5",
            "conflate_ms": "250",
            "overflow": "gap",
            "batch": "64",
            "heartbeat_ms": "1000",
            "venue": "binance_spot",
        },
        BOOKS,
    )

    assert (filters.batch, filters.heartbeat_ms, filters.venue) == (64, 1000, "binance_spot")
    assert filters.delivery(DataType.ORDERBOOK) == Delivery(depth=5, conflate_ms=250, overflow="gap")


def test_an_unknown_filter_names_the_nearest_known_one() -> None:
    with pytest.raises(Refused) as refusal:
        parse_filters({"dept": "5"}, BOOKS)

    assert refusal.value.status is Status.INVALID_ARGUMENT
    assert "'dept'" in refusal.value.message
    assert "did you mean 'depth'?" in refusal.value.message


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("depth", "0", "1 to 1000"),
        ("depth", "1001", "1 to 1000"),
        ("depth", "-5", "1 to 1000"),
        ("depth", "ten", "1 to 1000"),
        ("depth", "", "1 to 1000"),
        ("depth", "1_0", "1 to 1000"),
        ("depth", "٥", "1 to 1000"),
        ("depth", "5.0", "1 to 1000"),
        ("conflate_ms", "60001", "0 to 60000"),
        ("batch", "0", "1 to 4096"),
        ("heartbeat_ms", "99", "100 to 3600000"),
        ("overflow", "drop", "gap, conflate, disconnect"),
    ],
)
def test_a_value_that_makes_no_sense_names_what_is_allowed(key: str, value: str, allowed: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_filters({key: value}, BOOKS)

    assert refusal.value.status is Status.INVALID_ARGUMENT
    assert repr(key) in refusal.value.message
    assert allowed in refusal.value.message


@pytest.mark.parametrize("filters", [{"conflate_ms": "100"}, {"overflow": "conflate"}])
def test_trades_alone_cannot_be_conflated(filters: dict[str, str]) -> None:
    with pytest.raises(Refused, match="each one counts"):
        parse_filters(filters, TRADES)


def test_the_past_may_begin_at_a_moment_or_so_long_ago() -> None:
    assert parse_filters({"start": "1700000000000"}, TRADES).delivery(TRADES[0]).start_ns == 1_700_000_000 * 10**9
    an_hour_ago = parse_filters({"start": "-1h"}, TRADES).start_ns
    assert an_hour_ago is not None
    assert 0 <= time.time_ns() - 3600 * 10**9 - an_hour_ago < 60 * 10**9
    with pytest.raises(Refused, match=r"filter 'start': .*yesterday"):
        parse_filters({"start": "yesterday"}, TRADES)


def test_the_reference_table_explains_every_filter() -> None:
    assert [rule.key for rule in FILTERS] == [
        "depth",
        "conflate_ms",
        "overflow",
        "batch",
        "heartbeat_ms",
        "venue",
        "start",
        "after",
    ]
    assert all(rule.values and rule.default and rule.meaning.endswith(".") for rule in FILTERS)


def test_after_names_a_message_by_sequence_and_receive_time() -> None:
    filters = parse_filters({"after": "1207@1700000000000000000"}, TRADES)

    assert filters.delivery(DataType.TRADES).after == Position(1207, 1_700_000_000_000_000_000)
    assert parse_filters({}, TRADES).delivery(DataType.TRADES).after is None


@pytest.mark.parametrize("text", ["", "7", "7@", "@7", "-1@7", "7@x", "7@7@7", f"{2**63}@1", "٥@1"])
def test_after_that_names_no_message_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refused, match="1207@1700000000000000000"):
        parse_filters({"after": text}, TRADES)


def test_after_and_start_both_say_where_to_begin() -> None:
    with pytest.raises(Refused, match="both say where to begin"):
        parse_filters({"after": "7@7", "start": "-1h"}, TRADES)

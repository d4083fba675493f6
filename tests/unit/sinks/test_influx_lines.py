"""Every record has a point of its own, always the same one, and no digit is lost on the way."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.batches import (
    EVERY_TYPE,
    MS,
    START_NS,
    bars,
    bits,
    books,
    candles,
    gaps,
    quality,
    quotes,
    tick_bars,
    trades,
    vpin_bars,
)

from raven.ports import SinkBatch
from raven.sinks.influx import influx_lines


def written(batch: SinkBatch) -> list[str]:
    text = b"".join(influx_lines(batch).bodies(1 << 30)).decode()
    return text.split("\n")[:-1]


def points(batch: SinkBatch) -> list[tuple[str, int]]:
    """Series and time of each line: what InfluxDB knows a point by."""
    return [(line.split(" ")[0], int(line.rsplit(" ", 1)[1])) for line in written(batch)]


def fields(line: str) -> dict[str, str]:
    return dict(one.split("=", 1) for one in line.split(" ")[1].split(","))


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_every_record_has_its_own_point(name: str) -> None:
    batch = EVERY_TYPE[name](500)

    assert len(set(points(batch))) == 500


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_a_record_has_the_same_point_in_whatever_batch_it_comes(name: str) -> None:
    batch = EVERY_TYPE[name](50)
    halves = [SinkBatch(batch.type, batch.records.slice(*cut)) for cut in ((0, 20), (20, 30))]

    assert written(halves[0]) + written(halves[1]) == written(batch)


def test_ten_thousand_trades_of_one_millisecond_are_ten_thousand_points_in_it() -> None:
    batch = trades(10_000, first_id=2_999_995_000, per_ms=1, exchange_ns=START_NS)

    times = [time for _, time in points(batch)]

    assert len(set(times)) == 10_000
    assert {time // MS * MS for time in times} == {START_NS}


def test_times_of_microseconds_keep_them() -> None:
    batch = trades(3, exchange_ns=[START_NS + 5_000, START_NS + 5_000, START_NS + 6_000], id=[1_001, 1_002, 1_003])

    assert [time - START_NS for _, time in points(batch)] == [5_001, 5_002, 6_003]


def test_a_trade_collected_twice_in_different_runs_is_one_point() -> None:
    first = trades(1, sequence=10)
    again = trades(1, sequence=99, recv_ns=START_NS + 77 * MS)

    assert points(first) == points(again)


def test_quotes_of_one_moment_are_told_apart_by_their_sequence() -> None:
    assert len(set(points(quotes(3, id=5)))) == 3


def test_a_bar_that_comes_again_replaces_itself() -> None:
    first, rewritten = candles(1, sequence=1), candles(1, sequence=2, close=618_099, exchange_ns=START_NS + 99 * MS)

    assert points(first) == points(rewritten) == [("candles_1m,symbol=BTCUSDT,venue=binance_futures", START_NS)]
    assert fields(written(rewritten)[0])["close"] == "61809.9"


def test_a_corrected_bar_of_the_clock_is_the_same_point_whichever_trades_it_begins_and_ends_with() -> None:
    corrected = bars(1, first_trade_id=0, last_trade_id=101, quality=quality(1))

    assert points(corrected) == points(bars(1))
    assert points(bars(1)) == [("time_bars,interval=1m,symbol=BTCUSDT,venue=binance_futures", START_NS)]


def test_bars_of_one_millisecond_differ_by_their_first_trade_and_those_of_one_print_by_their_part() -> None:
    assert points(tick_bars(2, last_trade_id=77)) == [
        ("tick_bars,interval=tick_10,symbol=BTCUSDT,venue=binance_futures", START_NS + number) for number in (1, 11)
    ]
    assert points(vpin_bars(2)) == [
        (f"vpin_bars,interval=vpin_0.5_50,{part}symbol=BTCUSDT,venue=binance_futures", START_NS + 7)
        for part in ("", "part=1,")
    ]


def test_what_replaces_a_bar_says_everything_also_that_nothing_is_to_be_said() -> None:
    one, other = written(bars(2, flags=[4, 0], theta=[bits(1e300), bits(-0.25)]))

    assert fields(one).keys() == fields(other).keys()
    assert (fields(one)["flags"], fields(other)["flags"]) == ("4i", "0i")
    assert (float(fields(one)["theta"]), fields(other)["theta"]) == (1e300, "-0.25")


def test_what_is_no_number_is_left_out() -> None:
    (line,) = written(bars(1, theta=bits(float("nan")), threshold=bits(float("inf"))))

    assert not {"theta", "threshold"} & fields(line).keys()


def test_gaps_that_the_journal_found_have_points_of_their_own() -> None:
    assert len(set(points(gaps(3, exchange_ns=START_NS)))) == 3


def test_a_trade_says_what_it_was() -> None:
    (line,) = written(trades(1, first_id=7, flags=8))

    assert line.startswith("trades,side=sell,symbol=BTCUSDT,venue=binance_futures ")
    assert fields(line) == {
        "price": "61800.7", "quantity": "0.008", "id": "7i", "recv_ns": f"{START_NS + 4 * MS + 7}i",
        "first_fill_id": "14i", "last_fill_id": "15i", "flags": "8i",
    }  # fmt: skip


def test_what_is_zero_for_nearly_all_is_left_out() -> None:
    (line,) = written(trades(1, first_fill_id=0, last_fill_id=0))

    assert set(fields(line)) == {"price", "quantity", "id", "recv_ns"}


def test_digits_that_a_double_cannot_hold_are_kept_as_text() -> None:
    long = trades(2, price=[1_234_567_890_123_456_789, 10], price_scale=18)

    with_text, without = written(long)

    assert fields(with_text)["exact"] == '"price=1.234567890123456789"'
    assert "exact" not in fields(without)


def test_a_rewritten_bar_also_replaces_such_text() -> None:
    assert fields(written(candles(1))[0])["exact"] == '""'


def test_a_book_has_its_best_levels_as_numbers_and_all_as_text() -> None:
    (line,) = written(books(1, levels=20))

    assert "bid_price_1=61799.9,bid_price_2=61799.8," in line
    assert 'bids="[[61799.9,0.01],[61799.8,0.011],' in line
    assert line.count("],[") == 2 * 19


def test_a_book_with_few_or_no_levels_has_only_those() -> None:
    (line,) = written(books(1, ask_prices=[[]], ask_quantities=[[]], levels=2))

    assert "bid_price_2=" in line
    assert "bid_price_3" not in line
    assert "ask_price_1" not in line
    assert 'asks="[]"' in line


def test_prices_come_back_as_they_were() -> None:
    batch = trades(200)

    found = [Decimal(fields(line)["price"]) for line in written(batch)]

    assert found == batch.records["price"].to_pylist()

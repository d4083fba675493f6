"""Bad input through the Python face: each is refused once, with a reason, and nothing breaks.

B1 malformed, B2 wrong values, B3 wrong names, B4 prices that jump.
"""

from __future__ import annotations

import pytest

from raven._core import IGNORED, PUBLISHED, REJECT_EXPLANATIONS, REJECT_REASONS, REJECTED, Engine, Hub

NOW_MS = 1_723_161_256_313
NOW_NS = NOW_MS * 1_000_000


def trade(trade_id: object = 1, price: str = '"100.5"', quantity: str = '"2"', time_ms: object = NOW_MS) -> bytes:
    return (
        f'{{"e":"trade","E":{NOW_MS},"T":{time_ms},"s":"BTCUSDT","t":{trade_id},"p":{price},"q":{quantity},"m":false}}'
    ).encode()


class Rig:
    def __init__(self, **options: object) -> None:
        self.hub = Hub()
        self.engine = Engine(self.hub, **options)  # type: ignore[arg-type]
        self.venue = self.engine.add_venue("test", "futures")
        self.instrument = self.engine.add_instrument(self.venue, "BTCUSDT")
        self.connection = self.engine.open_connection(self.venue)

    def frame(self, raw: bytes) -> int:
        return self.engine.on_frame(self.connection, NOW_NS, raw)

    def refusal(self, raw: bytes) -> str:
        """Feed one frame that must be refused once and kept with its bytes; return the reason."""
        bits = self.frame(raw)
        assert bits & REJECTED, raw[:100]
        assert not bits & PUBLISHED
        (event, connection, _, reason, _, kept) = self.engine.take_events()[0]
        assert (event, connection, kept) == ("rejected", self.connection, raw[:65_536])
        assert sum(self.engine.rejects().values()) == 1
        return reason

    def assert_alive(self) -> None:
        """The connection is kept: a good frame is published."""
        assert self.frame(trade(trade_id=10)) & PUBLISHED
        counters = self.engine.counters(self.instrument)
        assert counters["received"] == sum(
            counters[key] for key in ("published", "rejected", "ignored", "gap", "pending")
        )


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_every_reason_is_explained() -> None:
    assert len(REJECT_REASONS) == len(set(REJECT_REASONS)) == len(REJECT_EXPLANATIONS)
    assert all(explanation.endswith(".") for explanation in REJECT_EXPLANATIONS)


# --- B1: malformed ---


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "truncated"),
        (trade()[:-10], "truncated"),
        (trade() + b"}", "trailing_bytes"),
        (trade().replace(b',"q"', b',"p":"7","q"'), "duplicate_key"),
        (trade().replace(b'"E"', b'"x":' + b"[" * 10_000 + b"]" * 10_000 + b',"E"'), "too_deep"),
        (b"<html>502 Bad Gateway</html>", "malformed_json"),
        (trade().replace(b',"T"', b',,"T"'), "malformed_json"),
    ],
)
def test_malformed_frames_are_refused_once_and_the_connection_is_kept(rig: Rig, raw: bytes, reason: str) -> None:
    assert rig.refusal(raw) == reason
    rig.assert_alive()


# --- B2: wrong types and numbers ---


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (trade(price="61800.2"), "wrong_type"),
        (trade(price="null"), "wrong_type"),
        (trade(trade_id='"7"'), "wrong_type"),
        (trade(trade_id="1.5"), "wrong_type"),
        (trade(price='"1e999"'), "not_a_number"),
        (trade(price='"NaN"'), "not_a_number"),
        (trade(price='"Infinity"'), "not_a_number"),
        (trade(price='"-0"'), "negative_value"),
        (trade(price='"-1.5"'), "negative_value"),
        (trade(price='"0.00"'), "zero_price"),
        (trade(quantity='"0"'), "zero_quantity"),
        (trade(price=f'"{"9" * 40}"'), "number_out_of_range"),
        (trade(price='"1.' + "1" * 40 + '"'), "number_out_of_range"),
        (trade(trade_id=2**63), "number_out_of_range"),
        (trade(trade_id=-1), "negative_value"),
        (trade(time_ms=0), "timestamp_out_of_range"),
        (trade(time_ms=1_723_161_256), "timestamp_out_of_range"),
    ],
)
def test_wrong_values_have_a_reason_of_their_own(rig: Rig, raw: bytes, reason: str) -> None:
    assert rig.refusal(raw) == reason
    rig.assert_alive()


def test_a_time_in_microseconds_is_repaired_only_when_that_is_allowed() -> None:
    raw = trade(time_ms=NOW_MS * 1000)

    lenient = Rig()
    assert lenient.frame(raw) & PUBLISHED
    assert Rig(sanitize=False).refusal(raw) == "timestamp_out_of_range"


# --- B3: names ---


def test_a_name_that_is_not_text_is_refused(rig: Rig) -> None:
    assert rig.refusal(trade().replace(b"BTCUSDT", b"BTC\xff\xfe")) == "invalid_utf8"
    rig.assert_alive()


def test_a_control_character_in_a_name_is_refused(rig: Rig) -> None:
    assert rig.refusal(trade().replace(b"BTCUSDT", b"BTC\0")) == "malformed_json"
    rig.assert_alive()


def test_a_renamed_field_is_missed(rig: Rig) -> None:
    assert rig.refusal(trade().replace(b'"p"', b'"price"')) == "missing_field"
    rig.assert_alive()


def test_symbols_that_are_not_collected_are_ignored_and_counted(rig: Rig) -> None:
    for symbol in (b"ETHUSDT", b"X" * 1_000_000):
        assert rig.frame(trade().replace(b"BTCUSDT", symbol)) & IGNORED

    assert rig.engine.totals()["not_collected"] == 2
    rig.assert_alive()


def test_a_new_event_type_is_counted_by_its_name(rig: Rig) -> None:
    for number in range(200):
        rig.frame(f'{{"e":"new{number % 100}","s":"BTCUSDT"}}'.encode())

    names = dict(rig.engine.unknown_events())
    assert len(names) == 65
    assert names["new0"] == 2
    assert sum(names.values()) == 200
    rig.assert_alive()


def test_a_frame_beyond_the_limit_is_refused_and_only_its_beginning_kept() -> None:
    rig = Rig(max_frame_bytes=100_000, quarantine_bytes=65_536)

    assert rig.refusal(trade() + b" " * 100_000) == "frame_too_large"
    rig.assert_alive()


# --- B4: price jumps ---


def test_a_price_jump_is_refused_and_a_real_move_gets_through() -> None:
    rig = Rig(max_price_deviation=10.0, deviation_confirmations=3)
    prices = ["100", "125", "101", "80", "79.5", "79", "78.5"]

    bits = [rig.frame(trade(trade_id=number, price=f'"{price}"')) for number, price in enumerate(prices, 1)]

    assert [bool(bit & PUBLISHED) for bit in bits] == [True, False, True, False, False, True, True]
    assert rig.engine.rejects()["price_deviation"] == 3


def test_refused_trades_leave_marks_for_readers() -> None:
    rig = Rig(max_price_deviation=10.0)
    topic = rig.hub.find("test", "BTCUSDT", 1)
    assert topic is not None
    reader = rig.hub.reader(topic)

    for number, price in enumerate(["100", "200", "101"], 1):
        rig.frame(trade(trade_id=number, price=f'"{price}"'))

    assert [(record.kind, record.id) for record in reader.drain()] == [(2, 1), (7, 2), (2, 3)]


def test_a_clock_that_differs_is_a_reason_only_when_a_bound_is_set() -> None:
    raw = trade(time_ms=NOW_MS + 5_000)

    assert Rig().frame(raw) & PUBLISHED
    assert Rig(max_clock_skew_ms=1_000).refusal(raw) == "clock_skew"

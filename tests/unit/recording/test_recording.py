import gzip

import pytest

from raven.errors import DataValidation
from raven.recording import DepthAnswer, depth_answer, market_of, read_recording, stream_name

ANSWER = b'{"lastUpdateId":7,"bids":[["100.20","0.500"]],"asks":[]}'


def test_several_files_are_one_recording_and_every_line_knows_its_place(tmp_path):
    first, second = tmp_path / "a.gz", tmp_path / "b.txt"
    first.write_bytes(gzip.compress(b'5 {"e":1}\n\n6 {"e":2}\n'))
    second.write_bytes(b'9 {"e":3}\r\n')

    lines = list(read_recording([first, second]))

    assert lines == [(0, 1, 5, b'{"e":1}'), (0, 3, 6, b'{"e":2}'), (1, 1, 9, b'{"e":3}')]


@pytest.mark.parametrize("text", [b"hello", b"x {}", b"12", b'{"e":1}'])
def test_a_line_without_time_or_message_is_named(tmp_path, text):
    path = tmp_path / "odd"
    path.write_bytes(b"5 {}\n" + text + b"\n")

    with pytest.raises(DataValidation, match="odd:2: expected"):
        list(read_recording([path]))


def test_a_damaged_archive_says_how_far_it_could_be_read(tmp_path):
    whole = gzip.compress(b"".join(b'%d {"e":%d}\n' % (stamp, stamp**3) for stamp in range(10_000)))
    cut, spoiled = tmp_path / "cut.gz", tmp_path / "spoiled.gz"
    cut.write_bytes(whole[:-20])
    # The byte after the ten of gzip's header says what kind of block follows; there is none of this kind.
    spoiled.write_bytes(whole[:10] + b"\xff" + whole[11:])

    with pytest.raises(DataValidation, match=r"cut\.gz: cannot be read after line \d+"):
        list(read_recording([cut]))
    with pytest.raises(DataValidation, match=r"spoiled\.gz: cannot be read: .*invalid"):
        list(read_recording([spoiled]))


def test_depth_answers_are_found_bare_and_wrapped_and_kept_byte_for_byte():
    named = b'{"lastUpdateId":7,"symbol":"BTCUSD_PERP","bids":[],"asks":[]}'
    wrapped = b'{"rest":"/fapi/v1/depth?symbol=ctkusdt&limit=500","body": ' + ANSWER + b"}"

    assert depth_answer(ANSWER) == DepthAnswer("", 1000, ANSWER)
    assert depth_answer(named) == DepthAnswer("BTCUSD_PERP", 1000, named)
    assert depth_answer(wrapped) == DepthAnswer("CTKUSDT", 500, ANSWER)
    assert depth_answer(b'{"e":"trade"}') is None


def test_a_broken_depth_answer_is_refused():
    with pytest.raises(DataValidation, match="is broken"):
        depth_answer(b'{"lastUpdateId":7,')


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"e": "depthUpdate", "s": "BTCUSDT"}, "btcusdt@depth"),
        ({"e": "kline", "s": "BTCUSDT", "k": {"i": "5m"}}, "btcusdt@kline_5m"),
        ({"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}, "btcusdt@bookTicker"),
        ({"e": "forceOrder", "o": {"s": "BTCUSDT"}}, "btcusdt@forceOrder"),
        ({"e": "depthUpdate"}, ""),
        ({"what": 1}, ""),
        ([1], ""),
    ],
)
def test_frames_without_wrapper_are_named_by_their_event(event, name):
    assert stream_name(event) == name


@pytest.mark.parametrize(
    ("event", "market"),
    [
        ({"e": "depthUpdate", "s": "BTCUSDT", "U": 1, "u": 2}, "spot"),
        ({"e": "depthUpdate", "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0}, "usdm"),
        ({"e": "depthUpdate", "s": "BTCUSDT_261225", "U": 1, "u": 2, "pu": 0}, "usdm"),
        ({"e": "depthUpdate", "s": "BTCUSD_PERP", "U": 1, "u": 2, "pu": 0}, "coinm"),
        ({"e": "trade", "s": "BTCUSDT", "t": 1, "m": True, "M": True}, "spot"),
        ({"e": "trade", "s": "BTCUSDT", "t": 1, "m": True, "X": "MARKET"}, "usdm"),
        ({"u": 7, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}, "spot"),
        ({"e": "bookTicker", "u": 7, "s": "BTCUSD_PERP", "ps": "BTCUSD", "A": "1"}, "coinm"),
        ({"lastUpdateId": 7, "bids": [], "asks": []}, "spot"),
        ({"lastUpdateId": 7, "E": 1, "T": 1, "bids": [], "asks": []}, "usdm"),
    ],
)
def test_an_event_tells_its_market(event: dict[str, object], market: str) -> None:
    assert market_of(event) == market

import gzip

import pytest

from raven.exchange.markets import Market
from raven.exchange.recording import RecordingError, infer_instrument, parse_line, survey

SNAPSHOT = b'{"lastUpdateId":7,"bids":[["100.20","0.500"],["99.90","1.250"]],"asks":[["100.30","2.000"]]}'


def test_a_wrapped_frame_keeps_its_data_byte_for_byte():
    line = parse_line(b'12 {"stream":"btcusdt@trade","data":{"e":"trade", "p":"1.0"}}\n')

    assert line == (12, "btcusdt@trade", "", b'{"e":"trade", "p":"1.0"}')


def test_rest_answers_are_found_bare_and_wrapped():
    bare = parse_line(b"12 " + SNAPSHOT)
    named = parse_line(b'12 {"lastUpdateId":7,"symbol":"BTCUSD_PERP","bids":[],"asks":[]}')
    wrapped = parse_line(b'12 {"rest":"/fapi/v1/depth?symbol=CTKUSDT&limit=1000","body":' + SNAPSHOT + b"}")

    assert (bare.stream, bare.symbol, bare.body) == ("", "", SNAPSHOT)
    assert named.symbol == "BTCUSD_PERP"
    assert (wrapped.symbol, wrapped.body) == ("CTKUSDT", SNAPSHOT)


@pytest.mark.parametrize(
    ("frame", "stream"),
    [
        (b'{"e":"depthUpdate","s":"BTCUSDT"}', "btcusdt@depth"),
        (b'{"e":"kline","s":"BTCUSDT","k":{"i":"5m"}}', "btcusdt@kline_5m"),
        (b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}', "btcusdt@bookTicker"),
        (b'{"e":"forceOrder","o":{"s":"BTCUSDT"}}', "btcusdt@forceOrder"),
    ],
)
def test_raw_frames_are_named_by_their_event(frame, stream):
    assert parse_line(b"5 " + frame).stream == stream


@pytest.mark.parametrize("text", [b"hello", b"12 hello", b"x {}", b'12 {"what":1}', b"12 [1]"])
def test_other_lines_are_refused(text):
    with pytest.raises(RecordingError):
        parse_line(text)


def test_a_survey_tells_streams_symbols_and_snapshots(tmp_path):
    first, second = tmp_path / "a.gz", tmp_path / "b.txt"
    first.write_bytes(gzip.compress(b'5 {"stream":"btcusdt@trade","data":{}}\n6 ' + SNAPSHOT + b"\n"))
    second.write_bytes(b'9 {"stream":"btcusdt@depth@0ms","data":{}}\n')

    contents = survey([first, second])

    assert contents.streams == {"btcusdt@trade": 1, "btcusdt@depth@0ms": 1}
    assert (contents.lines, contents.first_ns, contents.last_ns) == (3, 5, 9)
    assert contents.symbols == ["BTCUSDT"]
    assert contents.snapshots["BTCUSDT"].body == SNAPSHOT


def test_a_broken_recording_is_named_with_its_line(tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b'5 {"stream":"btcusdt@trade","data":{}}\nnonsense\n')
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"5 {}\n" * 1000)[:-20])

    with pytest.raises(RecordingError, match="broken:2: expected"):
        survey([broken])
    with pytest.raises(RecordingError, match=r"cut\.gz"):
        survey([cut])
    with pytest.raises(RecordingError, match="cannot be read"):
        survey([tmp_path / "absent"])


def test_steps_are_inferred_from_the_levels():
    instrument = infer_instrument(Market.USDM, "CTKBUSD", SNAPSHOT)

    assert (instrument.tick_text(), instrument.lot_text()) == ("0.10", "0.250")
    assert instrument.price_text(instrument.start_ticks) == "100.20"

import gzip

import pytest

from raven.errors import DataValidation
from raven.exchange.markets import Market
from raven.exchange.replay.recorded_streams import infer_instrument, parse_line, survey

SNAPSHOT = b'{"lastUpdateId":7,"bids":[["100.20","0.500"],["99.90","1.250"]],"asks":[["100.30","2.000"]]}'


def test_a_wrapped_frame_keeps_its_data_byte_for_byte():
    line = parse_line(12, b'{"stream":"btcusdt@trade","data":{"e":"trade", "p":"1.0"}}')

    assert line == (12, "btcusdt@trade", "", b'{"e":"trade", "p":"1.0"}')


def test_a_rest_answer_belongs_to_no_stream():
    bare = parse_line(12, SNAPSHOT)
    wrapped = parse_line(12, b'{"rest":"/fapi/v1/depth?symbol=CTKUSDT&limit=1000","body":' + SNAPSHOT + b"}")

    assert bare == (12, "", "", SNAPSHOT)
    assert wrapped == (12, "", "CTKUSDT", SNAPSHOT)


def test_a_raw_frame_is_named_by_its_event():
    frame = b'{"e":"depthUpdate","s":"BTCUSDT"}'

    assert parse_line(5, frame) == (5, "btcusdt@depth", "", frame)


@pytest.mark.parametrize("message", [b"hello", b'{"what":1}', b"[1]", b'{"stream":"btcusdt@trade"}'])
def test_other_messages_are_refused(message):
    with pytest.raises(DataValidation, match="neither a stream frame nor a depth answer"):
        parse_line(12, message)


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
    cut.write_bytes(gzip.compress(b'5 {"stream":"btcusdt@trade","data":{}}\n' * 1000)[:-20])

    odd = tmp_path / "odd"
    odd.write_bytes(b'5 {"stream":"btcusdt@trade","data":{}}\n6 {"what":1}\n')

    with pytest.raises(DataValidation, match="odd:2: neither"):
        survey([odd])
    with pytest.raises(DataValidation, match="broken:2: expected"):
        survey([broken])
    with pytest.raises(DataValidation, match="cannot be read"):
        survey([tmp_path / "absent"])
    told = []
    assert 0 < survey([cut], told.append).lines < 1001
    assert [str(damage.path) for damage in told] == [str(cut)]


def test_steps_are_inferred_from_the_levels():
    instrument = infer_instrument(Market.USDM, "CTKBUSD", SNAPSHOT)

    assert (instrument.tick_text(), instrument.lot_text()) == ("0.10", "0.250")
    assert instrument.price_text(instrument.start_ticks) == "100.20"

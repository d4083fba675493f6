import pytest

from raven.exchange.markets import RULES, Market
from raven.exchange.timeline import MS
from raven.exchange.wire.streams import parse_stream, text_frame


def parse(market, text):
    return parse_stream(Market(market), RULES[Market(market)], text, 10 * MS)


@pytest.mark.parametrize(
    ("market", "text", "kind", "period_ms"),
    [
        ("spot", "btcusdt@depth", "depth", 1000),
        ("spot", "btcusdt@depth@100ms", "depth", 100),
        ("usdm", "btcusdt@depth", "depth", 250),
        ("usdm", "btcusdt@depth@500ms", "depth", 500),
        ("usdm", "btcusdt@depth@0ms", "depth", 10),
        ("coinm", "btcusd_perp@depth@100ms", "depth", 100),
        ("spot", "btcusdt@depth5", "partial", 1000),
        ("usdm", "btcusdt@depth20@100ms", "partial", 100),
        ("spot", "btcusdt@kline_1s", "kline", 1000),
        ("spot", "btcusdt@kline_1m", "kline", 2000),
        ("usdm", "btcusdt@kline_1M", "kline", 250),
        ("usdm", "btcusdt@markPrice", "markPrice", 3000),
        ("usdm", "btcusdt@markPrice@1s", "markPrice", 1000),
        ("usdm", "!markPrice@arr@1s", "!markPrice", 1000),
        ("coinm", "!bookTicker", "!bookTicker", 5000),
    ],
)
def test_names_of_the_documentation_are_understood(market, text, kind, period_ms):
    name = parse(market, text)

    assert (name.kind, name.period_ns // MS) == (kind, period_ms)


@pytest.mark.parametrize(
    ("market", "text"),
    [
        ("spot", "btcusdt@markPrice"),
        ("spot", "btcusdt@forceOrder"),
        ("spot", "btcusdt@depth@0ms"),
        ("spot", "btcusdt@depth7"),
        ("usdm", "btcusdt@kline_1s"),
        ("usdm", "btcusdt@kline_7m"),
        ("usdm", "BTCUSDT@trade"),
        ("usdm", "btcusdt"),
        ("usdm", "btcusdt@nothing"),
        ("spot", "!bookTicker"),
        ("usdm", ""),
    ],
)
def test_names_that_a_market_does_not_have_are_not(market, text):
    assert parse(market, text) is None


def test_books_and_raw_trades_are_public_and_the_rest_is_market():
    public = ["btcusdt@depth", "btcusdt@depth5", "btcusdt@bookTicker", "!bookTicker", "btcusdt@trade"]
    market = ["btcusdt@aggTrade", "btcusdt@kline_1m", "btcusdt@markPrice", "!forceOrder@arr"]

    assert {parse("usdm", text).category for text in public} == {"public"}
    assert {parse("usdm", text).category for text in market} == {"market"}


@pytest.mark.parametrize(
    ("size", "header"),
    [(5, b"\x81\x05"), (126, b"\x81\x7e\x00\x7e"), (70_000, b"\x81\x7f" + (70_000).to_bytes(8, "big"))],
)
def test_frames_have_the_header_of_their_length(size, header):
    frame = text_frame(b"x" * size)

    assert frame == header + b"x" * size


def test_a_frame_is_built_once_for_all_listeners_of_a_form(venue):
    market = venue("spot")
    first, second = market.listen("btcusdt@trade"), market.listen("btcusdt@trade")
    combined, micro = market.listen("btcusdt@trade", form=1), market.listen("btcusdt@trade", form=2)

    market.advance(2)

    assert first.out
    assert all(one is other for one, other in zip(first.out, second.out, strict=True))
    assert [message["data"] for message in combined.messages()] == first.messages()
    assert combined.messages()[0]["stream"] == "btcusdt@trade"
    assert [message["T"] // 1000 for message in micro.messages()] == [message["T"] for message in first.messages()]


def test_a_stream_ends_with_its_last_listener(venue):
    market = venue("usdm")
    ear = market.listen("btcusdt@depth@100ms")
    market.advance(1)
    heard = len(ear.out)

    market.hub.detach("btcusdt@depth@100ms", 0, ear)
    market.advance(1)

    assert heard > 5
    assert len(ear.out) == heard
    assert market.hub.streams == {}

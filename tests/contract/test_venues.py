"""The contract of every exchange: run on each name in `raven.registry.VENUES`.

A new exchange is registered, and this suite runs on it; see docs/how-to/add-an-exchange.md. What it cannot know (the
exact names and weights) belongs to the exchange's own tests, with the source of every figure.
"""

from __future__ import annotations

from itertools import product
from urllib.parse import urlsplit

import pytest

from raven.errors import DataValidation
from raven.ports import Venue
from raven.registry import VENUES, load
from raven.topics import DataType

SYMBOL = "BTCUSDT"
PROMISED = (DataType.ORDERBOOK, DataType.TRADES, DataType.QUOTES)


@pytest.fixture(params=VENUES)
def venue(request: pytest.FixtureRequest) -> Venue:
    return load(VENUES, request.param, "venue")(ws_url="", rest_url="")


def test_it_goes_by_its_registered_name(venue: Venue) -> None:
    assert venue.name in VENUES


def test_its_sequence_rule_is_one_the_engine_knows(venue: Venue) -> None:
    assert venue.sequence_rule in ("spot", "futures")


def test_its_addresses_are_secure_unless_told_otherwise(venue: Venue) -> None:
    assert urlsplit(venue.ws_url).scheme == "wss"
    assert urlsplit(venue.rest_url).scheme == "https"


def test_a_configured_address_is_used_for_everything(venue: Venue) -> None:
    local = load(VENUES, venue.name, "venue")(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:2")

    urls = {local.connection_url(stream.category) for kind in DataType for stream in local.streams(SYMBOL, kind)}

    assert all(url.startswith("ws://127.0.0.1:1/") for url in urls)
    assert local.rest_url == "http://127.0.0.1:2"


def test_it_has_books_trades_and_quotes(venue: Venue) -> None:
    assert all(venue.streams(SYMBOL, kind) for kind in PROMISED)


def test_every_stream_belongs_to_one_symbol_and_one_data_type(venue: Venue) -> None:
    names = [
        stream.name for symbol, kind in product((SYMBOL, "ETHUSDT"), DataType) for stream in venue.streams(symbol, kind)
    ]

    assert len(names) == len(set(names))


def test_every_category_has_an_address(venue: Venue) -> None:
    categories = {stream.category for kind in DataType for stream in venue.streams(SYMBOL, kind)}

    assert all(urlsplit(venue.connection_url(category)).netloc for category in categories)


def test_a_request_and_its_answer_find_each_other(venue: Venue) -> None:
    for number in (1, 2**31):
        assert str(number).encode() in venue.subscribe(number, ["a", "b"])
        assert str(number).encode() in venue.unsubscribe(number, ["a"])
    assert venue.subscribe(1, ["a"]) != venue.unsubscribe(1, ["a"])


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"{}", b'{"id":{}}'])
def test_an_answer_that_makes_no_sense_is_told_and_not_raised(venue: Venue, raw: bytes) -> None:
    reply = venue.reply(raw)

    assert reply.request_id is None


def test_a_deeper_book_never_costs_less_and_holds_what_was_asked(venue: Venue) -> None:
    depths = (5, 20, 100, 500, 1000)
    requests = [venue.depth_request(SYMBOL, depth) for depth in depths]

    assert [request.weight for request in requests] == sorted(request.weight for request in requests)
    assert all(venue.depth_limit(depth) >= depth for depth in depths)
    assert all(request.path.startswith("/") and SYMBOL in request.path for request in requests)


@pytest.mark.parametrize("symbol", ["A&limit=5", "A B", "A/../B", "A#B", "A?b"])
def test_a_strange_symbol_cannot_change_the_request(venue: Venue, symbol: str) -> None:
    plain = urlsplit(venue.depth_request("PLAIN", 100).path)
    strange = urlsplit(venue.depth_request(symbol, 100).path)

    assert strange.path == plain.path
    assert strange.fragment == ""
    assert strange.query.count("&") == plain.query.count("&")
    assert " " not in strange.query


def test_its_limits_leave_room_to_work(venue: Venue) -> None:
    limits = venue.limits

    assert limits.messages_per_second >= 2
    assert 1 <= limits.streams_per_message <= limits.streams_per_connection
    assert limits.connections_per_five_minutes >= 1
    assert limits.request_weight_per_minute >= venue.depth_request(SYMBOL, 1000).weight
    assert limits.max_age_s > 600


def test_a_broken_list_of_symbols_is_refused_by_name(venue: Venue) -> None:
    with pytest.raises(DataValidation, match=venue.name):
        venue.instruments(b"<html>maintenance</html>")

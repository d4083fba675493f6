import json

import pytest

from raven.exchange.wire.control_messages import RequestRefused, parse_request


def refusal(payload, *, text_ids=False):
    with pytest.raises(RequestRefused) as caught:
        parse_request(payload, text_ids=text_ids)
    return json.loads(caught.value.answer)


def test_a_subscription_is_read():
    request = parse_request(b'{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":7}', text_ids=False)

    assert (request.method, request.params, request.request_id) == ("SUBSCRIBE", ["btcusdt@trade"], 7)


@pytest.mark.parametrize("request_id", ['"abc-1"', "null", "-5", "9223372036854775807"])
def test_spot_takes_texts_null_and_signed_numbers_as_id(request_id):
    payload = f'{{"method":"LIST_SUBSCRIPTIONS","id":{request_id}}}'.encode()

    assert parse_request(payload, text_ids=True).request_id == json.loads(request_id)
    assert refusal(payload)["error"]["code"] == 2 if request_id != "9223372036854775807" else True


@pytest.mark.parametrize(
    ("payload", "code", "part"),
    [
        (b"{not json", 3, "Invalid JSON: expected value at line 1 column 2"),
        (b"[" * 100_000, 3, "Invalid JSON"),
        (b"[1,2]", 2, "Invalid request"),
        (b'{"method":"SUBSCRIBE","params":["a"]}', 2, "request ID must be an unsigned integer"),
        (b'{"method":"SUBSCRIBE","params":["a"],"id":true}', 2, "request ID must be an unsigned integer"),
        (b'{"params":[],"id":1}', 2, "missing field `method`"),
        (b'{"method":"BUY","id":1}', 2, "unknown variant `BUY`, expected one of `SUBSCRIBE`"),
        (b'{"method":"SUBSCRIBE","params":"a","id":1}', 2, "expected a sequence"),
        (b'{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "list of stream names"),
        (b'{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":1}', 2, "too many parameters"),
        (b'{"method":"GET_PROPERTY","params":[],"id":1}', 2, "property name must be a string"),
        (b'{"method":"GET_PROPERTY","params":["speed"],"id":1}', 0, "Unknown property"),
        (b'{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1, "expected Boolean"),
    ],
)
def test_mistakes_get_the_documented_code_and_message(payload, code, part):
    error = refusal(payload)["error"]

    assert error["code"] == code
    assert part in error["msg"]


def test_an_error_carries_the_id_of_its_request():
    assert refusal(b'{"method":"BUY","id":31}')["id"] == 31

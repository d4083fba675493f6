"""What one request and one client may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raven.fanout import Heartbeat, Limits, Refused, Status, Subscribe, Unsubscribe
from raven.fanout.requests import parse_subscribe, parse_unsubscribe

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.fanout.conftest import Scene

LIMITS = Limits()


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Subscribe("c", ["BTCUSDT"] * 10_000, [1]), "10000 entries, at most 1000"),
        (Subscribe("x" * 1_000_000, ["BTCUSDT"], [1]), "(1000000 characters); at most 128"),
        (Subscribe("c", ["B" * 65], [1]), "symbols[0]"),
        (Subscribe("c", ["BTCUSDT", ""], [1]), "symbols[1] is ''"),
        (Subscribe("c", ["BTC USDT"], [1]), "without spaces"),
        (Subscribe("c", ["BTC\x00"], [1]), "control characters"),
        (Subscribe("a\nb", ["BTCUSDT"], [1]), "control characters"),
        (Subscribe("c", ["BTCUSDT"], []), "data_types is empty; name at least one of ORDERBOOK (0)"),
        (Subscribe("c", [], [1]), "symbols is empty"),
        (Subscribe("c", ["BTCUSDT"], [42]), "data_types has 42"),
        (Subscribe("c", ["BTCUSDT"], [1], {"depth": "9" * 65}), "filters['depth']"),
        (Subscribe("c", ["BTCUSDT"], [1], {f"key{n}": "1" for n in range(17)}), "17 entries, at most 16"),
    ],
)
def test_a_request_that_is_too_large_or_malformed_names_the_value_and_the_limit(request_: Subscribe, says: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_subscribe(request_, LIMITS)

    assert refusal.value.status is Status.INVALID_ARGUMENT
    assert says in refusal.value.message
    assert len(refusal.value.message) < 400


def test_a_wallet_is_refused_by_name() -> None:
    with pytest.raises(Refused) as refusal:
        parse_subscribe(Subscribe("c", ["BTCUSDT"], [6]), LIMITS)

    assert refusal.value.status is Status.UNIMPLEMENTED
    assert "WALLET_UPDATES" in refusal.value.message


def test_symbols_are_taken_in_any_case_and_once() -> None:
    wish = parse_subscribe(Subscribe("c", ["btcusdt", "BTCUSDT", "ethusdt"], [1, 1, 0]), LIMITS)

    assert wish.symbols == ("BTCUSDT", "ETHUSDT")
    assert [kind.name for kind in wish.kinds] == ["TRADES", "ORDERBOOK"]


def test_an_unsubscribe_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(Refused, match="data_types has 9"):
        parse_unsubscribe(Unsubscribe("c", [], [9]), LIMITS)


async def test_a_client_holds_no_more_topics_than_it_may(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(Limits(max_topics_per_client=3))
    await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [0, 1]))

    with pytest.raises(Refused) as refusal:
        await scene.fanout.subscribe(Subscribe("desk", ["ETHUSDT"], [0, 1]))

    assert refusal.value.status is Status.RESOURCE_EXHAUSTED
    assert "holds 2 topics and asks for 2 more; the limit is 3" in refusal.value.message
    again = await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [0, 1]))
    assert again.success, "asking again for what it holds adds nothing"


async def test_the_server_knows_no_more_clients_than_it_may(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(Limits(max_clients=1))
    await scene.fanout.subscribe(Subscribe("first", ["BTCUSDT"], [1]))

    with pytest.raises(Refused) as refusal:
        await scene.fanout.subscribe(Subscribe("second", ["BTCUSDT"], [1]))

    assert refusal.value.status is Status.RESOURCE_EXHAUSTED
    await scene.fanout.unsubscribe(Unsubscribe("first"))
    assert (await scene.fanout.subscribe(Subscribe("second", ["BTCUSDT"], [1]))).success


async def test_a_client_opens_no_more_streams_than_it_may(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(Limits(max_streams_per_client=1))
    for stream_id in (1, 2):
        scene.fanout.stream_opened(stream_id, "peer")
        scene.fanout.stream_message(stream_id, Subscribe("desk", ["BTCUSDT"], [1]))

    await scene.until(lambda: 2 in scene.streams.ended and 1 in scene.streams.attached)

    assert scene.streams.ended[2][0] == Status.RESOURCE_EXHAUSTED
    assert list(scene.streams.attached) == [1]


async def test_a_stream_that_floods_requests_is_ended(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(Limits(max_pending_requests=4))
    scene.fanout.stream_opened(1, "peer")

    for _ in range(6):
        scene.fanout.stream_message(1, Subscribe("desk", ["BTCUSDT"], [1]))

    assert scene.streams.ended[1][0] == Status.RESOURCE_EXHAUSTED
    assert "send fewer, larger requests" in scene.streams.ended[1][1]


async def test_heartbeats_are_not_counted_as_pending_requests(scene: Scene) -> None:
    scene.fanout.stream_opened(1, "peer")
    scene.fanout.stream_message(1, Subscribe("desk", ["BTCUSDT"], [1]))
    await scene.until(lambda: bool(scene.streams.attached.get(1)))

    for _ in range(1000):
        scene.fanout.stream_message(1, Heartbeat("desk"))

    assert scene.streams.ended == {}

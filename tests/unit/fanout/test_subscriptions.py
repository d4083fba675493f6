"""Who hears what: requests become demand on the collector and cursors on the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from raven.errors import ConfigurationError, NetworkTimeout, RavenError
from raven.fanout import Heartbeat, Refused, Status, Subscribe, Unsubscribe
from raven.topics import DataType

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.fanout.conftest import Scene

BOOK, TRADES, FUNDING = DataType.ORDERBOOK, DataType.TRADES, DataType.FUNDING_RATES
BTC_TRADES = ("binance_futures", "BTCUSDT", TRADES)
BTC_BOOK = ("binance_futures", "BTCUSDT", BOOK)


async def test_a_subscribe_in_a_stream_attaches_it_to_its_topics(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [BOOK, TRADES], {"depth": "5", "batch": "64"}))
    await scene.until(lambda: len(scene.streams.attached.get(1, {})) == 2)

    book, trades = scene.collector.ids[(*BTC_BOOK, 0)], scene.collector.ids[(*BTC_TRADES, 0)]
    assert scene.streams.attached[1][book] == {
        "depth": 5,
        "conflate_ms": 0,
        "overflow": "conflate",
        "from_latest": True,
    }
    assert scene.streams.attached[1][trades] == {"depth": 0, "conflate_ms": 0, "overflow": "gap", "from_latest": False}
    assert scene.streams.options[1] == {"batch": 64, "heartbeat_ms": 0}
    assert scene.collector.held[BTC_TRADES] == {"stream:1"}


async def test_the_last_subscriber_to_leave_ends_the_demand(scene: Scene) -> None:
    for stream_id in (1, 2):
        scene.open_stream(stream_id, Subscribe(f"client{stream_id}", ["BTCUSDT"], [TRADES]))
    await scene.until(lambda: scene.collector.held.get(BTC_TRADES) == {"stream:1", "stream:2"})

    scene.fanout.stream_closed(1, "client went away")
    await scene.until(lambda: scene.collector.held[BTC_TRADES] == {"stream:2"})
    scene.fanout.stream_closed(2, "client went away")
    await scene.until(lambda: not scene.collector.held)

    assert len(scene.fanout.roster) == 0


async def test_a_stream_may_stay_anonymous(scene: Scene) -> None:
    scene.open_stream(7, Subscribe("", ["BTCUSDT"], [TRADES]))
    await scene.until(lambda: 7 in scene.streams.attached)

    assert [client.client_id for client in scene.fanout.roster] == ["anonymous-7"]


async def test_an_anonymous_stream_may_say_its_name_later(scene: Scene) -> None:
    scene.open_stream(7, Subscribe("", ["BTCUSDT"], [TRADES]), Heartbeat("desk"))
    await scene.until(lambda: [client.client_id for client in scene.fanout.roster] == ["desk"])

    assert scene.streams.ended == {}
    assert scene.collector.held[BTC_TRADES] == {"stream:7"}


async def test_a_stream_belongs_to_one_client(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES]), Subscribe("other", ["ETHUSDT"], [TRADES]))
    await scene.until(lambda: 1 in scene.streams.ended)

    assert scene.streams.ended[1][0] == Status.INVALID_ARGUMENT
    assert "belongs to client 'desk'" in scene.streams.ended[1][1]


async def test_standing_interest_flows_into_a_stream_opened_later(scene: Scene) -> None:
    answer = await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES], {"batch": "8"}))
    assert answer.success
    assert answer.topics == ("binance_futures.BTCUSDT.TRADES",)
    assert "waiting for a StreamMarketData stream with client_id 'desk'" in answer.message

    scene.open_stream(1, Heartbeat("desk"))
    await scene.until(lambda: 1 in scene.streams.attached)

    assert scene.streams.options[1]["batch"] == 8


async def test_an_empty_subscribe_in_a_stream_joins_the_standing_interest(scene: Scene) -> None:
    await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES]))

    scene.open_stream(1, Subscribe("desk"))
    await scene.until(lambda: 1 in scene.streams.attached)

    assert scene.streams.ended == {}


async def test_an_empty_subscribe_of_a_client_without_interest_is_refused(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk"))
    await scene.until(lambda: 1 in scene.streams.ended)

    assert scene.streams.ended[1][0] == Status.INVALID_ARGUMENT
    assert "no standing interest to join" in scene.streams.ended[1][1]


async def test_standing_interest_flows_into_every_open_stream(scene: Scene) -> None:
    for stream_id in (1, 2):
        scene.open_stream(stream_id, Heartbeat("desk"))
    await scene.until(lambda: len(scene.fanout.roster) == 1)

    answer = await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES]))

    assert "flowing into 2 open streams" in answer.message
    assert sorted(scene.streams.attached) == [1, 2]


async def test_a_unary_unsubscribe_reaches_every_stream_of_the_client(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [BOOK, TRADES]))
    await scene.until(lambda: len(scene.streams.attached.get(1, {})) == 2)
    await scene.fanout.subscribe(Subscribe("desk", ["ETHUSDT"], [TRADES]))

    answer = await scene.fanout.unsubscribe(Unsubscribe("desk", ["btcusdt"], [TRADES]))

    assert answer.success
    assert answer.topics == ("binance_futures.BTCUSDT.TRADES",)
    assert set(scene.streams.attached[1]) == {
        scene.collector.ids[(*BTC_BOOK, 0)],
        scene.collector.ids[("binance_futures", "ETHUSDT", TRADES, 0)],
    }
    assert BTC_TRADES not in scene.collector.held


async def test_an_empty_unsubscribe_drops_everything(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT", "ETHUSDT"], [BOOK, TRADES]))
    await scene.until(lambda: len(scene.streams.attached.get(1, {})) == 4)

    answer = await scene.fanout.unsubscribe(Unsubscribe("desk"))

    assert len(answer.topics) == 4
    assert scene.streams.attached[1] == {}
    assert not scene.collector.held


async def test_an_unsubscribe_of_what_is_not_held_says_what_is(scene: Scene) -> None:
    await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES]))

    answer = await scene.fanout.unsubscribe(Unsubscribe("desk", ["ETHUSDT"]))

    assert not answer.success
    assert "it holds binance_futures.BTCUSDT.TRADES" in answer.message
    assert not (await scene.fanout.unsubscribe(Unsubscribe("nobody"))).success


async def test_an_unsubscribe_in_a_stream_concerns_this_stream_only(scene: Scene) -> None:
    for stream_id in (1, 2):
        scene.open_stream(stream_id, Subscribe("desk", ["BTCUSDT"], [TRADES]))
    await scene.until(lambda: len(scene.streams.attached) == 2)

    scene.fanout.stream_message(1, Unsubscribe("desk", ["BTCUSDT"]))
    await scene.until(lambda: not scene.streams.attached[1])

    assert scene.streams.attached[2]
    assert scene.collector.held[BTC_TRADES] == {"stream:2"}


async def test_requests_of_a_stream_act_in_the_order_they_came(scene: Scene) -> None:
    gate = scene.collector.gates["BTCUSDT"] = asyncio.Event()
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES]), Unsubscribe("desk", ["BTCUSDT"]))
    await scene.settle()

    gate.set()
    await scene.until(lambda: scene.streams.attached.get(1) == {} and not scene.collector.held)

    assert scene.streams.ended == {}


async def test_a_symbol_that_starts_slowly_holds_up_nobody_else(scene: Scene) -> None:
    scene.collector.gates["BTCUSDT"] = asyncio.Event()
    scene.open_stream(1, Subscribe("slow", ["BTCUSDT"], [TRADES]))
    await scene.settle()

    answer = await scene.fanout.subscribe(Subscribe("other", ["ETHUSDT"], [TRADES]))
    scene.open_stream(2, Subscribe("third", ["ETHUSDT"], [TRADES]))
    await scene.until(lambda: 2 in scene.streams.attached)

    assert answer.success
    assert 1 not in scene.streams.attached


async def test_a_stream_that_closes_while_its_symbol_starts_leaves_nothing_behind(scene: Scene) -> None:
    gate = scene.collector.gates["BTCUSDT"] = asyncio.Event()
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES]))
    await scene.settle()

    scene.fanout.stream_closed(1, "gone")
    gate.set()
    await scene.settle()

    assert not scene.collector.held
    assert not scene.streams.attached
    assert len(scene.fanout.roster) == 0


async def test_a_topic_that_does_not_start_in_time_is_given_up_and_named(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(start_timeout_s=0.01)
    scene.collector.gates["BTCUSDT"] = asyncio.Event()

    answer = await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT", "ETHUSDT"], [TRADES]))

    assert not answer.success
    assert answer.topics == ("binance_futures.ETHUSDT.TRADES",)
    assert "binance_futures.BTCUSDT.TRADES did not start within 0.01 s" in answer.message


async def test_an_unknown_symbol_is_success_false_and_the_others_are_subscribed(scene: Scene) -> None:
    answer = await scene.fanout.subscribe(Subscribe("desk", ["BTCUSD", "ETHUSDT"], [TRADES]))

    assert not answer.success
    assert answer.topics == ("binance_futures.ETHUSDT.TRADES",)
    assert "no venue (binance_futures, binance_spot) has TRADES of 'BTCUSD' (did you mean 'BTCUSDT'?)" in answer.message


async def test_an_unknown_symbol_ends_a_stream_because_there_is_no_answer_to_put_it_in(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["NOPEUSDT", "ETHUSDT"], [TRADES]))
    await scene.until(lambda: 1 in scene.streams.ended)

    assert scene.streams.ended[1][0] == Status.NOT_FOUND
    assert "'NOPEUSDT'" in scene.streams.ended[1][1]


async def test_a_collector_that_breaks_is_an_internal_error_of_that_topic_only(scene: Scene) -> None:
    scene.collector.failing["BTCUSDT"] = RuntimeError("boom")

    answer = await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT", "ETHUSDT"], [TRADES]))

    assert answer.topics == ("binance_futures.ETHUSDT.TRADES",)
    assert "boom" not in answer.message
    assert "the server's log has the details" in answer.message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NetworkTimeout("binance_futures does not answer"), Status.UNAVAILABLE),
        (ConfigurationError("binance_futures is switched off"), Status.NOT_FOUND),
    ],
)
async def test_an_error_of_the_house_says_whether_trying_again_may_help(
    scene: Scene, error: RavenError, status: Status
) -> None:
    scene.collector.failing["BTCUSDT"] = error

    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES]))
    await scene.until(lambda: 1 in scene.streams.ended)

    assert scene.streams.ended[1] == (status, error.message)


@pytest.mark.parametrize(
    ("symbol", "kind", "filters", "topic"),
    [
        ("BTCUSDT", TRADES, {}, "binance_futures.BTCUSDT.TRADES"),
        ("SOLUSDT", TRADES, {}, "binance_spot.SOLUSDT.TRADES"),
        ("ADAUSDT", TRADES, {}, "binance_spot.ADAUSDT.TRADES"),
        ("BTCUSDT", TRADES, {"venue": "binance_spot"}, "binance_spot.BTCUSDT.TRADES"),
        ("BTCUSDT", FUNDING, {}, "binance_futures.BTCUSDT.FUNDING_RATES"),
    ],
)
async def test_the_first_configured_venue_that_has_the_symbol_wins_unless_one_is_named(
    scene: Scene, symbol: str, kind: DataType, filters: dict[str, str], topic: str
) -> None:
    answer = await scene.fanout.subscribe(Subscribe("desk", [symbol], [kind], filters))

    assert answer.topics == (topic,)


async def test_a_venue_that_is_not_configured_is_refused_with_those_that_are(scene: Scene) -> None:
    with pytest.raises(
        Refused, match=r"did you mean 'binance_spot'\?\); this server collects from: binance_futures, binance_spot"
    ):
        await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES], {"venue": "binance_sport"}))


async def test_a_star_means_every_configured_symbol_of_every_venue(scene: Scene) -> None:
    answer = await scene.fanout.subscribe(Subscribe("desk", ["*"], [TRADES]))

    assert answer.topics == (
        "binance_futures.BTCUSDT.TRADES",
        "binance_futures.ETHUSDT.TRADES",
        "binance_spot.BTCUSDT.TRADES",
        "binance_spot.SOLUSDT.TRADES",
    )


async def test_a_deeper_book_replaces_the_shallower_one(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [BOOK]))
    await scene.until(lambda: bool(scene.streams.attached.get(1)))

    scene.fanout.stream_message(1, Subscribe("desk", ["BTCUSDT"], [BOOK], {"depth": "500"}))
    deep = (*BTC_BOOK, 1000)
    await scene.until(lambda: list(scene.streams.attached[1]) == [scene.collector.ids.get(deep)])

    assert scene.streams.attached[1][scene.collector.ids[deep]]["depth"] == 500


async def test_a_topic_that_ends_before_it_is_attached_is_unavailable_and_let_go(scene: Scene) -> None:
    scene.streams.gone.add(1)

    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES]))
    await scene.until(lambda: 1 in scene.streams.ended)

    assert scene.streams.ended[1] == (
        Status.UNAVAILABLE,
        "binance_futures.BTCUSDT.TRADES has just ended; subscribe again",
    )
    assert not scene.collector.held


async def test_closing_after_the_collector_has_stopped_is_no_error(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES]))
    await scene.fanout.subscribe(Subscribe("other", ["BTCUSDT"], [TRADES]))
    await scene.until(lambda: 1 in scene.streams.attached)
    scene.collector.stopped = True

    await scene.fanout.close()

    assert scene.fanout.stats() == {"clients": 0, "streams": 0, "topics": 0, "subscriptions": 0}


async def test_a_unary_call_without_a_client_id_is_refused(scene: Scene) -> None:
    for refused in (scene.fanout.subscribe(Subscribe("", ["BTCUSDT"], [1])), scene.fanout.unsubscribe(Unsubscribe(""))):
        with pytest.raises(Refused, match="client_id is empty"):
            await refused


async def test_standing_interest_without_a_stream_expires(scene: Scene) -> None:
    await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES]))

    await scene.clock.advance(59)
    await scene.fanout.expire()
    assert scene.collector.held
    await scene.clock.advance(1)
    await scene.fanout.expire()

    assert not scene.collector.held
    assert len(scene.fanout.roster) == 0


async def test_standing_interest_survives_a_client_that_comes_back_in_time(scene: Scene) -> None:
    await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES]))
    scene.open_stream(1, Heartbeat("desk"))
    await scene.until(lambda: 1 in scene.streams.attached)
    await scene.clock.advance(3600)
    await scene.fanout.expire()
    scene.fanout.stream_closed(1, "restart")
    await scene.clock.advance(30)
    await scene.fanout.expire()

    scene.open_stream(2, Heartbeat("desk"))
    await scene.until(lambda: 2 in scene.streams.attached)

    assert scene.collector.held[BTC_TRADES] == {"client:desk", "stream:2"}


async def test_a_stream_that_stops_its_heartbeats_is_ended(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES]), Heartbeat("desk"), Heartbeat("desk"))
    scene.open_stream(2, Subscribe("quiet", ["BTCUSDT"], [TRADES]), Heartbeat("quiet"))
    await scene.until(lambda: len(scene.streams.attached) == 2)

    await scene.clock.advance(90)
    await scene.fanout.expire()

    assert scene.streams.ended[1][0] == Status.DEADLINE_EXCEEDED
    assert 2 not in scene.streams.ended, "one heartbeat is an introduction, not a promise"


async def test_thousands_of_rounds_of_subscribing_leave_no_task_and_no_demand(scene: Scene) -> None:
    before = len(asyncio.all_tasks())
    for stream_id in range(1, 2001):
        scene.open_stream(stream_id, Subscribe("", ["BTCUSDT"], [TRADES]), Unsubscribe("", ["BTCUSDT"]))
        await asyncio.sleep(0)
        scene.fanout.stream_closed(stream_id, "gone")
    await scene.until(lambda: len(asyncio.all_tasks()) == before)

    assert not scene.collector.held
    assert scene.fanout.stats() == {
        "clients": 0,
        "streams": 0,
        "topics": 0,
        "subscriptions": 0,
    }


async def test_messages_of_a_stream_that_has_gone_are_ignored(scene: Scene) -> None:
    scene.fanout.stream_message(99, Subscribe("desk", ["BTCUSDT"], [TRADES]))
    await scene.settle()

    assert len(scene.fanout.roster) == 0


async def test_after_takes_a_topic_up_behind_what_the_client_had(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES], {"after": "1207@1700000000000000000"}))
    await scene.until(lambda: 1 in scene.streams.attached)

    assert scene.streams.taken_up == [(1, scene.collector.ids[(*BTC_TRADES, 0)], 1207, 1_700_000_000_000_000_000)]


async def test_a_topic_that_a_stream_reads_already_goes_on_where_it_is(scene: Scene) -> None:
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES]))
    await scene.until(lambda: 1 in scene.streams.attached)
    answer = await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES], {"after": "7@7"}))

    assert answer.success
    assert scene.streams.taken_up == []


async def test_a_stream_that_cannot_take_up_a_topic_ends_because_something_would_be_missing(scene: Scene) -> None:
    scene.streams.can_take_up = False
    scene.open_stream(1, Subscribe("desk", ["BTCUSDT"], [TRADES], {"after": "7@7"}))
    await scene.until(lambda: 1 in scene.streams.ended)

    assert scene.streams.ended[1][0] == Status.UNAVAILABLE


async def test_after_belongs_to_one_topic(scene: Scene) -> None:
    with pytest.raises(Refused, match="belongs to one topic"):
        await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES, BOOK], {"after": "7@7"}))


async def test_an_unsubscribe_may_name_a_venue(scene: Scene) -> None:
    for venue in ("binance_futures", "binance_spot"):
        await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES], {"venue": venue}))

    answer = await scene.fanout.unsubscribe(Unsubscribe("desk", ["BTCUSDT"], venue="binance_spot"))

    assert answer.topics == ("binance_spot.BTCUSDT.TRADES",)
    assert scene.collector.held == {BTC_TRADES: {"client:desk"}}


async def test_an_answer_says_whether_asking_again_may_help(scene: Scene) -> None:
    nobody_has_it = await scene.fanout.subscribe(Subscribe("desk", ["NOPE"], [TRADES]))
    scene.collector.failing["BTCUSDT"] = NetworkTimeout("the venue does not answer")
    not_now = await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES]))
    good = await scene.fanout.subscribe(Subscribe("desk", ["ETHUSDT"], [TRADES]))

    assert (nobody_has_it.status, not_now.status, good.status) == (Status.NOT_FOUND, Status.UNAVAILABLE, 0)


async def test_a_client_and_its_streams_are_one_party(scene: Scene) -> None:
    await scene.fanout.subscribe(Subscribe("desk", ["BTCUSDT"], [TRADES]))
    for stream_id in (1, 2):
        scene.open_stream(stream_id, Heartbeat("desk"))
    await scene.until(lambda: len(scene.collector.held[BTC_TRADES]) == 3)

    parties = {scene.fanout.party_of(holder) for holder in scene.collector.held[BTC_TRADES]}

    assert parties == {"client:desk"}
    assert [scene.fanout.party_of(name) for name in ("configuration", "stream:99")] == ["configuration", "stream:99"]

"""What one connection was asked for: batches, answers, and the one name that spoils a batch."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from raven.ingest.requests import StreamRequests
from raven.testing import ManualClock
from raven.venues.binance import usdm


class Socket:
    """Keeps what is sent; answers like a venue that refuses some names."""

    def __init__(self, *bad: str) -> None:
        self.sent: list[tuple[str, list[str], int]] = []
        self.bad = set(bad)

    async def send(self, message: bytes) -> None:
        request = json.loads(message)
        self.sent.append((request["method"], request["params"], request["id"]))

    def answers(self) -> list[bytes]:
        """Return the answers to everything sent since the last time."""
        sent, self.sent = self.sent, []
        return [self._answer(*request) for request in sent]

    def _answer(self, method: str, names: list[str], number: int) -> bytes:
        refused: dict[str, Any] = {"error": {"code": 2, "msg": "bad name"}, "id": number}
        fine: dict[str, Any] = {"result": None, "id": number}
        return json.dumps(refused if self.bad & set(names) else fine).encode()

    def subscribed(self) -> list[list[str]]:
        return [names for method, names, _ in self.sent if method == "SUBSCRIBE"]


def wanted(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


def requests_of(socket: Socket, clock: ManualClock, per_message: int = 4) -> StreamRequests:
    venue = usdm()
    return StreamRequests(socket, replace(venue, limits=replace(venue.limits, streams_per_message=per_message)), clock)


async def test_many_streams_go_into_few_messages(clock: ManualClock) -> None:
    socket = Socket()
    requests = requests_of(socket, clock)

    await requests.bring_in_line(wanted(*"abcdefghij"))

    assert socket.subscribed() == [list("abcd"), list("efgh"), list("ij")]


async def test_only_what_changed_is_asked(clock: ManualClock) -> None:
    socket = Socket()
    requests = requests_of(socket, clock)
    await requests.bring_in_line(wanted("a", "b", "c"))
    socket.sent.clear()

    await requests.bring_in_line(wanted("b", "c", "d"))
    await requests.bring_in_line(wanted("b", "c", "d"))

    assert [(method, names) for method, names, _ in socket.sent] == [("UNSUBSCRIBE", ["a"]), ("SUBSCRIBE", ["d"])]


async def test_streams_asked_for_again_are_called_off_first_in_one_message_each(clock: ManualClock) -> None:
    socket = Socket()
    requests = requests_of(socket, clock)
    await requests.bring_in_line(wanted("a", "b", "c"))
    socket.sent.clear()

    requests.ask_again(["a", "c", "unknown"])
    await requests.bring_in_line(wanted("a", "b", "c"))

    assert [(method, names) for method, names, _ in socket.sent] == [
        ("UNSUBSCRIBE", ["a", "c"]),
        ("SUBSCRIBE", ["a", "c"]),
    ]


@pytest.mark.parametrize("bad", [("c",), ("a", "h"), tuple("abcdefgh")])
async def test_the_bad_names_of_a_batch_are_found_and_the_others_are_carried(
    clock: ManualClock, bad: tuple[str, ...]
) -> None:
    socket = Socket(*bad)
    requests = requests_of(socket, clock, per_message=8)
    names = wanted(*"abcdefgh")
    carried: set[str] = set()

    await requests.bring_in_line(names)
    while not requests.is_settled:
        asked = socket.subscribed()
        answers = socket.answers()
        for raw, batch in zip(answers, asked, strict=True):
            if b"error" not in raw:
                carried.update(batch)
            requests.on_reply(raw)
        await requests.bring_in_line(names)

    assert set(requests.refused) == set(bad)
    assert carried == set(names) - set(bad)
    assert set(requests.refused.values()) == {"2: bad name"}


async def test_a_refused_stream_is_not_asked_for_until_it_is_wanted_anew(clock: ManualClock) -> None:
    socket = Socket("a")
    requests = requests_of(socket, clock)
    await requests.bring_in_line(wanted("a"))
    for raw in socket.answers():
        requests.on_reply(raw)

    await requests.bring_in_line(wanted("a"))
    assert socket.sent == []
    await requests.bring_in_line(wanted())
    assert requests.refused == {}
    await requests.bring_in_line(wanted("a"))

    assert socket.subscribed() == [["a"]]


async def test_a_refusal_without_a_number_belongs_to_the_oldest_request(clock: ManualClock) -> None:
    requests = requests_of(Socket(), clock, per_message=1)
    await requests.bring_in_line(wanted("a", "b"))

    requests.on_reply(b'{"error":{"code":3,"msg":"Invalid JSON"}}')

    assert requests.refused == {"a": "3: Invalid JSON"}


async def test_how_long_an_answer_is_missing_can_be_told(clock: ManualClock) -> None:
    socket = Socket()
    requests = requests_of(socket, clock)
    await clock.advance(5)
    await requests.bring_in_line(wanted("a"))
    await clock.advance(7)

    assert requests.oldest_unanswered_at == 5.0
    requests.on_reply(socket.answers()[0])
    assert requests.oldest_unanswered_at is None
    assert requests.is_settled


async def test_an_answer_to_nothing_is_ignored(clock: ManualClock) -> None:
    requests = requests_of(Socket(), clock)

    assert requests.on_reply(b'{"result":null,"id":99}') is False
    assert requests.on_reply(b'{"error":{"code":1,"msg":"?"},"id":99}') is False
    assert requests.refused == {}

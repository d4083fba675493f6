"""What a client does about a lost server, and what it says when the server is back."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from raven.client.errors import RequestRefused, ServerUnreachable
from raven.client.outage import Outage
from raven.client.records import Reconnected
from raven.client.settings import Settings
from raven.testing import ManualClock


def outage_of(clock: ManualClock, *, reconnect: bool = True) -> Outage:
    settings = Settings("server:1", "me", 5.0, reconnect, token=None, credentials=None, read_ahead_bytes=None)
    return Outage(settings, clock.monotonic)


async def test_an_outage_is_told_once_with_its_first_reason_its_length_and_its_attempts() -> None:
    clock = ManualClock()
    outage = outage_of(clock)

    outage.lost(StatusCode.UNAVAILABLE, "the server stops")
    await clock.advance(2.5)
    outage.lost(StatusCode.UNAVAILABLE, "connection refused")
    told = outage.over()

    assert told == Reconnected(address="server:1", reason="UNAVAILABLE: the server stops", downtime_s=2.5, attempts=2)
    assert outage.over() is None


def test_pauses_grow_to_ten_seconds_however_long_it_takes_and_begin_anew_after_a_message() -> None:
    outage = outage_of(ManualClock())

    pauses = [outage.lost(StatusCode.UNAVAILABLE, "") for _ in range(5000)]
    outage.over()

    assert pauses[0] <= 0.25
    assert max(pauses) <= 10.0
    assert min(pauses[10:]) >= 2.5
    assert outage.lost(StatusCode.UNAVAILABLE, "") <= 0.25


def test_a_server_that_ends_the_stream_well_is_asked_again() -> None:
    outage = outage_of(ManualClock())

    outage.lost(StatusCode.OK, "")
    told = outage.over()

    assert told is not None
    assert told.reason == "the server ended the stream"


def test_an_answer_that_will_not_change_is_raised() -> None:
    with pytest.raises(RequestRefused, match="unknown symbol"):
        outage_of(ManualClock()).lost(StatusCode.NOT_FOUND, "unknown symbol")


def test_full_is_an_answer_at_the_first_try_and_an_accident_later() -> None:
    outage = outage_of(ManualClock())

    with pytest.raises(RequestRefused):
        outage.lost(StatusCode.RESOURCE_EXHAUSTED, "full")
    outage.lost(StatusCode.UNAVAILABLE, "gone")

    assert outage.lost(StatusCode.RESOURCE_EXHAUSTED, "full") > 0


def test_without_reconnect_a_lost_server_is_raised() -> None:
    with pytest.raises(ServerUnreachable, match="server:1"):
        outage_of(ManualClock(), reconnect=False).lost(StatusCode.UNAVAILABLE, "gone")

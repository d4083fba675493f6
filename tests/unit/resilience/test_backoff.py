"""Pauses between attempts: short at first, longer later, never the same for all, never the end."""

from __future__ import annotations

import random

import pytest

from raven.resilience.backoff import Backoff


def pauses(count: int, **options: float) -> list[float]:
    backoff = Backoff(1.0, 60.0, dice=random.Random(1), **options)
    return [backoff.next() for _ in range(count)]


def test_the_first_retry_comes_within_its_pause() -> None:
    firsts = [Backoff(1.0, 60.0, dice=random.Random(seed)).next() for seed in range(200)]

    assert 0.25 <= min(firsts) < 0.3
    assert 0.95 < max(firsts) <= 1.0


def test_pauses_double_up_to_the_cap_and_never_end() -> None:
    seen = pauses(5000)

    for attempt, pause in enumerate(seen):
        longest = min(60.0, 2.0**attempt) if attempt < 10 else 60.0
        assert 0.25 * longest <= pause <= longest


def test_a_thousand_clients_do_not_come_back_together() -> None:
    firsts = sorted(Backoff(1.0, 60.0, dice=random.Random(seed)).next() for seed in range(1000))

    # No tenth of a second holds more than a fifth of them.
    assert all(sum(low <= pause < low + 0.1 for pause in firsts) < 200 for low in (0.25, 0.4, 0.55, 0.7, 0.85))


@pytest.mark.parametrize(("held_s", "begins_anew"), [(29.9, False), (30.0, True), (3600.0, True)])
def test_an_attempt_that_held_begins_anew(held_s: float, begins_anew: bool) -> None:
    backoff = Backoff(1.0, 60.0, dice=random.Random(1))
    for _ in range(6):
        backoff.next()

    backoff.held(held_s)

    assert (backoff.next() <= 1.0) is begins_anew

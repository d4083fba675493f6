"""How long to wait before the next try."""

from __future__ import annotations

from raven.client.backoff import Backoff


def test_waits_double_up_to_the_cap_and_start_over_after_a_success() -> None:
    backoff = Backoff(first_s=0.25, cap_s=2.0, spread=lambda: 1.0)

    waits = [backoff.next_s() for _ in range(6)]
    backoff.reset()

    assert waits == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]
    assert backoff.next_s() == 0.25


def test_waits_are_spread_by_half() -> None:
    assert Backoff(first_s=1.0, spread=lambda: 0.0).next_s() == 0.5


def test_weeks_of_trying_stay_at_the_cap() -> None:
    backoff = Backoff(cap_s=10.0, spread=lambda: 1.0)

    assert [backoff.next_s() for _ in range(5000)][-1] == 10.0

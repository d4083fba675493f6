"""A breaker opens after so many failures in a row, probes once after its pause, and closes when the probe went well."""

from __future__ import annotations

import threading

import pytest

from raven.errors import ConfigurationError
from raven.resilience.breaker import BreakerSettings, BreakerState, CircuitBreaker, CircuitBreakerRegistry
from raven.testing import ManualClock

SETTINGS = BreakerSettings(failures=3, open_s=1.0, max_open_s=4.0, probe_s=10.0)


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def breaker(clock: ManualClock, told: list[tuple[str, str]]) -> CircuitBreaker:
    return CircuitBreaker("influx", SETTINGS, clock, lambda _, state, reason: told.append((state, reason)))


def open_it(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        assert breaker.allows()
        breaker.failed("connection refused")


def test_it_opens_after_failures_in_a_row_and_no_others(breaker: CircuitBreaker) -> None:
    for _ in range(2):
        breaker.failed()
    breaker.succeeded()
    for _ in range(2):
        breaker.failed()
    assert breaker.state is BreakerState.CLOSED
    breaker.failed()
    assert breaker.state is BreakerState.OPEN
    assert not breaker.allows()


async def test_after_the_pause_one_probe_goes_and_others_wait(breaker: CircuitBreaker, clock: ManualClock) -> None:
    open_it(breaker)
    assert breaker.wait_s() == 1.0
    await clock.advance(1.0)
    assert breaker.allows()
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.allows()


async def test_a_probe_that_went_well_closes_it(
    breaker: CircuitBreaker, clock: ManualClock, told: list[tuple[str, str]]
) -> None:
    open_it(breaker)
    await clock.advance(1.0)
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.wait_s() == 0.0
    assert [state for state, _ in told] == ["open", "half_open", "closed"]
    assert told[0] == ("open", "connection refused")


async def test_probes_that_fail_come_less_and_less_often(breaker: CircuitBreaker, clock: ManualClock) -> None:
    open_it(breaker)
    pauses = []
    for _ in range(4):
        pauses.append(breaker.wait_s())
        await clock.advance(breaker.wait_s())
        assert breaker.allows()
        breaker.failed()
    assert pauses == [1.0, 2.0, 4.0, 4.0]
    await clock.advance(4.0)
    assert breaker.allows()
    breaker.succeeded()
    open_it(breaker)
    assert breaker.wait_s() == 1.0, "after a success the pauses start anew"


async def test_a_probe_that_never_ends_does_not_block_for_ever(breaker: CircuitBreaker, clock: ManualClock) -> None:
    open_it(breaker)
    await clock.advance(1.0)
    assert breaker.allows()
    await clock.advance(9.9)
    assert not breaker.allows()
    await clock.advance(0.1)
    assert breaker.allows()


async def test_of_many_threads_one_probes(breaker: CircuitBreaker, clock: ManualClock) -> None:
    open_it(breaker)
    await clock.advance(1.0)
    allowed = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        allowed.append(breaker.allows())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert allowed.count(True) == 1


def test_a_registry_makes_each_breaker_once_and_lists_their_states(clock: ManualClock) -> None:
    registry = CircuitBreakerRegistry(SETTINGS, clock)
    open_it(registry.get("influx"))
    registry.get("timescale")
    assert registry.get("influx") is registry.get("influx")
    assert registry.states() == {"influx": BreakerState.OPEN, "timescale": BreakerState.CLOSED}


@pytest.mark.parametrize(
    "bad", [{"failures": 0}, {"open_s": 0.0}, {"open_s": 9.0, "max_open_s": 3.0}, {"probe_s": 0.0}]
)
def test_settings_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="failures must be at least 1"):
        BreakerSettings(**bad)  # type: ignore[arg-type]

import pytest

from raven.exchange.markets import RULES, Market
from raven.exchange.timeline import SECOND, Timeline
from raven.exchange.wire.weights import WeightMeter, request_weight


@pytest.mark.parametrize(
    ("market", "endpoint", "params", "weight"),
    [
        ("spot", "depth", {}, 5),
        ("spot", "depth", {"limit": "500"}, 25),
        ("spot", "depth", {"limit": "1000"}, 50),
        ("spot", "depth", {"limit": "5000"}, 250),
        ("usdm", "depth", {"limit": "50"}, 2),
        ("usdm", "depth", {}, 10),
        ("usdm", "depth", {"limit": "1000"}, 20),
        ("spot", "aggTrades", {}, 4),
        ("usdm", "aggTrades", {}, 20),
        ("spot", "exchangeInfo", {}, 20),
        ("usdm", "exchangeInfo", {}, 1),
        ("usdm", "klines", {"limit": "1500"}, 10),
        ("spot", "ticker/bookTicker", {"symbol": "BTCUSDT"}, 2),
        ("usdm", "premiumIndex", {}, 10),
        ("usdm", "openInterest", {}, 1),
    ],
)
def test_requests_cost_what_the_documentation_says(market, endpoint, params, weight):
    assert request_weight(Market(market), RULES[Market(market)], endpoint, params) == weight


def test_the_weight_of_a_minute_is_forgotten_with_the_minute():
    timeline = Timeline()
    meter = WeightMeter(timeline, limit=100, ban_after=5, ban_seconds=120, enforce=True)

    assert meter.spend("a", 80).used == 80
    assert meter.spend("b", 10).used == 10
    timeline.run_until(timeline.now_ns + 60 * SECOND)
    assert meter.spend("a", 1).used == 1


def test_over_the_limit_is_429_until_the_minute_ends_and_ignoring_it_is_418():
    timeline = Timeline()
    timeline.run_until(timeline.now_ns + 20 * SECOND)
    meter = WeightMeter(timeline, limit=100, ban_after=3, ban_seconds=120, enforce=True)
    meter.spend("a", 100)

    warned = [meter.spend("a", 1) for _ in range(3)]
    banned = meter.spend("a", 1)

    assert [(verdict.status, verdict.retry_after_s) for verdict in warned] == [(429, 40)] * 3
    assert (banned.status, banned.retry_after_s) == (418, 120)
    timeline.run_until(timeline.now_ns + 119 * SECOND)
    assert meter.spend("a", 1).status == 418
    timeline.run_until(timeline.now_ns + 2 * SECOND)
    assert meter.spend("a", 1).status == 200


def test_a_second_ban_lasts_longer():
    timeline = Timeline()
    meter = WeightMeter(timeline, limit=1, ban_after=0, ban_seconds=120, enforce=True)

    first = meter.spend("a", 2)
    timeline.run_until(timeline.now_ns + 121 * SECOND)
    second = meter.spend("a", 2)

    assert (first.retry_after_s, second.retry_after_s) == (120, 240)


def test_weights_are_counted_but_not_enforced_when_limits_are_off():
    meter = WeightMeter(Timeline(), limit=1, ban_after=0, ban_seconds=1, enforce=False)

    assert [meter.spend("a", 5).status for _ in range(3)] == [200, 200, 200]
    assert meter.used("a") == 15

"""What is scraped about Redis."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from raven.observe.labels import LabelCap
from raven.observe.publishing import RedisCollector

ROWS = [
    ("trades:BTCUSDT", "binance_futures", "BTCUSDT", 1, 100, 1, 2, 3, 4, 5),
    ("orderbook:BTCUSDT", "binance_futures", "BTCUSDT", 0, 10, 0, 0, 0, 7, 0),
    ("binance_spot:trades:BTCUSDT", "binance_spot", "BTCUSDT", 1, 1, 0, 0, 0, 0, 0),
]


def scraped(collector: RedisCollector) -> CollectorRegistry:
    registry = CollectorRegistry()
    collector.register(registry)
    return registry


def test_messages_are_counted_by_symbol_type_and_venue() -> None:
    registry = scraped(RedisCollector(lambda: ROWS))

    def published(kind: str, venue: str) -> float | None:
        return registry.get_sample_value("redis_publishes_total", {"symbol": "BTCUSDT", "type": kind, "venue": venue})

    assert published("trade", "binance_futures") == 100
    assert published("orderbook", "binance_futures") == 10
    assert published("trade", "binance_spot") == 1


def test_what_was_withheld_on_purpose_is_a_loss_but_no_error() -> None:
    registry = scraped(RedisCollector(lambda: ROWS))
    labels = {"symbol": "BTCUSDT", "venue": "binance_futures"}

    assert registry.get_sample_value("redis_errors_total", labels) == 1 + 2 + 3 + 5
    for reason, count in (("refused", 1), ("dropped", 2), ("unconfirmed", 3), ("withheld", 4), ("key_refused", 5)):
        of_trades = labels | {"type": "trade", "reason": reason}
        assert registry.get_sample_value("raven_redis_lost_messages_total", of_trades) == count


def test_symbols_beyond_the_cap_are_summed() -> None:
    registry = scraped(RedisCollector(lambda: ROWS, LabelCap("symbol", limit=0)))

    labels = {"symbol": "other", "type": "trade", "venue": "binance_futures"}
    assert registry.get_sample_value("redis_publishes_total", labels) == 100

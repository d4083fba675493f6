"""What became of what was published to Redis, exported when somebody scrapes: the native side counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from raven.observe.labels import LabelCap
from raven.observe.metrics import SYMBOLS
from raven.topics import DataType

__all__ = ["RedisCollector"]

ChannelRow = tuple[str, str, str, int, int, int, int, int, int, int]
"""As `raven._core.RedisFeed.channels` lists them."""

_TYPES = {DataType.TRADES: "trade", DataType.ORDERBOOK: "orderbook"}
# Label `reason`, column of the row, whether it is an error of Redis.
_LOSSES = (
    ("refused", 5, True), ("dropped", 6, True), ("unconfirmed", 7, True), ("withheld", 8, False),
    ("key_refused", 9, True),
)  # fmt: skip
_LOST_HELP = (
    "Why numbers are missing on a channel: refused; dropped, because Redis was away or slow; unconfirmed, which "
    "subscribers may have; withheld, a book that is not to be trusted or a hole in the feed. key_refused: only a key."
)


class RedisCollector(Collector):
    """Turns the counts of channels into Prometheus families. Symbols beyond the label's cap are summed as `other`."""

    def __init__(self, channels: Callable[[], Sequence[ChannelRow]] | None, symbols: LabelCap = SYMBOLS) -> None:
        self._channels = channels
        self._symbols = symbols

    def register(self, registry: CollectorRegistry) -> None:
        """Let `registry` ask this collector at every scrape."""
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the families without values."""
        return self._families(())

    def collect(self) -> Iterable[Metric]:
        """Return the families with the present values."""
        return self._families(self._channels() if self._channels else ())

    def _families(self, rows: Sequence[ChannelRow]) -> list[Metric]:
        published: Counter[tuple[str, str, str]] = Counter()
        lost: Counter[tuple[str, str, str, str]] = Counter()
        errors: Counter[tuple[str, str]] = Counter()
        for row in rows:
            symbol, kind, venue = self._symbols.admit(row[2]), _TYPES[DataType(row[3])], row[1]
            published[symbol, kind, venue] += row[4]
            for reason, column, is_error in _LOSSES:
                count = int(row[column])
                lost[symbol, kind, venue, reason] += count
                errors[symbol, venue] += count if is_error else 0
        families = (
            ("redis_publishes", "Messages that Redis confirmed.", ["symbol", "type", "venue"], published),
            ("redis_errors", "Messages and keys that did not get into Redis.", ["symbol", "venue"], errors),
            ("raven_redis_lost_messages", _LOST_HELP, ["symbol", "type", "venue", "reason"], lost),
        )
        made: list[Metric] = []
        for name, help_text, labels, counts in families:
            family = CounterMetricFamily(name, help_text, labels=labels)
            for key, value in counts.items():
                family.add_metric(list(key), value)
            made.append(family)
        return made

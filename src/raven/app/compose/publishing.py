"""Redis, put together from the configuration: an outlet that the feed and the gRPC clients do without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raven._core import Hub
from raven.app.compose.front import Front
from raven.app.lifecycle import Lifecycle
from raven.config import Settings
from raven.observe import Health, Status
from raven.observe.publishing import RedisCollector
from raven.registry import VENUES, load

if TYPE_CHECKING:
    from raven.serve.redis import RedisPublisher

__all__ = ["Publishing"]


class Publishing:
    """What publishes a hub to Redis; nothing without `redis.url`."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        """Raises: ConfigurationError for a URL that makes no sense, MissingDependency without redis-py."""
        self.redis = _redis(hub, settings)

    def add_to(self, lifecycle: Lifecycle) -> None:
        """Let it start and stop with the program; to be added before those whom it hears."""
        if self.redis is not None:
            lifecycle.add("redis", start=self.redis.start, stop=self.redis.stop)

    def show_in(self, front: Front) -> None:
        """Let health and metrics say how it is; the service is ready all the same."""
        if self.redis is not None:
            front.add_probe(self._probe)
            RedisCollector(self.redis.channels).register(front.metrics)

    def troubles(self) -> list[str]:
        """Say for people what does not work."""
        trouble = self.redis.trouble if self.redis else ""
        return [f"redis: {trouble}"] if trouble else []

    def _probe(self, health: Health) -> None:
        assert self.redis is not None, "added only when there is one"
        trouble = self.redis.trouble
        health.set("redis", Status.DEGRADED if trouble else Status.HEALTHY, trouble, critical=False)


def _redis(hub: Hub, settings: Settings) -> RedisPublisher | None:
    chosen = settings.redis
    if not chosen.url:
        return None
    from raven.serve.redis import RedisPlan, RedisPublisher  # noqa: PLC0415 - the driver is an extra

    venues = settings.feeds.venues
    if chosen.venue:
        # With a typing error in it nobody would have the names that subscribers know.
        load(VENUES, chosen.venue, "venue (redis.venue)")
    return RedisPublisher(
        hub,
        RedisPlan(
            chosen.url,
            username=chosen.username,
            password=chosen.password.get_secret_value(),
            prefix=chosen.prefix,
            venue=chosen.venue or (venues[0] if venues else ""),
            depth=chosen.depth,
            latest_ttl_s=chosen.latest_ttl_seconds if chosen.latest else 0.0,
            stream_length=chosen.stream_length if chosen.streams else 0,
            max_age_s=chosen.max_age_ms / 1000,
            timeout_s=chosen.timeout_ms / 1000,
        ),
    )

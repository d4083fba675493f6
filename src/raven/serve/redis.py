"""Redis: every trade and book of a hub to the channels `trades:{SYMBOL}` and `orderbook:{SYMBOL}`.

hub's rings ──cursors──► `RedisFeed` (native: JSON and commands of a whole batch) ──► one connection ──► Redis
                              ▲ confirms, counts ◄──────── one short reply per command ◄──────────────────┘

One thread, one batch on its way at a time: what comes meanwhile waits in the rings and makes the next batch larger. A
Redis that does not answer within `timeout_s` is left alone by a breaker; the thread then only drops what becomes too
old, so the feed and other readers never notice.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

from raven._core import Hub, RedisFeed
from raven.clock import Clock, SystemClock
from raven.config.secrets import mask_url
from raven.errors import ConfigurationError, MissingDependency
from raven.observe import get_logger, record_error
from raven.resilience.breaker import BreakerSettings, BreakerState, CircuitBreaker

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ModuleNotFoundError as missing:
    raise MissingDependency('redis.url is set, but redis-py is missing: pip install "raven[redis]"') from missing

__all__ = ["RedisPlan", "RedisPublisher"]

log = get_logger("redis")

# Commands of one batch: some hundred microseconds of Redis' time, and far below what its sockets take at once.
_BATCH_BYTES = 256 << 10
_REPLY_BYTES = 64 << 10
# New topics are looked for, and an idle connection is pinged, this often.
_LOOK_S = 0.1
_PING_S = 1.0
# A refusal is told by health for so long.
_REFUSAL_S = 10.0
# What Redis gets of the rest when the program ends.
_STOP_S = 1.0


@dataclass(frozen=True, slots=True)
class RedisPlan:
    """Where to publish, what, and under which names. Times are seconds unless the name says otherwise."""

    url: str
    """`redis://`, `rediss://` or `unix://`, with what redis-py takes in the query."""
    username: str = ""
    password: str = ""
    prefix: str = ""
    """Before every channel and key."""
    venue: str = ""
    """Whose channels are `trades:…` and `orderbook:…`; those of other venues begin with their name and a colon."""
    depth: int = 0
    """Levels per side of a book, 0 for all that are published."""
    latest_ttl_s: float = 0.0
    """How long `latest:{channel}` is kept; 0: there are no such keys."""
    stream_length: int = 0
    """Entries of `stream:{channel}`, about; 0: there are no streams."""
    max_age_s: float = 5.0
    """What is older when its turn comes is dropped; 0: never."""
    timeout_s: float = 0.5
    """Longest wait for an answer or a connection."""
    breaker: BreakerSettings = field(default_factory=lambda: BreakerSettings(failures=1, open_s=0.1, max_open_s=2.0))


class RedisPublisher:
    """Publishes a hub. `start` and `stop` belong to the main loop; the work has its own thread."""

    def __init__(self, hub: Hub, plan: RedisPlan, clock: Clock | None = None) -> None:
        """Raises: ConfigurationError for a URL that redis-py does not understand."""
        self._plan = plan
        self._where = mask_url(plan.url)
        self._clock = clock or SystemClock()
        self._feed = RedisFeed(
            hub,
            prefix=plan.prefix,
            venue=plan.venue,
            depth=plan.depth,
            max_age_ms=round(plan.max_age_s * 1000),
            latest_ttl_ms=round(plan.latest_ttl_s * 1000),
            stream_length=plan.stream_length,
        )
        self._pool = self._connections()
        self.breaker = CircuitBreaker("redis", plan.breaker, self._clock)
        # redis-py says nothing about the types of a connection's methods.
        self._connection: Any = None
        # What `CLIENT INFO` says of it, or of the last one.
        self._identity: dict[str, str] = {}
        self._look_at = 0.0
        self._refused = 0
        self._refused_at = float("-inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="redis", daemon=True)

    @property
    def trouble(self) -> str:
        """Say what is wrong and what to do, empty when nothing is."""
        if self._thread.is_alive() and self.breaker.state is not BreakerState.CLOSED:
            return (
                f"{self._where}: {self.breaker.last_failure}; it is tried again all the time, what becomes older than "
                f"{self._plan.max_age_s:g} s meanwhile is dropped and counted; check that Redis runs, and redis.url"
            )
        if self._clock.monotonic() - self._refused_at < _REFUSAL_S:
            return (
                f"{self._where} refuses: {self._feed.last_refusal}; look at its memory (maxmemory), and at the rights "
                "of its user"
            )
        return ""

    def channels(self) -> list[tuple[str, str, str, int, int, int, int, int, int, int]]:
        """Count what became of the events of each channel; see `RedisFeed.channels`."""
        return self._feed.channels()

    async def start(self) -> None:
        """Begin; a Redis that is away does not matter."""
        self._thread.start()

    async def stop(self) -> None:
        """End when Redis has what the rings hold, or soon."""
        self._stopping.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _STOP_S + self._plan.timeout_s)

    def publish_pending(self) -> bool:
        """Publish one batch and wait until Redis has confirmed it; False when there was nothing.

        For the thread of this publisher, and benches. Raises: redis.RedisError, OSError, ValueError; the connection is
        of no use then.
        """
        commands = self._feed.take(self._clock.time_ns(), _BATCH_BYTES)
        if not commands:
            return False
        self._connection.send_packed_command([commands], check_health=False)
        # redis-py has no public way to read many replies at once; the attribute has its name since version 2.
        answers: socket.socket = self._connection._sock  # noqa: SLF001
        while True:
            replies = answers.recv(_REPLY_BYTES)
            if not replies:
                raise redis.ConnectionError("Redis closed the connection")
            if not self._feed.confirm(replies):
                return True

    def connect(self) -> None:
        """Connect, greet and authenticate. Raises: redis.RedisError, OSError."""
        connection: Any = self._pool.make_connection()
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        self._connection = connection
        # What hung with the last connection must not come after what is published on this one.
        if self._identity:
            self._ask("CLIENT", "KILL", "ID", self._identity["id"], "ADDR", self._identity["addr"])
        said = dict(part.split("=", 1) for part in self._ask("CLIENT", "INFO").split() if "=" in part)
        self._identity = said if {"id", "addr"} <= said.keys() else {}
        self._feed.follow()

    def disconnect(self) -> int:
        """Close the connection; return how many messages were sent on it and not confirmed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
        return self._feed.abandon()

    def _ask(self, *command: str) -> str:
        """Return what Redis answers, empty when it does not want to. Raises: redis.RedisError, OSError."""
        self._connection.send_command(*command)
        try:
            answer = self._connection.read_response(disable_decoding=True)
        except redis.ResponseError:
            return ""
        return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)

    # --- the thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception as error:
                # A thread's edge: whatever it is, the next attempt begins with a new connection.
                if not isinstance(error, redis.RedisError | OSError | ValueError):
                    record_error(error, "redis")
                self._lose(error)
        self._finish()

    def _turn(self) -> None:
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._feed.follow()
            self._note_refusals()
        if self._connection is None:
            if not self.breaker.allows():
                self._feed.skip(self._clock.time_ns())
                self._stopping.wait(min(max(self.breaker.wait_s(), 0.001), _LOOK_S))
                return
            self.connect()
            log.info("connected", url=self._where)
        elif not self._feed.wait(_LOOK_S):
            self._connection.check_health()
            return
        self.publish_pending()
        # Not before: one that greets and then does not answer is not back.
        self.breaker.succeeded()

    def _lose(self, error: Exception) -> None:
        unconfirmed = self.disconnect()
        is_late = isinstance(error, TimeoutError | redis.TimeoutError)
        reason = f"no answer within {self._plan.timeout_s:g} s" if is_late else str(error) or type(error).__name__
        self.breaker.failed(mask_url(reason))
        log.warning(
            "Redis is away", url=self._where, reason=self.breaker.last_failure, unconfirmed=unconfirmed,
            retry_in_s=round(self.breaker.wait_s(), 3), every_s=5,
        )  # fmt: skip

    def _note_refusals(self) -> None:
        refused = self._feed.refusals
        if refused > self._refused:
            log.warning("refused by Redis", commands=refused - self._refused, reason=self._feed.last_refusal, every_s=5)
            self._refused_at = self._clock.monotonic()
        self._refused = refused

    def _finish(self) -> None:
        until = self._clock.monotonic() + _STOP_S
        try:
            while self._connection is not None and self._clock.monotonic() < until and self.publish_pending():
                pass
        except (redis.RedisError, OSError, ValueError) as error:
            log.warning("Redis did not get the rest", reason=str(error))
        self.disconnect()

    def _connections(self) -> redis.ConnectionPool:
        plan = self._plan
        options: dict[str, Any] = {
            "socket_timeout": plan.timeout_s,
            "socket_connect_timeout": plan.timeout_s,
            "socket_keepalive": True,
            "health_check_interval": _PING_S,
            "client_name": "raven",
            # The breaker says when to try again.
            "retry": Retry(NoBackoff(), 0),
            # No message comes unasked, as in version 3.
            "protocol": 2,
        }
        named = {"username": plan.username, "password": plan.password}
        options |= {name: value for name, value in named.items() if value}
        try:
            return redis.ConnectionPool.from_url(plan.url, **options)
        except ValueError as error:
            raise ConfigurationError(f"redis.url {self._where}: {error}") from None

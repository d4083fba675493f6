"""Is every stream speaking? A socket that answers pings says nothing about the streams on it.

Each stream is measured against its own pace: the longest silence allowed is twenty of its usual pauses, between a floor
and a ceiling. A stream that never speaks after being acknowledged is called out by name, because that is how a wrong
route shows: the venue accepts the subscription and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from raven.clock import Clock
from raven.ingest.engine_port import BookEngine
from raven.ingest.settings import IngestSettings
from raven.ingest.shard import Shard
from raven.observe import get_logger
from raven.topics import DataType

__all__ = ["Watch", "Watchdog"]

log = get_logger("watchdog")

_CHECK_EVERY_S = 1.0
_PAUSES = 20
_STREAMS_AT_A_TIME = 64
# Resubscribing did not help so many times: perhaps the connection is at fault. It is replaced without a gap, so the
# streams that do speak lose nothing; not more often than this, because then it is not the connection.
_ROTATE_AT_ALARM = 3
_ROTATE_EVERY_S = 600.0
_LONGEST_ALARM_PAUSE_S = 3600.0


class _Habit(NamedTuple):
    """How a data type usually speaks."""

    seen: int
    """Position in `Engine.last_seen`."""
    patience: float = 1.0
    """Times `silence_s`, at least, before a silence counts."""
    ceiling: float = 1.0
    """Times `max_silence_s`, at most."""
    first: float = 1.0
    """Times `first_frame_s` until it must have spoken at all."""
    may_be_quiet: bool = False
    """Whether never having spoken says nothing about the connection."""


# Forced orders are left out: hours without one are good news. A book, a best price or a mark price that does not change
# for minutes does not exist; of a small symbol nobody may have traded for an hour, whatever it did before.
_HABITS = {
    DataType.ORDERBOOK: _Habit(0),
    DataType.TRADES: _Habit(1, patience=3.0, ceiling=30.0, first=4.0, may_be_quiet=True),
    DataType.QUOTES: _Habit(2),
    DataType.CANDLES_1M: _Habit(3, patience=6.0),
    DataType.CANDLES_5M: _Habit(3, patience=6.0),
    DataType.CANDLES_1H: _Habit(3, patience=6.0),
    DataType.FUNDING_RATES: _Habit(4),
}


class Watch(NamedTuple):
    """One stream that should be speaking."""

    name: str
    symbol: str
    instrument: int
    data_type: DataType
    shard: Shard


@dataclass(slots=True)
class _Pace:
    since: float
    last_ns: int = 0
    last_at: float = 0.0
    changes: int = 0
    alarms: int = 0
    next_alarm_at: float = 0.0


class Watchdog:
    """Looks at every stream of one venue once per second."""

    def __init__(
        self,
        watches: Callable[[], Iterable[Watch]],
        engine: BookEngine,
        settings: IngestSettings,
        clock: Clock,
        venue: str,
    ) -> None:
        self._watches = watches
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._venue = venue
        self._paces: dict[str, _Pace] = {}
        self.silent: set[str] = set()
        """Names of the streams that were silent for too long and have not spoken since, whatever was tried."""
        self._rotate_again_at: dict[Shard, float] = {}

    def forget(self, name: str) -> None:
        """A stream is not wanted any more."""
        self._paces.pop(name, None)
        self.silent.discard(name)

    def begin_anew(self, name: str) -> None:
        """Measure a stream from now on: its connection is a new one."""
        self._paces.pop(name, None)

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await self._clock.sleep(_CHECK_EVERY_S)
            for _ in self._look():
                await self._clock.sleep(0)

    def check(self) -> None:
        """Look once, at all streams in one go."""
        for _ in self._look():
            pass

    def _look(self) -> Iterator[None]:
        """Look once; pause now and then, because three thousand streams in one go would keep frames waiting."""
        now = self._clock.monotonic()
        well: dict[Shard, bool] = {}
        silent: list[Watch] = []
        for number, watch in enumerate(self._watches(), start=1):
            if number % _STREAMS_AT_A_TIME == 0:
                yield
            habit = _HABITS.get(watch.data_type)
            shard = watch.shard
            # It may have been ended, lost or refused since this look began.
            if (
                habit is None
                or not shard.is_connected
                or watch.name not in shard.streams
                or watch.name in shard.refused
            ):
                continue
            if self._is_silent(watch, habit, now):
                silent.append(watch)
                well.setdefault(watch.shard, False)
            elif self._paces[watch.name].last_at > self._paces[watch.name].since or not habit.may_be_quiet:
                well[watch.shard] = True
        silent = [watch for watch in silent if watch.name in self._paces]
        self.silent.update(watch.name for watch in silent)
        self._resubscribe(silent, now)
        for shard, some_speak in well.items():
            if not some_speak:
                log.warning(
                    "connection silent", venue=self._venue, url=shard.url, streams=len(shard.streams), next="reconnect"
                )
                for name in shard.streams:
                    self.begin_anew(name)
                shard.reconnect("silent")

    def _is_silent(self, watch: Watch, habit: _Habit, now: float) -> bool:
        pace = self._paces.get(watch.name)
        seen_ns = self._engine.last_seen(watch.instrument)[habit.seen]
        if pace is None:
            # What was seen before this subscription says nothing about it.
            pace = self._paces[watch.name] = _Pace(since=now, last_ns=seen_ns, last_at=now)
        if seen_ns != pace.last_ns:
            pace.changes += 1
            self.silent.discard(watch.name)
            pace.last_ns, pace.last_at, pace.alarms, pace.next_alarm_at = seen_ns, now, 0, 0.0
        return now - pace.last_at > self._allowed_s(habit, pace)

    def _allowed_s(self, habit: _Habit, pace: _Pace) -> float:
        settings = self._settings
        if not pace.changes:
            return settings.first_frame_s * habit.first
        usual = (pace.last_at - pace.since) / pace.changes
        # Sampled once per second, so a stream of a thousand a second has a pause of one second here.
        wanted = max(settings.silence_s * habit.patience, _PAUSES * (usual - _CHECK_EVERY_S))
        return min(settings.max_silence_s * habit.ceiling, wanted)

    def _resubscribe(self, silent: list[Watch], now: float) -> None:
        """Act on silent streams, each at its own growing pauses; those of one connection share the requests."""
        again: dict[Shard, list[str]] = {}
        for watch in silent:
            pace = self._paces[watch.name]
            if now < pace.next_alarm_at:
                continue
            pace.alarms += 1
            pause = self._settings.silence_s * 2.0 ** min(pace.alarms, 30)
            pace.next_alarm_at = now + min(_LONGEST_ALARM_PAUSE_S, pause)
            self._report(watch, pace, now)
            if watch.data_type is DataType.ORDERBOOK:
                self._engine.mark_stale(watch.instrument, True)
            if pace.alarms >= _ROTATE_AT_ALARM and now >= self._rotate_again_at.get(watch.shard, 0.0):
                self._rotate_again_at[watch.shard] = now + _ROTATE_EVERY_S
                watch.shard.rotate()
            again.setdefault(watch.shard, []).append(watch.name)
        for shard, names in again.items():
            shard.resubscribe(names)

    def _report(self, watch: Watch, pace: _Pace, now: float) -> None:
        hint = "" if pace.changes else (
            f"accepted by the venue, but it never spoke here: streams of the kind {watch.shard.category!r} may have "
            "moved to another route; compare the address with the venue's documentation"
        )  # fmt: skip
        log.warning(
            "stream silent", venue=self._venue, symbol=watch.symbol, stream=watch.name, url=watch.shard.url,
            silent_s=round(now - pace.last_at, 1), hint=hint, next="resubscribe",
        )  # fmt: skip

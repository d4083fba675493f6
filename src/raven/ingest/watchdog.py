"""Is every stream speaking? A socket that answers pings says nothing about the streams on it.

Each stream is measured against its own pace: the longest silence allowed is twenty of its usual pauses, between a floor
and a ceiling. A stream that never speaks after being acknowledged is called out by name, because that is how a wrong
route shows: the venue accepts the subscription and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
# Position in `Engine.last_seen`. Forced orders are left out: hours without one are good news.
_SEEN = {
    DataType.ORDERBOOK: 0, DataType.TRADES: 1, DataType.QUOTES: 2, DataType.CANDLES_1M: 3, DataType.CANDLES_5M: 3,
    DataType.CANDLES_1H: 3, DataType.FUNDING_RATES: 4,
}  # fmt: skip
# Nobody may have traded; a book or a mark price that does not change for minutes does not exist.
_MAY_BE_QUIET = frozenset({DataType.TRADES})


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
        """Names of the streams that are silent for too long now."""

    def forget(self, name: str) -> None:
        """Begin to measure a stream anew (it was subscribed again, or is not wanted any more)."""
        self._paces.pop(name, None)
        self.silent.discard(name)

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await self._clock.sleep(_CHECK_EVERY_S)
            self.check()

    def check(self) -> None:
        """Look once."""
        now = self._clock.monotonic()
        well: dict[Shard, bool] = {}
        silent: list[Watch] = []
        for watch in self._watches():
            if watch.data_type not in _SEEN or not watch.shard.is_connected or watch.name in watch.shard.refused:
                continue
            if self._is_silent(watch, now):
                silent.append(watch)
                well.setdefault(watch.shard, False)
            elif watch.data_type not in _MAY_BE_QUIET or self._paces[watch.name].changes:
                well[watch.shard] = True
        self.silent = {watch.name for watch in silent}
        for watch in silent:
            self._act(watch, now)
        for shard, some_speak in well.items():
            if not some_speak:
                log.warning(
                    "connection silent", venue=self._venue, url=shard.url, streams=len(shard.streams), next="reconnect"
                )
                for name in shard.streams:
                    self.forget(name)
                shard.reconnect("silent")

    def _is_silent(self, watch: Watch, now: float) -> bool:
        pace = self._paces.get(watch.name)
        if pace is None:
            pace = self._paces[watch.name] = _Pace(since=now, last_at=now)
        seen_ns = self._engine.last_seen(watch.instrument)[_SEEN[watch.data_type]]
        if seen_ns != pace.last_ns:
            pace.changes += pace.last_ns != 0
            pace.last_ns, pace.last_at, pace.alarms, pace.next_alarm_at = seen_ns, now, 0, 0.0
        return now - pace.last_at > self._allowed_s(watch, pace)

    def _allowed_s(self, watch: Watch, pace: _Pace) -> float:
        settings = self._settings
        if not pace.changes:
            return settings.max_silence_s if watch.data_type in _MAY_BE_QUIET else settings.first_frame_s
        usual = (pace.last_at - pace.since) / pace.changes
        # Sampled once per second, so a stream of a thousand a second has a pause of one second here.
        return min(settings.max_silence_s, max(settings.silence_s, _PAUSES * (usual - _CHECK_EVERY_S)))

    def _act(self, watch: Watch, now: float) -> None:
        pace = self._paces.get(watch.name)
        if pace is None or now < pace.next_alarm_at:
            return
        never_spoke = not pace.changes
        log.warning(
            "stream silent",
            venue=self._venue,
            stream=watch.name,
            silent_s=round(now - pace.last_at, 1),
            url=watch.shard.url,
            hint=(
                "acknowledged, but never spoke: is this the right route for it? The venue serves some streams on their "
                "own route and stays silent on others"
                if never_spoke
                else ""
            ),
            next="resubscribe",
        )
        if watch.data_type is DataType.ORDERBOOK:
            self._engine.mark_stale(watch.instrument, True)
        pace.alarms += 1
        pace.next_alarm_at = now + self._settings.silence_s * 2**pace.alarms
        watch.shard.resubscribe([watch.name])

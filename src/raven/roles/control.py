"""Control: collections that somebody starts and stops by hand, on whatever collects.

Control is one holder among others. What it holds is collected though nobody listens; letting go of it takes nothing
from those who do. A service that comes back, however it ended, collects again what had been started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from raven.clock import Clock, SystemClock
from raven.errors import RavenError
from raven.fanout import CollectionRow, Collector, Limits, Refused, Status, Unobtainable
from raven.fanout.dialect import Dialect
from raven.fanout.names import names_of, note
from raven.fanout.refusal import nearest, shorten, unobtainable
from raven.fanout.subscriptions import START_TIMEOUT_S
from raven.instruments import Instrument
from raven.observe import get_logger
from raven.resilience.backoff import Backoff
from raven.roles.started import Started
from raven.topics import Collected, StreamKind, Topic

__all__ = ["CONTROL", "CollectorControl"]

log = get_logger("control")

CONTROL = "control"
"""The holder of what was started by hand."""
# Between attempts to collect again what was started: an upstream that is back is noticed within the longest.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0
# A symbol is as well as the worst of its topics; a word that is not here is news, so it is told before all others.
_WORST_FIRST = ("refused", "connecting", "stale", "resyncing", "silent", "waiting", "live", "lingering")


class CollectorControl:
    """`raven.fanout.ControlPlane` over a collector. Lives on the loop of the gRPC face."""

    def __init__(
        self,
        collector: Collector,
        dialect: Dialect,
        *,
        limits: Limits | None = None,
        file: Path | None = None,
        party_of: Callable[[str], str] = str,
        start_timeout_s: float = START_TIMEOUT_S,
        clock: Clock | None = None,
    ) -> None:
        """`file` keeps over a restart what was started; see `restore`. `party_of` says who stands behind a holder."""
        self._collector = collector
        self._names = names_of(collector)
        self._dialect = dialect
        self._limits = limits or Limits()
        self._party_of = party_of
        self._start_timeout_s = start_timeout_s
        self._clock = clock or SystemClock()
        self._started = Started(file)
        # One start of a symbol at a time; a lock is there as long as somebody uses it.
        self._starts: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def restore(self) -> None:
        """Collect again what was started before the service came back; return when all of it is, however long that
        takes.
        """
        backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        missing = list(self._started)
        if missing:
            log.info("collecting again what was started by hand", topics=len(missing))
        while missing := [topic for topic in missing if not await self._regain(topic)]:
            await self._clock.sleep(backoff.next())

    async def start(self, symbol: str, venue: str, kind: StreamKind) -> str:
        """Collect a symbol until it is stopped. All of it or, when something of it cannot be had, nothing."""
        venue, kinds = self._venue(venue), self._dialect.collected(kind)
        by = self._deadline()
        instrument = await self._instrument(venue, symbol, by)
        wanted = [Topic(venue, instrument.symbol, data_type) for data_type in kinds]
        # Of two who start the same at once, one that fails must not let go of what the other has got.
        async with self._starts.setdefault((venue, instrument.symbol), asyncio.Lock()):
            fresh = [topic for topic in wanted if topic not in self._started]
            self._limits.check_topics(CONTROL, len(self._started), len(fresh))
            await self._acquire_all(fresh, by)
            self._started.add(fresh)
        names, said = _names(wanted), note(symbol, venue, instrument)
        if not fresh:
            return f"{names} was started before"
        log.info("started by hand", topics=[topic.name for topic in fresh])
        return f"collecting {names}{said and f'; {said}'}"

    async def stop(self, symbol: str, venue: str, kind: StreamKind) -> str:
        """Let go of what was started of a symbol; without a venue at every one, without a kind of every kind."""
        venue = self._venue(venue) if venue else ""
        self._limits.check_symbol(symbol)
        kinds = () if kind == StreamKind.UNSPECIFIED else self._dialect.collected(kind)
        mine = [
            topic
            for topic in self._started
            if self._means(symbol, topic) and venue in ("", topic.venue) and (not kinds or topic.data_type in kinds)
        ]
        if not mine:
            raise Refused(Status.NOT_FOUND, self._why_not(symbol, venue))
        await self._let_go(mine)
        return f"stopped {_names(mine)}; {self._rest(mine)}"

    async def stop_all(self) -> str:
        """Let go of everything that was started."""
        mine = list(self._started)
        if not mine:
            return "nothing was started by hand, so there is nothing to stop"
        await self._let_go(mine)
        symbols = len({(topic.venue, topic.symbol) for topic in mine})
        return f"stopped {symbols} symbol{'' if symbols == 1 else 's'}; {self._rest(mine)}"

    def collections(self) -> Sequence[CollectionRow]:
        """List what is collected, one row per venue and symbol."""
        by_symbol: dict[tuple[str, str], list[Collected]] = {}
        for one in self._collector.collected():
            by_symbol.setdefault((one.topic.venue, one.topic.symbol), []).append(one)
        return [self._row(venue, symbol, topics) for (venue, symbol), topics in sorted(by_symbol.items())]

    # --- inside -------------------------------------------------------------------------------------------------

    def _deadline(self) -> float:
        """Return when whoever asks now is to be answered, on the loop's clock."""
        return asyncio.get_running_loop().time() + self._start_timeout_s

    async def _instrument(self, venue: str, symbol: str, by: float) -> Instrument:
        self._limits.check_symbol(symbol)
        try:
            async with asyncio.timeout_at(by):
                return await self._names.resolve(venue, symbol)
        except RavenError as error:
            raise unobtainable(error) from error
        except TimeoutError:
            late = f"{venue} did not say within {self._start_timeout_s:g} s whether it has {shorten(symbol)}; ask again"
            raise Unobtainable(late, Status.UNAVAILABLE) from None

    def _means(self, symbol: str, topic: Topic | CollectionRow) -> bool:
        return topic.symbol == self._names.known_as(topic.venue, symbol)

    def _venue(self, venue: str) -> str:
        venues = list(self._collector.venues())
        if not venues:
            raise Refused(Status.NOT_FOUND, "this service has no venue to collect from")
        if venue and venue not in venues:
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"venue is {shorten(venue)}{nearest(venue, venues)}; this service collects from: {', '.join(venues)}",
            )
        return venue or venues[0]

    async def _regain(self, topic: Topic) -> bool:
        """Collect a topic again; False when that has to be tried again."""
        if topic not in self._started:
            return True
        try:
            await self._acquire(topic, self._deadline())
        except Unobtainable as refusal:
            if refusal.status is Status.UNAVAILABLE:
                log.warning("not collected again yet", topic=topic.name, reason=refusal.message, next="tries again")
                return False
            log.warning("not collected any more", topic=topic.name, reason=refusal.message, next="forgotten")
            self._started.remove((topic,))
        if topic not in self._started:
            # It was stopped meanwhile.
            await self._release(topic)
        return True

    async def _let_go(self, topics: Sequence[Topic]) -> None:
        self._started.remove(topics)
        for topic in topics:
            await self._release(topic)
        log.info("stopped by hand", topics=[topic.name for topic in topics])

    async def _acquire_all(self, topics: Iterable[Topic], by: float) -> None:
        begun: list[Topic] = []
        try:
            for topic in topics:
                await self._acquire(topic, by)
                begun.append(topic)
        except BaseException:
            for topic in begun:
                await self._release(topic)
            raise

    async def _acquire(self, topic: Topic, by: float) -> None:
        try:
            async with asyncio.timeout_at(by):
                await self._collector.acquire(CONTROL, topic.venue, topic.symbol, topic.data_type)
        except RavenError as error:
            raise unobtainable(error) from error
        except TimeoutError:
            await self._release(topic)
            late = f"{topic} did not start within {self._start_timeout_s:g} s; ask again, the service's log says more"
            raise Unobtainable(late, Status.UNAVAILABLE) from None

    async def _release(self, topic: Topic) -> None:
        await self._collector.release(CONTROL, topic.venue, topic.symbol, topic.data_type)

    def _why_not(self, symbol: str, venue: str) -> str:
        rows = [row for row in self.collections() if self._means(symbol, row) and venue in ("", row.venue)]
        asked = symbol.upper()
        if rows:
            holders = self._holders_of(lambda topic: self._means(symbol, topic) and venue in ("", topic.venue))
            return f"{asked} was not started by hand, so it cannot be stopped by hand; {_who(holders)}"
        known = nearest(asked, (row.symbol for row in self.collections()))
        place = f" from {venue}" if venue else ""
        return f"{asked} is not collected{place}{known}; ListCollections (`ravenctl list`) says what is"

    def _rest(self, topics: Iterable[Topic]) -> str:
        """Say what becomes of topics that control has let go of."""
        let_go = set(topics)
        return _who(self._holders_of(lambda topic: topic in let_go))

    def _holders_of(self, is_meant: Callable[[Topic], bool]) -> set[str]:
        return self._parties(one for one in self._collector.collected() if is_meant(one.topic))

    def _parties(self, topics: Iterable[Collected]) -> set[str]:
        return {self._party_of(holder) for one in topics for holder in one.holders}

    def _row(self, venue: str, symbol: str, topics: Sequence[Collected]) -> CollectionRow:
        def badness(one: Collected) -> int:
            return _WORST_FIRST.index(one.status) if one.status in _WORST_FIRST else -1

        subscribers = len(self._parties(topics) - {CONTROL})
        status = min(topics, key=badness).status
        return CollectionRow(symbol, venue, status, subscribers, tuple(one.topic.data_type for one in topics))


def _names(topics: Sequence[Topic]) -> str:
    """Return e.g. `TRADES, ORDERBOOK of BTCUSDT from binance_spot`; topics of one symbol."""
    kinds = dict.fromkeys(topic.data_type.name for topic in topics)
    venues = dict.fromkeys(topic.venue for topic in topics)
    return f"{', '.join(kinds)} of {topics[0].symbol} from {', '.join(venues)}"


def _who(holders: set[str]) -> str:
    """Say who goes on to hold what control does not. Streams and clients have a colon in their names."""
    named = sorted(holder for holder in holders if ":" not in holder)
    others = len(holders) - len(named)
    counted = [f"{others} subscriber{'' if others == 1 else 's'}"] if others else []
    return f"it goes on for {' and '.join([*named, *counted])}" if holders else "nobody else wants it, so it ends"

"""Bars of trades that come through a link: collected when somebody asks for them, and gone on with after a restart.

The native `LiveBars` makes them, on the loop of the service: a step every few milliseconds takes what has come since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from raven._core import BarSpec, Hub, LiveBars
from raven.clock import Clock
from raven.errors import RavenError
from raven.observe import get_logger
from raven.ports import Link
from raven.roles.bar_states import BarState, BarStates
from raven.roles.link_collector import LinkCollector
from raven.topics import DataType, Topic

__all__ = ["Aggregator", "TradesSince"]

log = get_logger("bars")

TradesSince = Callable[[Topic, int], Sequence[tuple[Any, ...]]]
"""Reads the trades of a topic from a time on (ms since 1970), oldest first, piece by piece: the arguments of
`LiveBars.take_past` behind the topic. Blocks; raises a RavenError when there is no past to be had.
"""

# A bar waits for half of this on average; the step itself takes microseconds.
_STEP_S = 0.005
# Of one symbol in one step: more wait for the next, so that nobody else on the loop waits for them.
_STEP_TRADES = 5_000
# What is lost of a bar when the process is killed and the past cannot be read.
_SAVE_S = 1.0
# Clocks of venues differ from ours; what is read twice is left out by its id.
_OVERLAP_MS = 60_000
# How often it is looked whether the upstream is there, and what one that is back is given to say what was missed.
_LOOK_MS, _RETURN_MS = 100, 2_000
# An upstream that takes longer to tell the past is not waited for.
_PAST_TIMEOUT_S = 10.0


class Aggregator(LinkCollector):
    """A `raven.fanout.Collector` of the bars of one rule. `hub` is where they are published; lives on one loop."""

    def __init__(
        self,
        link: Link,
        hub: Hub,
        spec: BarSpec,
        *,
        venue: str,
        symbols: Sequence[str] = (),
        state_dir: Path | None = None,
        past: TradesSince | None = None,
        warm_up_s: float = 3600.0,
        linger_s: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        """`past` fills what was missed since the last run, or the last `warm_up_s` when there was none."""
        self.data_type = DataType(spec.data_type)
        super().__init__(link, venue, [self.data_type], hub=hub, symbols=symbols, linger_s=linger_s, clock=clock)
        self._bars = LiveBars(spec, link.hub, hub)
        self._states = BarStates(spec.label, self.data_type, state_dir / "bars.state" if state_dir else None)
        self._past = past
        self._warm_up_ms = int(warm_up_s * 1000)
        self._made: dict[Topic, int] = {}
        """The topics of bars that are made now, and their ids."""
        self._seen: dict[Topic, int] = {}
        """Trades that had been seen when a topic's state was kept."""
        self._is_wanted = asyncio.Event()
        self._clock_stands_until_ms = 0
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to make bars of whatever is asked for."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="bars")

    async def watch(self) -> None:
        """Wait until bars are made no more. Raises what made that impossible."""
        task = self._task
        if task is not None:
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def stop(self) -> None:
        """Take what has come, keep what is known of unfinished bars, and make no more."""
        await super().stop()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._step()
            self._keep()
            if self._writing is not None:
                # One at a time writes the file.
                await asyncio.gather(self._writing, return_exceptions=True)
            self._states.write()

    # --- one topic --------------------------------------------------------------------------------------------------

    async def _begin(self, topic: Topic, depth: int) -> int:
        trades = await self._link.acquire(topic.venue, topic.symbol, DataType.TRADES)
        bars: int | None = None
        try:
            state = self._states.get(topic)
            past = await self._missed(topic, state)
            words = state.words if state else None
            # What the link has had since before this was asked for is known already, or warms up the bars.
            bars, is_continued = self._bars.add(trades, state=words, from_start=True)
            for piece in past:
                self._bars.take_past(bars, *piece)
        except BaseException:
            if bars is not None:
                self._bars.remove(bars)
            await self._link.release(topic.venue, topic.symbol, DataType.TRADES)
            raise
        log.info("making bars", topic=topic.name, continued=is_continued, past_trades=sum(len(one[0]) for one in past))
        self._made[topic] = bars
        self._is_wanted.set()
        return bars

    async def _end(self, topic: Topic) -> None:
        self._keep()
        bars = self._made.pop(topic)
        self._seen.pop(topic, None)
        self._bars.remove(bars)
        await self._link.release(topic.venue, topic.symbol, DataType.TRADES)

    async def _missed(self, topic: Topic, state: BarState | None) -> Sequence[tuple[Any, ...]]:
        """Read the trades since a state was kept; none when nobody can tell them."""
        earliest = self._now_ms() - self._warm_up_ms
        since = max(earliest, state.at_ms - _OVERLAP_MS) if state else earliest
        trades = Topic(topic.venue, topic.symbol, DataType.TRADES)
        try:
            if self._past is not None:
                return await asyncio.wait_for(asyncio.to_thread(self._past, trades, since), _PAST_TIMEOUT_S)
        except (RavenError, TimeoutError) as error:
            reason = error.message if isinstance(error, RavenError) else f"no answer within {_PAST_TIMEOUT_S:g} s"
            log.info("bars begin without the past", topic=topic.name, reason=reason)
        if state is not None:
            # The next trade says by its id what is missing of the bar that is open; the clock waits for it.
            self._clock_stands_until_ms = self._now_ms() + _RETURN_MS
        return ()

    def _is_live(self, topic: Topic, topic_id: int) -> bool:
        return self._trades(topic_id) > 0

    # --- all of them ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        saved_ms = looked_ms = self._now_ms()
        while True:
            if not self._made:
                self._is_wanted.clear()
                await self._is_wanted.wait()
            if self._now_ms() - looked_ms >= _LOOK_MS:
                looked_ms = self._now_ms()
                if not self._link.status().connected:
                    # The clock ends no bar of which nobody knows what is still to come.
                    self._clock_stands_until_ms = looked_ms + _RETURN_MS
            self._step()
            if self._writing is not None and self._writing.done():
                self._writing.result()
                self._writing = None
            if self._writing is None and self._now_ms() - saved_ms >= _SAVE_S * 1000:
                saved_ms = self._now_ms()
                if self._keep():
                    # Bars do not wait for the disk, nor for a thread to be free.
                    self._writing = asyncio.create_task(asyncio.to_thread(self._states.write))
            await self._clock.sleep(_STEP_S)

    def _step(self) -> None:
        now_ms = self._now_ms()
        self._bars.step(now_ms if now_ms >= self._clock_stands_until_ms else 0, _STEP_TRADES)

    def _keep(self) -> bool:
        """Note what is known of the bars that have changed; False when none has."""
        changed = False
        for topic, bars in self._made.items():
            seen = self._trades(bars)
            words = self._bars.state(bars)
            if words is not None and self._seen.get(topic) != seen:
                self._states.put(topic, BarState(words, self._now_ms()))
                self._seen[topic] = seen
                changed = True
        return changed

    def _trades(self, bars: int) -> int:
        counts = self._bars.counts(bars)
        return counts[0] if counts else 0

    def _now_ms(self) -> int:
        return self._clock.time_ns() // 1_000_000

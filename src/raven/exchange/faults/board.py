"""The faults that are armed: streams, REST and connections ask the board what goes wrong now.

A fault can come from Python (`Exchange.inject`), from the control endpoint, from a script, or from chance with a seed.
"""

import asyncio
import fnmatch
import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raven.exchange.faults.fault import STREAM_FAULTS, Fault
from raven.exchange.faults.malformed import MALFORMED_KINDS, spoil
from raven.exchange.markets import Market
from raven.exchange.timeline import SECOND, Timeline

if TYPE_CHECKING:
    from raven.exchange.wire.streams import Build, Stream

# A full snapshot has some 50 kB; with hundreds of symbols not all of them can be kept for going stale.
_KEPT_SNAPSHOTS = 64


@dataclass(slots=True, eq=False)
class _Active:
    fault: Fault
    number: int
    left: int
    """Strikes left; -1 for no limit."""
    until_ns: int = 0
    held: "deque[tuple[Stream, Build, tuple[object, ...]]]" = field(default_factory=deque)


class FaultBoard:
    """The faults of all markets of an exchange. One per exchange."""

    def __init__(self, timeline: Timeline, seed: int) -> None:
        self.timeline = timeline
        self.armed = False
        """Whether streams have to ask at all: the way of an event is not longer without faults."""
        self.struck: Counter[str] = Counter()
        """How often each kind struck."""
        self._chance = random.Random(f"faults:{seed}")
        self._numbers = 0
        self._stream: list[_Active] = []
        self._rest: list[_Active] = []
        self._snapshots: dict[tuple[Market, str], str] = {}

    def add(self, fault: Fault) -> int:
        """Arm a stream or REST fault now and return its number."""
        self._numbers += 1
        limited = fault.count if fault.count else -1
        if fault.kind == "silence":
            limited = -1
        active = _Active(fault, self._numbers, limited)
        lasting = fault.kind == "silence" or (
            fault.count == 0 and fault.kind not in ("delay", "slow_snapshot", "http_429", "http_418")
        )
        if lasting and fault.seconds:
            active.until_ns = self.timeline.now_ns + int(fault.seconds * SECOND)
            self.timeline.call_at(active.until_ns, lambda: self._expire(active.number))
        if fault.kind in STREAM_FAULTS:
            self._stream.append(active)
            self.armed = True
        else:
            self._rest.append(active)
        return active.number

    def remove(self, number: int) -> bool:
        """Call a fault off; what a reordering still holds is sent. False if it is over already."""
        for group in (self._stream, self._rest):
            for active in group:
                if active.number == number:
                    group.remove(active)
                    self._release(active)
                    self.armed = bool(self._stream)
                    return True
        return False

    def _expire(self, number: int) -> None:
        self.remove(number)

    def clear(self) -> None:
        """Call all faults off."""
        for active in [*self._stream, *self._rest]:
            self.remove(active.number)

    def active(self) -> list[tuple[int, Fault]]:
        """Return the faults that are armed, with their numbers."""
        return [(active.number, active.fault) for active in (*self._stream, *self._rest)]

    # --- streams -----------------------------------------------------------------------------------------

    def pass_event(self, stream: "Stream", build: "Build", arguments: tuple[object, ...]) -> None:
        """Take an event of a stream and let it through, change it or not; the first fault that matches decides."""
        for active in list(self._stream):
            fault = active.fault
            if fault.market and fault.market != stream.market:
                continue
            if not fnmatch.fnmatchcase(stream.name.text, fault.target):
                continue
            if active.held:
                # The event after the held one overtakes it.
                stream.deliver(build, arguments)
                self._release(active)
                self._strike(active)
                return
            if fault.probability < 1.0 and self._chance.random() >= fault.probability:
                continue
            self._apply(active, stream, build, arguments)
            return
        stream.deliver(build, arguments)

    def _apply(self, active: _Active, stream: "Stream", build: "Build", arguments: tuple[object, ...]) -> None:
        kind = active.fault.kind
        if kind == "reorder":
            active.held.append((stream, build, arguments))
            return
        if kind == "duplicate":
            stream.deliver(build, arguments)
            stream.deliver(build, arguments)
        elif kind == "malformed":
            how = active.fault.how or self._chance.choice(MALFORMED_KINDS)
            stream.deliver(build, arguments, lambda payload: spoil(payload, how))
        elif kind == "delay":
            later = self.timeline.now_ns + int(active.fault.seconds * SECOND)
            self.timeline.call_at(later, lambda: stream.deliver(build, arguments))
        self._strike(active)

    def _release(self, active: _Active) -> None:
        while active.held:
            stream, build, arguments = active.held.popleft()
            stream.deliver(build, arguments)

    def _strike(self, active: _Active) -> None:
        self.struck[active.fault.kind] += 1
        if active.left > 0:
            active.left -= 1
            if active.left == 0:
                self.remove(active.number)

    # --- REST --------------------------------------------------------------------------------------------

    def take_rest(self, market: Market, endpoint: str, symbol: str) -> Fault | None:
        """Return the fault that strikes a request, if any."""
        for active in list(self._rest):
            fault = active.fault
            if fault.market and fault.market != market:
                continue
            if not fnmatch.fnmatchcase(endpoint, fault.endpoint) or not fnmatch.fnmatchcase(
                symbol, fault.target.upper()
            ):
                continue
            if fault.probability < 1.0 and self._chance.random() >= fault.probability:
                continue
            self._strike(active)
            return fault
        return None

    def keep_snapshot(self, market: Market, params: Mapping[str, str], body: str, *, stale: bool) -> str:
        """Keep the first depth answer per symbol and limit, and return it again when a stale one is wanted."""
        key = (market, f"{params.get('symbol')}:{params.get('limit')}")
        first = self._snapshots.get(key)
        if first is None:
            if len(self._snapshots) >= _KEPT_SNAPSHOTS:
                del self._snapshots[next(iter(self._snapshots))]
            first = self._snapshots[key] = body
        return first if stale else body

    async def sleep(self, seconds: float) -> None:
        """Wait on the exchange's time."""
        done = asyncio.Event()
        self.timeline.call_later(int(seconds * SECOND), done.set)
        await done.wait()

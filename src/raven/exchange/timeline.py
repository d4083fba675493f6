"""One axis of time for the whole exchange: every event, interval, ping and limit is a timer on it.

The exchange never asks the operating system what time it is. With a `Timeline` that a test moves by hand the same seed
gives the same bytes; the server moves it along the real clock (`Exchange` does that, see server.py).
"""

import heapq
from collections.abc import Callable
from time import monotonic_ns, time_ns

MS = 1_000_000
"""Nanoseconds in a millisecond."""
SECOND = 1_000_000_000
"""Nanoseconds in a second."""

# Midnight UTC of a Monday: weekly candles, days and funding hours all begin on it.
DEFAULT_START_NS = 1_735_516_800 * SECOND


class Timer:
    """Something that happens once, at a time; can be called off or set again."""

    __slots__ = ("action", "generation", "when_ns")

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action
        self.when_ns = -1
        self.generation = 0

    @property
    def armed(self) -> bool:
        """Whether the timer still has to fire."""
        return self.when_ns >= 0

    def cancel(self) -> None:
        """Call it off; harmless when it has fired or was never set."""
        self.when_ns = -1
        self.generation += 1


class Timeline:
    """Timers in order of time; equal times fire in the order they were set.

    `now_ns` is the time of the timer that fires, so what happens is stamped with when it was due and not with when the
    machine came round to it.
    """

    def __init__(self, start_ns: int = DEFAULT_START_NS) -> None:
        self.now_ns = start_ns
        self._heap: list[tuple[int, int, int, Timer]] = []
        self._order = 0

    def set(self, timer: Timer, when_ns: int) -> None:
        """Arm a timer for a time; a time that has passed means as soon as possible. Setting again replaces."""
        timer.generation += 1
        timer.when_ns = when_ns
        self._order += 1
        heapq.heappush(self._heap, (when_ns, self._order, timer.generation, timer))

    def call_at(self, when_ns: int, action: Callable[[], None]) -> Timer:
        """Run `action` at a time and return its timer."""
        timer = Timer(action)
        self.set(timer, when_ns)
        return timer

    def call_later(self, delay_ns: int, action: Callable[[], None]) -> Timer:
        """Run `action` after a delay and return its timer."""
        return self.call_at(self.now_ns + delay_ns, action)

    def next_due_ns(self) -> int | None:
        """Return when the next timer fires, or None when nothing is planned."""
        while self._heap:
            when, _, generation, timer = self._heap[0]
            if timer.generation == generation:
                return when
            heapq.heappop(self._heap)
        return None

    def run_until(self, until_ns: int, limit: int = 0) -> bool:
        """Fire what is due up to and including `until_ns`; with `limit`, at most so many timers.

        Returns: True when nothing due is left. Time then stands at `until_ns`; otherwise at the last timer that fired.
        """
        heap = self._heap
        fired = 0
        while heap and heap[0][0] <= until_ns:
            if limit and fired >= limit:
                return False
            when, _, generation, timer = heapq.heappop(heap)
            if timer.generation != generation:
                continue
            timer.when_ns = -1
            timer.generation += 1
            self.now_ns = max(self.now_ns, when)
            timer.action()
            fired += 1
        self.now_ns = max(self.now_ns, until_ns)
        return True

    def sent_ns(self) -> int:
        """Return the time that frames carry as event time (`E`): here the time of the timer."""
        return self.now_ns

    def wall_ns(self) -> int:
        """Return what time it is outside: for a hand-moved timeline the same."""
        return self.now_ns


class RealTimeline(Timeline):
    """A timeline that follows the machine's clock, immune to the clock being set."""

    def __init__(self) -> None:
        super().__init__(time_ns())
        self._offset = self.now_ns - monotonic_ns()

    def wall_ns(self) -> int:
        """Return the present, nanoseconds since 1970."""
        return monotonic_ns() + self._offset

    def sent_ns(self) -> int:
        """Return the present: a frame says when it was built, so that a latency can be measured from it."""
        return monotonic_ns() + self._offset

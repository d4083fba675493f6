"""How long to wait before the next try to reach the server."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Doubles from `first_s` to `cap_s`, each wait spread by half so that a hundred clients do not come back as one."""

    def __init__(self, first_s: float = 0.25, cap_s: float = 10.0, spread: Callable[[], float] = random.random) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._spread = spread
        self.attempts = 0

    def reset(self) -> None:
        """Start over after a success."""
        self.attempts = 0

    def next_s(self) -> float:
        """Return the seconds to wait before the next attempt, and count it."""
        # 2**30 is far beyond any cap; the bound only keeps the float finite after weeks of trying.
        full = min(self._cap_s, self._first_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return full * (0.5 + 0.5 * self._spread())

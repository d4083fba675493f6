"""How long to wait before the next attempt: full jitter, a cap, and no end."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Pauses that double from `first_s` to `cap_s`, each drawn between a quarter of itself and itself.

    Attempts never end. After an attempt that held for `stable_s` seconds the pauses start anew.
    """

    def __init__(
        self, first_s: float, cap_s: float, *, stable_s: float = 30.0, dice: random.Random | None = None
    ) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._stable_s = stable_s
        self._dice = dice or random.Random()
        self.attempts = 0
        """Failures in a row."""

    def next(self) -> float:
        """Return the pause after one more failure, seconds."""
        # 2**30 first pauses are longer than any cap; without the bound the power would overflow after days.
        pause = min(self._cap_s, self._first_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        # Some of the pause is certain, so that a thousand clients spread out and none hammers.
        return pause * self._dice.uniform(0.25, 1.0)

    def held(self, seconds: float) -> None:
        """Say how long the last attempt held."""
        if seconds >= self._stable_s:
            self.attempts = 0

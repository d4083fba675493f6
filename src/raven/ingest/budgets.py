"""Request budgets and bans, by the account that the exchange keeps: venues that are counted together share one."""

from __future__ import annotations

from raven.clock import Clock
from raven.ports import Venue
from raven.resilience.bans import Bans
from raven.resilience.pacing import Pacer

__all__ = ["Budget", "Budgets"]

_MINUTE_S = 60.0


class Budget:
    """What may be asked of one exchange from here."""

    def __init__(self, name: str, weight_per_minute: float, share: float, clock: Clock, bans: Bans) -> None:
        self.name = name
        self.weight = Pacer(weight_per_minute * share, _MINUTE_S, clock)
        """Weight of the last minute."""
        self._share = share
        self._bans = bans

    def set_weight_per_minute(self, weight: float) -> None:
        """Take the exchange's own figure."""
        self.weight.set_limit(weight * self._share)

    @property
    def banned_s(self) -> float:
        """For how many seconds more the exchange wants no request."""
        return self._bans.left_s(self.name)

    def ban(self, seconds: float) -> None:
        """Ask nothing for so long."""
        self._bans.add(self.name, seconds)


class Budgets:
    """Every budget by name; the first venue of a pool decides how large it is."""

    def __init__(self, share: float, clock: Clock, bans: Bans) -> None:
        self._share = share
        self._clock = clock
        self._bans = bans
        self._budgets: dict[str, Budget] = {}

    def of(self, venue: Venue, weight_per_minute: float) -> Budget:
        """Return the budget of a venue."""
        name = venue.limits.weight_pool or venue.name
        if name not in self._budgets:
            self._budgets[name] = Budget(name, weight_per_minute, self._share, self._clock, self._bans)
        return self._budgets[name]

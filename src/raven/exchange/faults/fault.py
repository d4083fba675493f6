"""One fault as a record: what is to go wrong, where, how often, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raven.exchange.faults.malformed import MALFORMED_KINDS
from raven.exchange.markets import Market

STREAM_FAULTS = ("drop", "duplicate", "reorder", "gap", "silence", "malformed", "delay")
"""Faults of events on streams."""
REST_FAULTS = ("slow_snapshot", "http_500", "truncated_snapshot", "stale_snapshot", "http_429", "http_418")
"""Faults of REST answers."""
CONNECTION_FAULTS = ("disconnect", "reset", "half_open", "refuse", "server_shutdown")
"""Faults of connections."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. Raises: ValueError when it makes no sense; the message names the field."""

    kind: str
    market: str = ""
    """Only this market; empty for all."""
    target: str = "*"
    """Shell pattern of stream names (`btcusdt@depth*`); for REST faults of symbols (`BTCUSDT`)."""
    count: int = 1
    """How many events or requests it strikes; 0 for all as long as it lasts. `gap` drops so many in a row."""
    seconds: float = 0.0
    """How long it lasts (silence, refuse, count 0), the wait (delay, slow_snapshot), or Retry-After (429, 418)."""
    probability: float = 1.0
    """Share of the matching events it strikes."""
    how: str = ""
    """`malformed`: which way (one of MALFORMED_KINDS, or empty for chance)."""
    code: int = 1001
    """`disconnect`: close code; 1006 closes without a close frame."""
    after_s: float = 0.0
    """Begins so many seconds from now."""
    endpoint: str = "depth"
    """REST faults: which endpoint (shell pattern)."""

    def __post_init__(self) -> None:
        """Check the fields that have a fixed set of values."""
        every = (*STREAM_FAULTS, *REST_FAULTS, *CONNECTION_FAULTS)
        if self.kind not in every:
            raise ValueError(f"fault kind {self.kind!r} is not one of {', '.join(every)}")
        if self.market and self.market not in tuple(Market):
            raise ValueError(f"fault market {self.market!r} is not one of {', '.join(Market)}")
        if self.how and self.how not in MALFORMED_KINDS:
            raise ValueError(f"fault how {self.how!r} is not one of {', '.join(MALFORMED_KINDS)}")
        if not 0.0 < self.probability <= 1.0 or self.count < 0 or self.seconds < 0 or self.after_s < 0:
            raise ValueError("fault probability must be in (0, 1], count, seconds and after_s at least 0")
        if self.kind in ("silence", "refuse") and self.seconds == 0 and self.count != 0:
            raise ValueError(f"fault {self.kind} needs seconds, or count 0 to last until it is cleared")

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Fault":
        """Read a fault from a JSON object. Raises: ValueError for unknown keys or values."""
        unknown = set(body) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(
                f"fault keys {sorted(unknown)} are not known; known are {sorted(cls.__dataclass_fields__)}"
            )
        try:
            return cls(**body)
        except TypeError as error:
            raise ValueError(f"fault {dict(body)} is not valid: {error}; give at least a kind") from None

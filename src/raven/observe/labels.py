"""Bounded metric labels: a client that invents symbols must not fill the memory."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["OTHER", "LabelCap"]

OTHER = "other"


class LabelCap:
    """Admits the first `limit` values of a label; every further one is shown as `other`."""

    def __init__(self, label: str, limit: int = 2000) -> None:
        self.label = label
        self.limit = limit
        self.on_overflow: Callable[[], None] | None = None
        self._admitted: set[str] = set()

    def admit(self, value: str) -> str:
        """Return `value`, or `other` when the label is full."""
        if value in self._admitted:
            return value
        if len(self._admitted) >= self.limit:
            if self.on_overflow:
                self.on_overflow()
            return OTHER
        self._admitted.add(value)
        return value

    def reset(self) -> None:
        """Forget every value (tests, or after collections ended)."""
        self._admitted.clear()

"""The words that tables about services share."""

from __future__ import annotations

from raven.ctl.reach import State

__all__ = ["health", "seconds"]


def health(state: State) -> str:
    """Say in a word or two, with its colour, how a service is."""
    if not state.is_up:
        return "[red]down[/]"
    said = str(state.status.get("status"))
    if said == "healthy" and state.status.get("ready"):
        return "[yellow]not ready[/]"
    return f"[{'green' if said == 'healthy' else 'yellow' if said == 'degraded' else 'red'}]{said}[/]"


def seconds(value: float | None) -> str:
    """Say how late something is; nothing when that is not known."""
    if value is None:
        return ""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:,.1f} s"

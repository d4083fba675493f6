"""The live view of `ravenctl top`: services side by side, with rates between two looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from raven.ctl.chain import without_the_unmissed
from raven.ctl.page import health, seconds
from raven.ctl.reach import Reach, State, Target
from raven.ctl.terminal import figures

__all__ = ["Rates", "show_top", "view"]

_COUNTERS = ("events", "sent", "lost")


class Rates:
    """What grew between two looks, per second."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], tuple[int, float]] = {}

    def follow(self, state: State, now: float) -> dict[str, float | None]:
        """Return the rates of a service; None until it was seen twice, and after it began anew."""
        rates: dict[str, float | None] = {}
        for counter in _COUNTERS:
            key = state.name, counter
            count = state.status.get(counter)
            seen = self._before.pop(key, None)
            if count is None:
                rates[counter] = None
                continue
            self._before[key] = (count, now)
            rates[counter] = (
                (count - seen[0]) / (now - seen[1]) if seen and count >= seen[0] and now > seen[1] else None
            )
        return rates


def view(states: Sequence[State], rates: Rates, now: float) -> RenderableType:
    """Return one look as a table, with what is wrong below it."""
    table = figures()
    for name in ("service", "health", "symbols", "events/s", "lag", "clients", "sent/s", "lost", "slowest client"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("service", "health") else "right")
    for state in states:
        if not state.is_up:
            continue
        rate, said = rates.follow(state, now), state.status
        lost = f"{said.get('lost', 0):,}"
        table.add_row(
            state.name, health(state), str(len(said.get("collections", ()))), _rate(rate["events"]),
            seconds(said.get("lag_seconds")), str(len(said.get("clients", ()))), _rate(rate["sent"]),
            f"[red]{lost}[/]" if lost != "0" else lost, _slowest(state),
        )  # fmt: skip
    notes = [Text(f"{state.name}: {one}", style="yellow") for state in states if state.is_up for one in state.troubles]
    away = [state.name for state in without_the_unmissed(states) if not state.is_up]
    notes += [Text(f"not running: {', '.join(away)}", style="dim")] if away else []
    return Group(table, *notes)


async def show_top(reach: Reach, targets: Sequence[Target], interval_s: float, console: Console | None = None) -> None:
    """Show it until cancelled; once, with rates, where there is no terminal."""
    console = console or Console()
    rates = Rates()
    states = await reach.look(targets)
    first = view(states, rates, time.monotonic())
    if not console.is_terminal:
        await asyncio.sleep(interval_s)
        console.print(view(await reach.look(targets), rates, time.monotonic()))
        return
    with Live(first, console=console, auto_refresh=False, screen=True) as screen:
        while True:
            await asyncio.sleep(interval_s)
            screen.update(view(await reach.look(targets), rates, time.monotonic()), refresh=True)


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _slowest(state: State) -> str:
    streams = [
        (stream["lag"], client["client_id"])
        for client in state.status.get("clients", ())
        for stream in client["streams"]
        if stream["lag"]
    ]
    return "{1}: {0:,} behind".format(*max(streams)) if streams else ""

"""What a person sees: a table of symbols on a terminal, one line of facts every few seconds elsewhere.

Numbers come from a `ViewSource`; prices are exact text, as published. The view only reads, a few times per second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from raven.clock import Clock, SystemClock
from raven.observe import get_logger

__all__ = ["LiveView", "ViewRow", "ViewSource", "ViewTotals", "show"]

log = get_logger("feed")

REFRESH_S = 0.5
PLAIN_EVERY_S = 10.0
# One bar per sample: the last 8 s of mid prices.
SPARK_SAMPLES = 16
SPARK_BARS = "▁▂▃▄▅▆▇█"

# Narrower terminals get the header in two columns, and the table without its least needed columns.
WIDE_HEADER = 104
ESSENTIAL_COLUMNS = 5
MOST_TROUBLES = 3

STATE_STYLE = {"synced": "green", "resyncing": "yellow", "stale": "red", "waiting": "bright_black"}
STATE_MARK = {"synced": "●", "resyncing": "◐", "stale": "○", "waiting": "·"}


@dataclass(frozen=True, slots=True)
class ViewRow:
    """One symbol at one venue. Texts are empty and numbers None while unknown."""

    venue: str
    symbol: str
    state: str
    """`synced`, `resyncing`, `stale` or `waiting`, as the engine calls them."""
    connected: bool
    bid: str = ""
    ask: str = ""
    spread_ticks: int | None = None
    spread_bps: float | None = None
    last_price: str = ""
    last_quantity: str = ""
    last_side: str = ""
    """The taker's: `buy` or `sell`."""
    books_per_s: float = 0.0
    trades_per_s: float = 0.0
    gaps: int = 0
    resyncs: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class ViewTotals:
    """The server as a whole."""

    source: str
    """Where the data comes from, in words, e.g. `built-in exchange, 3 symbols`."""
    uptime_s: float
    frames_per_s: float
    """WebSocket frames received; one may carry several events."""
    megabytes_per_s: float
    latency_p50_us: float | None
    """From a frame's arrival to its publication; None before the first."""
    latency_p99_us: float | None
    clients: int
    streams: int
    sent_per_s: float
    lost: int
    """Events slow clients lost; each loss was told by a gap mark."""
    grpc: str
    """`host:port`."""
    health_url: str
    metrics_url: str
    troubles: Sequence[str] = ()
    """What does not work just now, in words."""


class ViewSource(Protocol):
    """Where the view reads. Both calls are made from the main loop and must be quick."""

    def rows(self) -> Sequence[ViewRow]:
        """Return every symbol, in the order to show them."""
        ...

    def totals(self) -> ViewTotals:
        """Return the figures of the whole server."""
        ...


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    dispensable: int
    cell: Callable[[ViewRow], RenderableType]
    justify: Literal["left", "right"] = "left"


class LiveView:
    """Renders a source; remembers mid prices for the small charts."""

    def __init__(self, source: ViewSource) -> None:
        self._source = source
        self._seen: tuple[Sequence[ViewRow], ViewTotals] | None = None
        self._mids: dict[tuple[str, str], deque[float]] = {}

    def look(self) -> None:
        """Read the source once, and take a mid price per symbol for the charts; call it at a steady pace."""
        self._seen = self._source.rows(), self._source.totals()
        for row in self._seen[0]:
            if row.bid and row.ask:
                mids = self._mids.setdefault((row.venue, row.symbol), deque(maxlen=SPARK_SAMPLES))
                mids.append((float(row.bid) + float(row.ask)) / 2)

    def render(self, width: int = 120, height: int = 40) -> RenderableType:
        """Return what the last look saw, for a terminal of this size; what does not fit is left out."""
        if self._seen is None:
            self.look()
        assert self._seen is not None
        rows, totals = self._seen
        troubles = [Text(f"  ✗ {trouble}", style="bold red") for trouble in totals.troubles[:MOST_TROUBLES]]
        told_on = sum(1 + (len(trouble) - 1) // width for trouble in troubles)
        room = max(3, height - told_on - (11 if width >= WIDE_HEADER else 15))
        shown = rows[:room]
        parts: list[RenderableType] = [_header(totals, rows, width), *troubles, self._table(shown, width)]
        if len(rows) > len(shown):
            parts.append(Text(f"  … and {len(rows) - len(shown)} more symbols", style="bright_black"))
        parts.append(_footer(totals))
        return Group(*parts)

    def _table(self, rows: Sequence[ViewRow], width: int) -> Table:
        """Return the table with as many columns as fit: a price is never cut, a column is left out instead."""
        columns = self._columns(several_venues=len({row.venue for row in rows}) > 1)
        measure = Console(width=10_000)
        while True:
            table = _filled(columns, rows)
            if Measurement.get(measure, measure.options, table).maximum <= width or len(columns) <= ESSENTIAL_COLUMNS:
                return table
            columns.remove(max(columns, key=lambda column: column.dispensable))

    def _columns(self, *, several_venues: bool) -> list[_Column]:
        columns = [
            _Column("", 0, _connection),
            _Column("symbol", 0, lambda row: Text(row.symbol, style="bold")),
            _Column("venue", 6, lambda row: Text(row.venue, style="bright_black")),
            _Column("bid", 0, lambda row: Text(row.bid or "–", style="green" if row.bid else ""), "right"),
            _Column("ask", 0, lambda row: Text(row.ask or "–", style="red" if row.ask else ""), "right"),
            _Column("spread", 2, _spread, "right"),
            _Column("bps", 5, _basis_points, "right"),
            _Column("last trade", 1, _last_trade, "right"),
            _Column("mid price", 9, self._spark),
            _Column("books/s", 4, lambda row: _rate(row.books_per_s), "right"),
            _Column("trades/s", 3, lambda row: _rate(row.trades_per_s), "right"),
            _Column("gaps", 7, lambda row: _count(row.gaps), "right"),
            _Column("resyncs", 8, lambda row: _count(row.resyncs), "right"),
            _Column("book", 0, _book),
        ]
        return columns if several_venues else [column for column in columns if column.name != "venue"]

    def _spark(self, row: ViewRow) -> Text:
        mids = self._mids.get((row.venue, row.symbol))
        if not mids:
            return Text("")
        low, high = min(mids), max(mids)
        span = (high - low) or 1.0
        bars = "".join(SPARK_BARS[min(7, int((mid - low) / span * 7.999))] for mid in mids)
        style = "green" if mids[-1] > mids[0] else "red" if mids[-1] < mids[0] else "bright_black"
        return Text(bars.rjust(SPARK_SAMPLES), style=style)


def _filled(columns: Sequence[_Column], rows: Sequence[ViewRow]) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        header_style="bold bright_black",
        border_style="bright_black",
    )
    for column in columns:
        table.add_column(column.name, justify=column.justify, no_wrap=True)
    for row in rows:
        # A book that cannot be trusted is never shown as if it could.
        table.add_row(*(column.cell(row) for column in columns), style="" if row.state == "synced" else "dim")
    return table


def _header(totals: ViewTotals, rows: Sequence[ViewRow], width: int) -> Panel:
    synced = sum(1 for row in rows if row.state == "synced")
    all_well = synced == len(rows) and rows
    # In pairs that stand above each other when there is room.
    pairs = (
        ("books in sync", f"{synced}/{len(rows)}", "green" if all_well else "yellow"),
        ("up", _duration(totals.uptime_s), ""),
        ("in", f"{_rate(totals.frames_per_s)} frames/s", ""),
        ("in", f"{totals.megabytes_per_s:.2f} MB/s", ""),
        ("latency p50", _micros(totals.latency_p50_us), ""),
        ("latency p99", _micros(totals.latency_p99_us), ""),
        ("clients", str(totals.clients), "cyan" if totals.clients else ""),
        ("streams", str(totals.streams), ""),
        ("out", f"{_rate(totals.sent_per_s)} messages/s", ""),
        ("lost by slow clients", f"{totals.lost:,}", "yellow" if totals.lost else ""),
    )
    facts = [_fact(*pair) for pair in pairs]
    per_line = 5 if width >= WIDE_HEADER else 2
    grid = Table.grid(padding=(0, 3))
    for _ in range(per_line):
        grid.add_column(no_wrap=True)
    for first in range(0, len(facts), 2 * per_line):
        block = facts[first : first + 2 * per_line]
        grid.add_row(*block[0::2])
        grid.add_row(*block[1::2])
    title = Text.assemble((" raven ", "bold black on cyan"), ("  " + totals.source + " ", "bold"))
    return Panel(grid, box=ROUNDED, title=title, title_align="left", border_style="cyan", padding=(0, 2), expand=False)


def _footer(totals: ViewTotals) -> Text:
    return Text.assemble(
        ("  connect  ", "bright_black"),
        (f'raven.connect("{totals.grpc}")', "cyan"),
        ("   stop  ", "bright_black"),
        ("Ctrl-C", ""),
        ("   ▮ ", "green"),
        ("connected ", "bright_black"),
        ("▯ ", "bold red"),
        ("not", "bright_black"),
        ("\n  look at  ", "bright_black"),
        (totals.health_url, ""),
        ("  ", ""),
        (totals.metrics_url, ""),
    )


def _fact(name: str, value: str, style: str = "") -> Text:
    return Text.assemble((f"{name} ", "bright_black"), (value, f"bold {style}".strip()))


def _connection(row: ViewRow) -> Text:
    return Text("▮" if row.connected else "▯", style="green" if row.connected else "bold red")


def _book(row: ViewRow) -> Text:
    style = STATE_STYLE.get(row.state, "")
    return Text(f"{STATE_MARK.get(row.state, '?')} {row.state}", style=style if row.connected else f"{style} bold")


def _spread(row: ViewRow) -> Text:
    if row.spread_ticks is None:
        return Text("–", style="bright_black")
    return Text(f"{row.spread_ticks:,} {'tick ' if row.spread_ticks == 1 else 'ticks'}")


def _basis_points(row: ViewRow) -> Text:
    return Text("–" if row.spread_bps is None else f"{row.spread_bps:.2f}", style="bright_black")


def _last_trade(row: ViewRow) -> Text:
    if not row.last_price:
        return Text("–", style="bright_black")
    style, arrow = ("green", "▲") if row.last_side == "buy" else ("red", "▼")
    return Text.assemble((f"{row.last_quantity} @ ", "bright_black"), (f"{row.last_price} {arrow}", style))


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _count(value: int) -> Text:
    return Text(f"{value:,}", style="yellow" if value else "bright_black")


def _micros(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value / 1000:.1f} ms" if value >= 1000 else f"{value:.0f} µs" if value >= 10 else f"{value:.1f} µs"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


async def show(
    source: ViewSource, *, live: bool = True, console: Console | None = None, clock: Clock | None = None
) -> None:
    """Show `source` until cancelled: a live table on a terminal, else a log line every ten seconds."""
    console = console or Console()
    clock = clock or SystemClock()
    if live and console.is_terminal:
        await _show_live(LiveView(source), console, clock)
    else:
        await _show_lines(source, clock)


async def _show_live(view: LiveView, console: Console, clock: Clock) -> None:
    # stderr is redirected so that log lines scroll above the table instead of through it.
    try:
        with Live(console=console, auto_refresh=False, redirect_stderr=True, redirect_stdout=False) as screen:
            size = console.size
            try:
                while True:
                    view.look()
                    if console.size != size:
                        # The terminal has wrapped the last table its own way; what is left of it cannot be
                        # written over.
                        size = console.size
                        console.clear()
                    screen.update(view.render(console.width, console.height), refresh=True)
                    await clock.sleep(REFRESH_S)
            except asyncio.CancelledError:
                screen.update(view.render(console.width, console.height), refresh=True)
                raise
    except asyncio.CancelledError:
        # The view is the last to end, and with a view the log does not say so.
        console.print("  stopped", style="bold")
        raise


async def _show_lines(source: ViewSource, clock: Clock) -> None:
    # Rates are differences between two looks: without this one the first line would say that nothing happened.
    source.rows(), source.totals()
    while True:
        await clock.sleep(PLAIN_EVERY_S)
        rows, totals = source.rows(), source.totals()
        log.info(
            "status",
            symbols=len(rows),
            synced=sum(1 for row in rows if row.state == "synced"),
            frames_per_s=round(totals.frames_per_s, 1),
            latency_p50_us=totals.latency_p50_us,
            latency_p99_us=totals.latency_p99_us,
            clients=totals.clients,
            sent_per_s=round(totals.sent_per_s, 1),
            lost=totals.lost,
            gaps=sum(row.gaps for row in rows),
            resyncs=sum(row.resyncs for row in rows),
        )

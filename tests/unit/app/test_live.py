import asyncio
import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from raven.app import live
from raven.app.live import LiveView, ViewRow, ViewTotals, show
from raven.testing import ManualClock

BTC = ViewRow(
    venue="demo_futures",
    symbol="BTCUSDT",
    state="synced",
    connected=True,
    bid="61000.50",
    ask="61000.60",
    spread_ticks=1,
    spread_bps=0.016,
    last_price="61000.60",
    last_quantity="0.125",
    last_side="buy",
    books_per_s=9.9,
    trades_per_s=43.2,
)
TOTALS = ViewTotals(
    source="built-in exchange",
    uptime_s=3725,
    frames_per_s=1234.5,
    megabytes_per_s=0.42,
    latency_p50_us=7.4,
    latency_p99_us=42.0,
    clients=2,
    streams=3,
    sent_per_s=456.0,
    lost=0,
    grpc="127.0.0.1:50051",
    health_url="http://127.0.0.1:8080/health",
    metrics_url="http://127.0.0.1:9090/metrics",
)


class Scripted:
    def __init__(self, rows: Sequence[ViewRow], totals: ViewTotals = TOTALS) -> None:
        self.shown = list(rows)
        self.whole = totals

    def rows(self) -> Sequence[ViewRow]:
        return self.shown

    def totals(self) -> ViewTotals:
        return self.whole


def drawn(view: LiveView, width: int = 150, height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, record=True, force_terminal=True)
    console.print(view.render(width, height))
    return console.export_text()


def test_a_row_shows_book_spread_trade_rates_and_state() -> None:
    text = drawn(LiveView(Scripted([BTC])))

    (line,) = [line for line in text.splitlines() if "BTCUSDT" in line]
    for part in ("61000.50", "61000.60", "1 tick", "0.02", "0.125 @ 61000.60 ▲", "9.9", "43.2", "● synced"):
        assert part in line


def test_the_header_shows_the_server_and_the_footer_how_to_connect() -> None:
    text = drawn(LiveView(Scripted([BTC])))

    for part in ("built-in exchange", "1/1", "1:02:05", "7.4 µs", "42 µs", "1,234 frames/s", "clients 2"):
        assert part in text
    assert 'raven.connect("127.0.0.1:50051")' in text
    assert "▮ connected" in text
    assert "http://127.0.0.1:8080/health" in text


@pytest.mark.parametrize(("state", "mark"), [("resyncing", "◐"), ("stale", "○"), ("waiting", "·")])
def test_a_book_that_cannot_be_trusted_is_not_shown_as_if_it_could(state: str, mark: str) -> None:
    console = Console(file=io.StringIO(), width=150, force_terminal=True, color_system="standard")
    console.print(LiveView(Scripted([replace(BTC, state=state)])).render(150, 40))
    text = console.file.getvalue()  # type: ignore[attr-defined]

    assert f"{mark} {state}" in text
    assert "\x1b[2" in text, "the row is dimmed"


def test_an_unknown_book_is_a_dash_and_never_a_zero() -> None:
    text = drawn(LiveView(Scripted([ViewRow("v", "NEWUSDT", "waiting", connected=False)])))

    (line,) = [line for line in text.splitlines() if "NEWUSDT" in line]
    assert line.count("–") == 5
    assert "▯" in line


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_the_view_fits_every_width(width: int) -> None:
    rows = [BTC, replace(BTC, symbol="ETHUSDT", venue="demo_spot")]
    view = LiveView(Scripted(rows))
    view.look()

    assert max(len(line) for line in drawn(view, width).splitlines()) <= width


def test_what_does_not_fit_in_the_height_is_said() -> None:
    rows = [replace(BTC, symbol=f"S{n}USDT") for n in range(100)]

    text = drawn(LiveView(Scripted(rows)), height=30)

    assert "… and 81 more symbols" in text
    assert len(text.splitlines()) <= 30


def test_the_chart_follows_the_mid_price() -> None:
    source = Scripted([BTC])
    view = LiveView(source)
    for cents in range(8):
        source.shown = [replace(BTC, bid=f"100.{cents}0", ask=f"100.{cents}2")]
        view.look()

    assert "▁▂▃▄▅▆▇█" in drawn(view)


@pytest.mark.parametrize("width", [80, 150])
def test_what_does_not_work_is_said_above_the_table_and_still_fits(width: int) -> None:
    trouble = "demo_futures: wss://exchange.test/public/stream: cannot connect: name or service not known; trying again"
    view = LiveView(Scripted([BTC] * 40, replace(TOTALS, troubles=[trouble] * 9)))

    text = drawn(view, width, 30)

    assert "name or service not known" in " ".join(text.split())
    assert text.count("✗") == live.MOST_TROUBLES
    assert len(text.splitlines()) <= 30


async def test_without_a_terminal_a_log_line_is_written_now_and_then(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, object]] = []
    monkeypatch.setattr(live, "log", type("Log", (), {"info": lambda _, event, **facts: lines.append(facts)})())
    console = Console(file=io.StringIO(), force_terminal=False)
    task = asyncio.create_task(show(Scripted([replace(BTC, gaps=2)]), console=console, clock=clock))

    await clock.advance(25)
    task.cancel()

    assert len(lines) == 2
    assert lines[0] | {"frames_per_s": 1234.5, "symbols": 1, "synced": 1, "clients": 2, "gaps": 2} == lines[0]


async def test_the_first_log_line_already_has_rates(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    source = Scripted([BTC])
    monkeypatch.setattr(source, "totals", lambda: looks.append(clock.monotonic()) or TOTALS)
    began = clock.monotonic()
    task = asyncio.create_task(show(source, live=False, clock=clock))

    await clock.advance(11)
    task.cancel()

    assert [look - began for look in looks] == [0, live.PLAIN_EVERY_S]


async def test_on_a_terminal_the_table_is_drawn_again_and_again(clock: ManualClock) -> None:
    screen = io.StringIO()
    source = Scripted([BTC])
    console = Console(file=screen, force_terminal=True, width=120, height=30)
    task = asyncio.create_task(show(source, console=console, clock=clock))
    await clock.advance(0.6)
    source.shown = [replace(BTC, bid="59999.90")]

    await clock.advance(0.6)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert "61000.50" in screen.getvalue()
    assert "59999.90" in screen.getvalue()


async def test_the_last_line_on_a_terminal_says_that_the_program_has_stopped(clock: ManualClock) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system=None, width=120, height=30)
    task = asyncio.create_task(show(Scripted([BTC]), console=console, clock=clock))
    await clock.advance(0.6)
    assert "stopped" not in screen.getvalue()

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert screen.getvalue().splitlines()[-1].endswith("  stopped")


async def test_a_terminal_that_changes_its_size_is_drawn_afresh(clock: ManualClock) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, height=30)
    task = asyncio.create_task(show(Scripted([BTC]), console=console, clock=clock))
    await clock.advance(0.6)
    before = screen.getvalue()
    console.size = (80, 30)

    await clock.advance(0.6)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    clear = "\x1b[2J"
    assert clear not in before
    assert clear in screen.getvalue()

"""`ravenctl book`: show the book as of a time and say how exact it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from raven.app.books import BookAt
from raven.ctl.terminal import figures, print_whole
from raven.records import Flags

__all__ = ["report", "show"]


def report(book: BookAt, depth: int) -> dict[str, Any]:
    """Return it as a JSON-ready document; prices and quantities are exact texts."""
    sides = {
        name: [[format(price, "f"), format(quantity, "f")] for price, quantity in levels[: depth or None]]
        for name, levels in (("bids", book.bids), ("asks", book.asks))
    }
    return {
        "venue": book.venue, "symbol": book.symbol, "at_ns": book.at_ns, "exchange_ns": book.exchange_ns,
        "recv_ns": book.recv_ns, "update_id": book.update_id, "sequence": book.sequence,
        "flags": _flags(book), "exact": book.is_exact, "how": book.how, **sides,
    }  # fmt: skip


def show(book: BookAt, depth: int) -> None:
    """Print it as a table, best levels first."""
    console = Console()
    console.print(f"[bold]{book.symbol}[/] on {book.venue} as of [bold]{_time(book.at_ns)}[/]", highlight=False)
    console.print(
        f"changed {_time(book.exchange_ns)}, received {_time(book.recv_ns)}, update {book.update_id}"
        + (f", sequence {book.sequence}" if book.sequence else "")
        + "".join(f", {flag}" for flag in _flags(book)),
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    word = "[green]exact[/]" if book.is_exact else "[yellow]not exact[/]"
    console.print(f"{word}: {book.how}", highlight=False, soft_wrap=True)
    table = figures(f"{len(book.bids)} bids, {len(book.asks)} asks")
    for name in ("quantity", "bid", "ask", "quantity"):
        table.add_column(name, justify="right", no_wrap=True)
    for place in range(min(depth or len(book.bids), max(len(book.bids), len(book.asks)))):
        bid, ask = (side[place] if place < len(side) else None for side in (book.bids, book.asks))
        left = [_text(bid[1]), _text(bid[0])] if bid else ["", ""]
        right = [_text(ask[0]), _text(ask[1])] if ask else ["", ""]
        table.add_row(*left, *right)
    print_whole(console, table)


def _text(value: Any) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _flags(book: BookAt) -> list[str]:
    return [str(flag.name).lower() for flag in Flags if flag in book.flags]


def _time(ns: int) -> str:
    moment = datetime.fromtimestamp(ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 10**9 // 1000:06d}Z"

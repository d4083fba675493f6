"""The page docs/reference/bars.md: the text beside this file, and the kinds and columns that the code has."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from raven.bars import BAR_KINDS, build
from raven.bars.spec import BOUNDED_CAP, BOUNDED_FLOOR, BOUNDED_SIZES, EXAMPLES, REQUIRED
from raven.topics import DataType

TEXT = Path(__file__).with_suffix(".md")
MEANINGS = {
    "symbol": "the venue's symbol; null when the trades had none",
    "timestamp": "open time, ms: of the first trade, or of the interval",
    "close_time": "the last ms that belongs to it: of the last trade, or of the interval",
    "open": "first price",
    "high": "highest price",
    "low": "lowest price",
    "close": "last price",
    "volume": "Σq",
    "quote_volume": "Σp·q",
    "vwap": "Σp·q ÷ Σq, to 12 decimals, half to even; the last price when nothing was traded",
    "buy_volume": "volume whose taker bought",
    "sell_volume": "volume whose taker sold",
    "buy_ticks": "trades whose taker bought",
    "sell_ticks": "trades whose taker sold",
    "total_ticks": "trades; a split print counts where it began",
    "theta": "θ, see above",
    "first_trade_id": "the venue's id, 0 without ids",
    "last_trade_id": "likewise",
    "interval": "`1m`, `90s`, `250ms`; else the kind and all its parameters, `tick_500`, and its options",
    "complete": "it began and ended by its rule, and no trade is missing",
    "gap_count": "trades that may be missing from it, by the ids of its neighbours",
    "revision": "how often it was corrected",
    "threshold": "what θ had to exceed; with `details=True`",
    "warming_up": "see above; with `details=True`",
}


def reference() -> str:
    """Return the page. Raises: KeyError for a column without a meaning."""
    least, most = BOUNDED_SIZES
    page = TEXT.read_text(encoding="utf-8").replace("{kinds}", _kinds()).replace("{columns}", _columns())
    for name, number in {"floor": BOUNDED_FLOOR, "cap": BOUNDED_CAP, "least": least, "most": most}.items():
        page = page.replace(f"{{{name}}}", f"{number:g}")
    return page


def _kinds() -> str:
    lines = ["| kind | data type | parameters and defaults |", "|---|---|---|"]
    for kind, parameters in BAR_KINDS.items():
        data_type = DataType[f"{kind.upper()}_BARS"]
        shown = ", ".join(_parameter(name, default) for name, default in parameters.items())
        lines.append(f"| `{kind}` | `{data_type.name}` {int(data_type)} | {shown} |")
    return "\n".join(lines)


def _parameter(name: str, default: object) -> str:
    if default is REQUIRED:
        return f"`{name}` (needed, as in {EXAMPLES.get(name, 1000):.0f})"
    return f"`{name}`" if default is None else f"`{name}={default!r}`"


def _columns() -> str:
    nothing: dict[str, pa.Array] = {name: pa.array([], pa.int64()) for name in ("timestamp", "price", "quantity")}
    bars = build(pa.table(nothing | {"side": pa.array([], pa.string())}), "tick", ticks=1, details=True)
    rows = [f"| `{name}` | {MEANINGS[name]} |" for name in bars.column_names]
    return "\n".join(["| column | meaning |", "|---|---|", *rows])

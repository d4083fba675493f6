"""`raven.bars.calibrate`: parameters that make about so many bars a day, found on recorded trades."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raven.bars.build import build
from raven.bars.spec import parameters_of
from raven.bars.trades import Columns, Numbers, by_symbol, trade_table
from raven.errors import DataValidation

__all__ = ["Proposal", "calibrate"]

_MS_PER_DAY = 86_400_000
# The parameter that says how large bars are, and whether it counts trades, base volume, quote volume or time.
_SIZE = {
    "time": ("seconds", "time"),
    "tick": ("ticks", "ticks"),
    "volume": ("volume", "volume"),
    "quote_volume": ("quote_volume", "quote_volume"),
    "tick_imbalance": ("initial_size", "ticks"),
    "volume_imbalance": ("initial_size", "volume"),
    "tick_run": ("initial_size", "ticks"),
    "volume_run": ("initial_size", "volume"),
    "vpin": ("bucket_volume", "volume"),
}
_MIN_TRADES = 100
_ADAPTIVE = ("tick_imbalance", "volume_imbalance", "tick_run", "volume_run")
# Steps towards the wish; then sizes around the nearest, on both sides, in steps of 5 % and of 1 %.
_STEPS = 12
_FINER_STEPS = 15
_FINER = (1.05, 1.01)
_CLOSE_ENOUGH = 0.02


@dataclass(frozen=True, slots=True)
class Proposal:
    """What `calibrate` found: `build(trades, kind, **parameters)` makes `bars_per_day` bars a day of these trades."""

    kind: str
    parameters: dict[str, Any]
    bars_per_day: float
    """What it made of these trades."""
    bars: int
    """How many bars that were: with few, the next days will differ."""
    days: float
    """Span of the trades, days."""

    def __str__(self) -> str:
        """Say it in one line."""
        shown = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.kind}({shown}): {self.bars_per_day:.0f} bars a day ({self.bars} in {self.days:.3g} days)" + (
            "" if self.bars else "; too few trades to see one such bar end"
        )


def calibrate(trades: Any, kind: str, bars_per_day: float, **parameters: Any) -> Proposal:
    """Propose the size that makes about `bars_per_day` bars a day of recorded trades of one symbol.

    `parameters` are kept as they are given (`alpha_size`, `rule`, …); for imbalance and run bars the expected share of
    buys is what was recorded. Where a wish cannot be met (one trade a bar is the most), the nearest is proposed, and
    `bars_per_day` of the proposal says what came out.

    Raises: DataValidation when there are too few trades, or several symbols.
    """
    parameters_of(kind)
    if not bars_per_day > 0:
        raise DataValidation(f"bars_per_day={bars_per_day!r} must be above 0")
    table = trade_table(trades)
    columns = [columns for _, columns in by_symbol(table)]
    if len(columns) > 1:
        raise DataValidation(f"trades are of {len(columns)} symbols; calibrate each by itself")
    rows = columns[0].rows if columns else 0
    span_ms = columns[0].time_ms[-1] - columns[0].time_ms[0] if rows else 0
    if rows < _MIN_TRADES or span_ms <= 0:
        raise DataValidation(f"{rows} trades in {span_ms / 1000:.0f} s are too few to calibrate on; use a day or more")
    days = span_ms / _MS_PER_DAY
    name, measure = _SIZE[kind]
    total = _total(columns[0], measure, span_ms)
    if total <= 0:
        raise DataValidation(f"these trades sum up to {total:g} of {measure}; nothing to cut into bars")
    fixed = dict(parameters)
    if kind in _ADAPTIVE:
        fixed.setdefault("initial_p_buy", round(_share_bought(columns[0], measure), 4))

    def propose(size: float) -> Proposal:
        chosen = fixed | {name: size}
        bars = len(build(table, kind, open_bar=False, **chosen))
        return Proposal(kind, chosen, bars / days, bars, days)

    return _nearest(propose, total, min(bars_per_day * days, rows), measure)


def _nearest(propose: Callable[[float], Proposal], total: float, wanted: float, measure: str) -> Proposal:
    """Search for the size that makes so many bars of so much in total."""

    def miss(size: float) -> float:
        return abs(tried[size].bars - wanted)

    tried: dict[float, Proposal] = {}
    size = _rounded(total / wanted, measure)
    for _ in range(_STEPS):
        tried[size] = propose(size)
        if miss(size) <= max(0.5, _CLOSE_ENOUGH * wanted):
            return tried[size]
        # Twice as many bars as wanted: bars twice as large; damped, for the size of imbalance bars is not proportional.
        size = _rounded(size * (max(tried[size].bars, 0.25) / wanted) ** 0.7, measure)
        if size in tried:
            break
    # What follows its own size jumps from one number of bars to another; a neighbour may be nearer.
    for factor in _FINER:
        centre = min(tried, key=miss)
        for exponent in (sign * step for step in range(1, _FINER_STEPS + 1) for sign in (-1, 1)):
            size = _rounded(centre * factor**exponent, measure)
            if size not in tried:
                tried[size] = propose(size)
                if miss(size) <= max(0.5, _CLOSE_ENOUGH * wanted):
                    return tried[size]
    return tried[min(tried, key=miss)]


def _total(columns: Columns, measure: str, span_ms: int) -> float:
    if measure == "time":
        return span_ms / 1000
    if measure == "ticks":
        return float(columns.rows)
    quantities = _doubles(columns.quantity, columns.quantity_scale)
    if measure == "volume":
        return float(pc.sum(quantities).as_py())
    return float(pc.sum(pc.multiply(_doubles(columns.price, columns.price_scale), quantities)).as_py())


def _share_bought(columns: Columns, measure: str) -> float:
    sells = pa.Array.from_buffers(pa.uint8(), columns.rows, [None, pa.py_buffer(columns.sells)]).cast(pa.float64())
    if measure == "ticks":
        return 1 - float(pc.mean(sells).as_py())
    quantities = _doubles(columns.quantity, columns.quantity_scale)
    return 1 - float(pc.sum(pc.multiply(quantities, sells)).as_py()) / float(pc.sum(quantities).as_py())


def _doubles(values: Numbers, scale: int) -> pa.Array:
    if values.format == "d":
        return pa.Array.from_buffers(pa.float64(), len(values), [None, pa.py_buffer(values)])
    whole = pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])
    return pc.divide(whole.cast(pa.float64()), 10.0**scale)


def _rounded(size: float, measure: str) -> float | int:
    """Return a size that reads well: three digits, whole where only whole ones make sense."""
    if measure in ("ticks", "time"):
        whole = max(1, round(size))
        return whole if whole < 1000 else int(float(f"{whole:.3g}"))
    return float(f"{size:.3g}")

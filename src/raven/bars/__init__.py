"""Bars from trades: time, tick, volume, quote-volume, imbalance and run bars, and VPIN.

`build` makes them of Arrow, polars or pandas trades with the same native code that makes them live; `calibrate`
proposes parameters for a wished number of bars per day.
"""

from __future__ import annotations

from raven.bars.build import build
from raven.bars.calibrate import Proposal, calibrate
from raven.bars.spec import BAR_KINDS, bar_spec

__all__ = ["BAR_KINDS", "Proposal", "bar_spec", "build", "calibrate"]

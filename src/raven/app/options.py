"""What the command line asks for beyond settings: how this one run behaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunOptions"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of one run of `raven`; everything lasting is a setting."""

    demo: bool = False
    """Collect from the built-in exchange on loopback instead of the configured venues."""
    replay: Sequence[Path] = ()
    """Recordings to collect from instead; several are one recording, in this order."""
    speed: float = 1.0
    """Replay: 1 as recorded, N times as fast, 0 as fast as it goes."""
    live_view: bool = True
    """Show the table on a terminal; False, or no terminal, gives plain log lines."""

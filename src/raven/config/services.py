"""Sections of services that run alone: whom each hears, what it collects at all times, and how bars are made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from raven.config.fields import Names, Section, Symbols, Url, setting

# A file may have a number where the command line has text.
Amount = Annotated[str, BeforeValidator(str)]

__all__ = ["ServiceSettings", "TibsSettings", "TimebarSettings"]


class ServiceSettings(Section):
    """One service: `[services.<name>]`, e.g. `[services.raven_timebar]`. `raven` has `[feeds]` instead."""

    upstream: Url = setting(
        "", "Whom it hears: `grpc://host:port`. Empty: the service of `venue`, or the one of the table of services."
    )
    venue: str = setting("", "The venue whose data it wants; empty: that of the service it hears.")
    symbols: Symbols = setting([], "What it collects at all times; everything else when somebody asks.")
    types: Names = setting(
        [], "Data types that a persistence service asks for. Empty: `trades`, or the bars of the service it hears."
    )
    history: Url = setting(
        "", "Whom an aggregator asks for the trades that it missed: `grpc://host:port` of a service with a journal "
        "(`raven`, `tick_persistence`). Empty: the service that it hears."
    )  # fmt: skip
    warm_up_seconds: int = setting(
        3600, "How far back an aggregator asks for trades when it begins; 0: not at all.", unit="s", ge=0
    )


class TimebarSettings(Section):
    """Time bars, as `raven_timebar` makes them."""

    seconds: int = setting(60, "Length of a bar; bars begin at multiples of it.", unit="s", ge=1, le=86_400)


class TibsSettings(Section):
    """Tick imbalance bars, as `raven_tibs` makes them. `raven.bars.calibrate` proposes figures for a wished number."""

    initial_size: float = setting(1000.0, "Expected trades of a bar before one has closed.", unit="trades", gt=0)
    initial_p_buy: float = setting(0.7, "Expected share of buyers among takers before a bar has closed.", ge=0, le=1)
    alpha_size: float = setting(0.1, "Weight of the newest bar in the expected number of trades.", gt=0, le=1)
    alpha_imbl: float = setting(0.1, "Weight of the newest bar in the expected share of buyers.", gt=0, le=1)
    size_min: Amount = setting("", "Least expected number of trades, or percent of `initial_size` (`90%`).")
    size_max: Amount = setting("", "Most expected number of trades, or percent likewise.")
    rule: Literal["bounded", "literal"] = setting(
        "bounded", "`literal` is the published rule, which collapses to bars of two trades when flow alternates."
    )

"""`raven.symbols`: what venues trade, under which symbols, in which steps, as they list it themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from raven.app.from_settings import ingest_settings, venue_plan
from raven.clock import SystemClock
from raven.config import Settings, load
from raven.errors import DataValidation
from raven.ingest.budgets import Budgets
from raven.ingest.rest import RestClient
from raven.instruments import Instrument, Listing, Selection, is_pattern
from raven.registry import VENUES
from raven.registry import load as plugin
from raven.resilience.bans import Bans

__all__ = ["Listed", "choose", "listings", "symbols"]


class Listed(NamedTuple):
    """An instrument, and who lists it."""

    venue: str
    instrument: Instrument


def symbols(pattern: str = "*", *, venue: str = "", config: str | Path | None = None) -> list[Listed]:
    """Ask venues what they trade, and return what matches, by venue and symbol.

        for venue, one in raven.symbols("PEPE/USDT"):
            print(venue, one.symbol, one.factor, one.tick_size, one.step_size, one.min_notional)

    - `pattern`: a symbol or name (`BTC/USDT`), or a pattern of such (`*/USDT`: everything that trades now).
    - `venue`: only this one; without it those of `feeds.venues`, or all that Raven knows when it names none.
    - `config`: a file as for `raven --config`; addresses, patterns and overrides of venues are taken from there.

    Figures are exact decimals, None where the venue states none. Blocks while the venues are asked.
    Raises: DataValidation naming the nearest when a symbol or name is unknown to all of them, NetworkTimeout or
    RateLimited when one cannot be asked, ConfigurationError for a venue that does not exist.
    """
    settings = load(None if config is None else Path(config)).settings
    with ThreadPoolExecutor(1) as pool:
        # On a thread of its own: whoever calls may have a running loop.
        asked = pool.submit(lambda: asyncio.run(listings(settings, [venue] if venue else ()))).result()
    return choose(asked, pattern)


async def listings(settings: Settings, venues: Sequence[str] = ()) -> dict[str, Listing]:
    """Return what venues list now; without names of those of `feeds.venues`, or of all that are known.

    Raises: see `symbols`.
    """
    names = list(venues) or settings.feeds.venues or list(VENUES)
    told = ingest_settings(settings)
    clock = SystemClock()
    file = None if told.state_dir is None else told.state_dir / "bans.json"
    budgets = Budgets(told.budget_share, clock, Bans(clock, file))
    return dict(await asyncio.gather(*(_listing(settings, name, budgets, told.snapshot_timeout_s) for name in names)))


def choose(asked: Mapping[str, Listing], pattern: str) -> list[Listed]:
    """Return what matches a pattern, symbol or name. Raises: DataValidation when no venue has such a symbol."""
    if is_pattern(pattern):
        return [Listed(venue, one) for venue, listing in asked.items() for one in listing.matching(pattern)]
    found: list[Listed] = []
    problems: list[str] = []
    for venue, listing in asked.items():
        try:
            found.append(Listed(venue, listing.resolve(pattern)))
        except DataValidation as error:
            problems.append(error.message)
    if problems and not found:
        raise DataValidation("; ".join(problems))
    return found


async def _listing(settings: Settings, name: str, budgets: Budgets, timeout_s: float) -> tuple[str, Listing]:
    plan = venue_plan(settings, name)
    venue = plugin(VENUES, name, "venue")(ws_url=plan.ws_url, rest_url=plan.rest_url)
    weight = plan.request_weight_per_minute or venue.limits.request_weight_per_minute
    client = RestClient(venue, budgets.of(venue, weight), timeout_s=timeout_s)
    try:
        instruments, _ = venue.instruments(await client.get(venue.instruments_request()))
    finally:
        await client.close()
    return name, Listing(name, instruments, plan.overrides, Selection(plan.include, plan.exclude))

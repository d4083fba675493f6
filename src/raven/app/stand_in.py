"""What stands in for the exchange with --demo and --replay: the built-in exchange, in a process of its own.

The exchange is imported only when it is to be started: a server that collects from a venue is up 0.1 s sooner.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from raven.errors import ConfigurationError, DataValidation
from raven.ingest.settings import VenuePlan
from raven.instruments import is_pattern, plain
from raven.observe import get_logger
from raven.recording import Damage, market_of, read_recording, recording_files

if TYPE_CHECKING:
    from raven.exchange.process import ExchangeProcess

__all__ = ["StandIn", "demo", "replay"]

log = get_logger("raven")

# Name of a venue here, name of its market there.
_MARKETS = {"binance_futures": "usdm", "binance_spot": "spot", "binance_coinm": "coinm"}
_VENUES = {market: venue for venue, market in _MARKETS.items()}
_DEMO_RATE = "1500"
# Offered besides what is configured, so that a subscriber can see a stream start for it and end after it.
_ON_DEMAND = ("DOGEUSDT", "XRPUSDT")
_START_TIMEOUT_S = 60.0


class StandIn:
    """A running stand-in and the plan to collect from it."""

    def __init__(self, process: ExchangeProcess, plans: Sequence[VenuePlan], description: str, *, ends: bool) -> None:
        self._process = process
        self.plans = plans
        self.description = description
        """For people, e.g. `built-in exchange, 4 symbols`."""
        self.ends = ends
        """Whether it falls silent at some time: a recording does."""

    async def ended(self) -> None:
        """Wait until a recording was played to its end; a generated market has none.

        Raises: ExchangeEndedError when the exchange's process ended before that.
        """
        await asyncio.shield(asyncio.wrap_future(self._process.replay_finished))

    async def stop(self) -> None:
        """End it."""
        self._process.stop()


def demo(plans: Sequence[VenuePlan]) -> StandIn:
    """Start an exchange that makes up a market of the configured venues and symbols.

    Raises: ConfigurationError when nothing of the configuration can be made up, or it does not start.
    """
    known = [plan for plan in plans if plan.name in _MARKETS]
    if not known:
        raise ConfigurationError(f"--demo can stand in for {', '.join(_MARKETS)}; none of them is in feeds.venues")
    named = (plain(text) for plan in known for text in plan.symbols if not is_pattern(text))
    symbols = list(dict.fromkeys(named)) or ["BTCUSDT", "ETHUSDT"]
    markets = ",".join(_MARKETS[plan.name] for plan in known)
    on_demand = [symbol for symbol in _ON_DEMAND if symbol not in symbols]
    process = _start(["--markets", markets, "--symbols", ",".join(symbols + on_demand), "--rate", _DEMO_RATE])
    made = [_plan(plan, process, _collected(process, plan, len(symbols))) for plan in known]
    count = sum(len(plan.symbols) for plan in made)
    return StandIn(process, made, f"built-in exchange, a generated market of {count} symbols", ends=False)


def _collected(process: ExchangeProcess, plan: VenuePlan, configured: int) -> tuple[str, ...]:
    """Return the symbols to collect from the start, as this market names them; those on demand come after them."""
    return tuple(process.ready["symbols"][_MARKETS[plan.name]][:configured])


def replay(paths: Sequence[Path], speed: float) -> StandIn:
    """Start an exchange that plays recordings: files, or folders of what `--record` wrote.

    Raises: ConfigurationError when they are no recordings of a market that the exchange speaks.
    """
    from raven.exchange.replay.recorded_streams import survey

    try:
        files = recording_files(paths)
        contents = survey(files, on_damage=_tell_damage)
    except DataValidation as error:
        raise ConfigurationError(f"--replay: {error}") from None
    if len(contents.venues) > 1:
        raise ConfigurationError(
            f"--replay: a capture of {', '.join(contents.venues)}; name the files of one, as in "
            f"--replay {paths[0] / contents.venues[0] if paths[0].is_dir() else paths[0]}"
        )
    kinds = {name.partition("@")[2].partition("@")[0] for name in contents.streams}
    market = _market_of(files)
    # What the recording has decides which trades are asked for; a live venue sends aggregates on futures.
    trade_stream = "aggTrade" if "aggTrade" in kinds else "trade"
    process = _start(
        ["--markets", _MARKETS[market], "--speed", "max" if speed == 0 else f"{speed:g}"]
        + [argument for file in files for argument in ("--replay", str(file))]
    )
    plan = _plan(VenuePlan(market, options={"trade_stream": trade_stream}), process, tuple(contents.symbols))
    pace = "as fast as it goes" if speed == 0 else f"at {speed:g}×"
    return StandIn(process, [plan], f"replay {pace} of {', '.join(path.name for path in paths)}", ends=True)


def _tell_damage(damage: Damage) -> None:
    log.warning("a part of the recording cannot be read", damage=str(damage), next="replays the rest")


def _plan(plan: VenuePlan, process: ExchangeProcess, symbols: tuple[str, ...]) -> VenuePlan:
    """Point a plan at the stand-in."""
    urls = process.urls[_MARKETS[plan.name]]
    return replace(plan, ws_url=urls["ws"], rest_url=urls["rest"], symbols=symbols)


def _market_of(files: Sequence[Path]) -> str:
    """Tell the market by the first diff."""
    for line in read_recording(files, on_damage=lambda _: None):
        if b'"depthUpdate"' in line.raw:
            event = msgspec.json.decode(line.raw)
            return _VENUES[market_of(event.get("data", event))]
    raise ConfigurationError(f"--replay: no depth updates in {', '.join(map(str, files))}; is it a Binance recording?")


def _start(arguments: list[str]) -> ExchangeProcess:
    from raven.exchange.process import ExchangeProcess, ExchangeStartError

    try:
        return ExchangeProcess(arguments, start_timeout_s=_START_TIMEOUT_S).start()
    except ExchangeStartError as error:
        raise ConfigurationError(str(error)) from None

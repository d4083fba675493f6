"""`python -m raven.exchange`: run the exchange in its own process until SIGTERM, Ctrl-C or the end of its input."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from raven.errors import RavenError
from raven.exchange.config import ExchangeConfig, ReplayConfig
from raven.exchange.server import Exchange


async def serve(config: ExchangeConfig, *, parent_stdin: bool) -> None:
    """Serve until told to stop; prints one JSON line with the URLs once the ports are open."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent_stdin:

        def read_stdin() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                loop.remove_reader(sys.stdin.fileno())
                stop.set()

        loop.add_reader(sys.stdin.fileno(), read_stdin)
    async with Exchange(config) as exchange:
        symbols = {market.value: list(one.source.symbols) for market, one in exchange.markets.items()}
        ready = {"ready": True, "pid": os.getpid(), "markets": exchange.urls, "symbols": symbols}
        _say(ready)
        announcing = asyncio.create_task(_say_when_finished(exchange)) if config.replay else None
        await stop.wait()
        if announcing:
            announcing.cancel()


async def _say_when_finished(exchange: Exchange) -> None:
    await exchange.replay_finished()
    _say({"replay_finished": True})


def _say(fact: dict[str, object]) -> None:
    typer.echo(json.dumps(fact))
    sys.stdout.flush()


def main(
    markets: Annotated[str, typer.Option(help="Markets, separated by commas: spot, usdm, coinm.")] = "usdm",
    symbols: Annotated[str, typer.Option(help="Symbols, separated by commas.")] = "BTCUSDT,ETHUSDT",
    symbol_count: Annotated[int, typer.Option(help="Offer so many symbols instead of the named ones.")] = 0,
    rate: Annotated[float, typer.Option(help="Orders per second over all symbols of a market.")] = 500.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 7,
    levels: Annotated[int, typer.Option(help="Price levels on each side of every book.")] = 1200,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="First port; 0 takes free ones.")] = 0,
    layout: Annotated[str, typer.Option(help="Age of the frames: current or 2024.")] = "current",
    limits: Annotated[bool, typer.Option(help="Enforce the venue's limits.")] = True,
    turn: Annotated[int, typer.Option(help="Orders between two writes; 1 writes each at once.")] = 128,
    replay: Annotated[
        list[Path] | None, typer.Option(help="Play a recording instead; repeat for several files, in order.")
    ] = None,
    speed: Annotated[str, typer.Option(help="Replay speed: 1, N, or max.")] = "1",
    start: Annotated[str, typer.Option(help="When a replay starts: quiet, all or manual.")] = "quiet",
    agg_from_trades: Annotated[bool, typer.Option(help="Serve @aggTrade from recorded @trade.")] = False,
    faults: Annotated[Path | None, typer.Option(help="JSON file of faults to inject.")] = None,
    chaos: Annotated[float, typer.Option(help="Faults by chance, so many per minute.")] = 0.0,
    fault_seed: Annotated[int, typer.Option(help="Seed of faults by chance.")] = 1,
    parent_stdin: Annotated[bool, typer.Option(help="Stop when standard input closes.")] = False,
) -> None:
    """Run the built-in exchange on loopback."""
    try:
        recording = None
        if replay:
            pace = 0.0 if speed == "max" else float(speed)
            recording = ReplayConfig(
                files=tuple(replay), speed=pace, start=start, agg_trades_from_trades=agg_from_trades
            )
        config = ExchangeConfig(
            markets=tuple(name.strip() for name in markets.split(",")),
            symbols=tuple(name.strip().upper() for name in symbols.split(",") if name.strip()),
            symbol_count=symbol_count,
            rate=rate,
            seed=seed,
            levels=levels,
            host=host,
            port=port,
            layout=layout,
            enforce_limits=limits,
            turn=turn,
            replay=recording,
            fault_script=faults,
            chaos_per_minute=chaos,
            fault_seed=fault_seed,
        )
    except ValueError as error:
        typer.echo(f"raven.exchange: {error}", err=True)
        raise typer.Exit(2) from None
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(serve(config, parent_stdin=parent_stdin))
    except (RavenError, OSError, ValueError) as error:
        typer.echo(f"raven.exchange: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)

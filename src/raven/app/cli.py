"""The program `raven`: options to settings, then everything else is `raven.app.compose`.

Exit codes: 0 done or stopped by a signal, 1 failed while running, 2 wrong options or configuration.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from raven import registry
from raven.app import flags, programs
from raven.app.commands import HELP_NAMES, Command, run_app
from raven.app.flags import COLLECT, SERVE, SETTINGS, SHOW, parts
from raven.app.lifecycle import exit_soon
from raven.app.options import RunOptions
from raven.config import Settings, load, render

__all__ = ["app", "main"]

EPILOG = """\
[bold]Examples[/]

  raven --demo                         a generated market, no internet
  raven --venue binance_futures --symbols BTCUSDT,ETHUSDT
  raven --replay monday.gz tuesday.gz --speed 10
  raven --config mine.toml --validate  check and exit
  raven --print-config                 every setting and its origin
  raven run binance_spot raven_timebar services of their own, in one process

Settings: config/default.toml, the file of RUN_MODE, --config, RAVEN__SECTION__KEY, these options; later wins.
"""

app = typer.Typer(
    name="raven",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)


@app.command(cls=Command, epilog=EPILOG)
def raven(
    replay_more: Annotated[list[Path] | None, typer.Argument(hidden=True, metavar="FILE")] = None,
    venue: Annotated[
        list[str] | None,
        typer.Option(
            "--venue", rich_help_panel=COLLECT, metavar="NAME", help="Venue to collect from; may be repeated."
        ),
    ] = None,
    symbols: flags.Symbols = None,
    demo: Annotated[
        bool, typer.Option("--demo", rich_help_panel=COLLECT, help="Collect from the built-in exchange: no internet.")
    ] = False,
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            "--replay", rich_help_panel=COLLECT, metavar="FILE...", help="Collect from recordings, or a folder of them."
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            rich_help_panel=COLLECT,
            metavar="N",
            min=0,
            help="Replay N times as fast; 0: as fast as it goes.",
        ),
    ] = 1.0,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record", rich_help_panel=COLLECT, metavar="DIR", help="Write everything received to files in a folder."
        ),
    ] = None,
    config: flags.Config = None,
    host: flags.Host = None,
    port: flags.Port = None,
    monitoring_port: flags.MonitoringPort = None,
    log_level: flags.LogLevel = None,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", rich_help_panel=SERVE, metavar="URL", help="InfluxDB to write ticks to."),
    ] = None,
    max_connections: Annotated[
        int | None,
        typer.Option(
            "--max-connections", rich_help_panel=SERVE, metavar="COUNT", min=1, help="gRPC connections at a time."
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", rich_help_panel=SHOW, help="Log lines instead of the live view.")
    ] = False,
    validate: Annotated[
        bool, typer.Option("--validate", rich_help_panel=SETTINGS, help="Check the configuration and exit.")
    ] = False,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            rich_help_panel=SETTINGS,
            help="Print the effective configuration, secrets masked, and exit.",
        ),
    ] = False,
    _version: flags.Version = False,
) -> None:
    """Real-time market data: collects from exchanges, keeps exact order books, serves gRPC."""
    recordings = _recordings(replay, replay_more)
    if demo and recordings:
        raise typer.BadParameter("--demo and --replay exclude each other: both stand in for the exchange")
    loaded = load(
        config,
        {
            "server.host": host,
            "server.port": port,
            "server.max_connections": max_connections,
            "monitoring.metrics_port": monitoring_port,
            "monitoring.health_check_port": monitoring_port,
            "monitoring.log_level": log_level,
            "influx.url": database_url,
            "record.enabled": None if record is None else True,
            "record.dir": None if record is None else str(record),
            "feeds.venues": parts(venue),
            "feeds.symbols": parts(symbols),
        },
    )
    if print_config:
        typer.echo(render(loaded), nl=False)
    if validate:
        for name in loaded.settings.feeds.venues:
            registry.load(registry.VENUES, name, "venue")
        files = ", ".join(str(path) for path in loaded.files) or "no file"
        typer.echo(f"configuration is valid ({files})", err=print_config)
    if validate or not print_config:
        for note in _notes(loaded.settings):
            typer.echo(f"note: {note}", err=not validate or print_config)
    if print_config or validate:
        return
    options = RunOptions(demo=demo, replay=recordings, speed=speed, live_view=not plain)
    compose = cast("Any", import_module("raven.app.compose"))
    code = int(compose.run(loaded.settings, options))
    exit_soon(code)
    raise typer.Exit(code)


def _recordings(first: list[Path] | None, more: list[Path] | None) -> tuple[Path, ...]:
    if more and not first:
        raise typer.BadParameter(f"unexpected argument {str(more[0])!r}; recordings follow --replay")
    if more and first and len(first) > 1:
        raise typer.BadParameter("write all recordings behind one --replay, or each behind its own: the order counts")
    files = (*(first or []), *(more or []))
    for file in files:
        if not file.exists():
            raise typer.BadParameter(f"--replay: {file} is not a file, and no folder")
    return files


def _notes(settings: Settings) -> list[str]:
    # What is set but does nothing yet is said, so that nobody believes their data go there.
    return [
        f"[{name}] is configured, but this version does not use it yet"
        for name in ("nats",)
        if getattr(settings, name).url
    ]


def main() -> None:
    """Entry point of the console script."""
    if sys.argv[1:2] == ["run"]:
        programs.run_several(sys.argv[2:])
    run_app(app)


if __name__ == "__main__":
    main()

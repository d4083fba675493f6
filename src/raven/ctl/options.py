"""Options of commands that ask services. Each may stand before the command, too: `ravenctl --host h status`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from raven.app.services import SERVICES, find
from raven.errors import ConfigurationError

__all__ = ["AsJson", "Config", "Host", "Port", "ServiceName", "complete_service"]


def _or_of_the_program(context: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """Return what stands behind the command, else what stands before it."""
    before = context.find_root().params.get(str(param.name))
    return before if value in (None, False) and before is not None else value


def complete_service(incomplete: str) -> list[str]:
    """Return the services that begin so, with and without `raven_`."""
    names = [name for known in SERVICES for name in dict.fromkeys((known, known.removeprefix("raven_")))]
    return [name for name in names if name.startswith(incomplete)]


def _known_service(context: typer.Context, value: str | None) -> str | None:
    if value is None or context.resilient_parsing:
        return value
    try:
        return find(value).name
    except ConfigurationError as error:
        raise typer.BadParameter(error.message) from None


def _option(flag: str, metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(flag, metavar=metavar, help=text, callback=_or_of_the_program, **more)


Host = Annotated[str | None, _option("--host", "HOST", "Where the services are; as configured if left out.")]
Port = Annotated[int | None, _option("--port", "PORT", "gRPC port of one service, if not as configured.", min=1)]
Config = Annotated[Path | None, _option("--config", "FILE", "The configuration that the services have.")]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document instead of a table.", callback=_or_of_the_program),
]
ServiceName = Annotated[
    str | None,
    typer.Option(
        "--service",
        metavar="NAME",
        help=f"One of {', '.join(name.removeprefix('raven_') for name in SERVICES)}.",
        callback=_known_service,
        autocompletion=complete_service,
    ),
]

"""Plug-ins by name: each is imported only when it is configured."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from raven.errors import ConfigurationError

__all__ = ["LINKS", "SINKS", "VENUES", "load"]

VENUES: Mapping[str, str] = {
    "binance_spot": "raven.venues.binance:spot",
    "binance_futures": "raven.venues.binance:usdm",
    "binance_coinm": "raven.venues.binance:coinm",
}
"""Exchanges: name → "module:factory"; a factory takes `ws_url` and `rest_url` and returns a `raven.ports.Venue`."""

SINKS: Mapping[str, str] = {
    "influx": "raven.sinks.influx:InfluxSink",
    "questdb": "raven.sinks.questdb:QuestdbSink",
    "timescale": "raven.sinks.postgres:PostgresSink",
}
"""Databases: name → "module:factory"; a factory takes what its section of the configuration says and returns a
`raven.ports.Sink`."""

LINKS: Mapping[str, str] = {
    "grpc": "raven.links.grpc:GrpcLink",
    "local": "raven.links.local:LocalLink",
}
"""Hops between roles: scheme of the address → "module:factory"; a factory takes what stands behind the scheme, then
what its docstring says, and returns a `raven.ports.Link`."""


def load(shelf: Mapping[str, str], name: str, what: str) -> Any:
    """Import and return the factory of a plug-in; `what` names the kind of plug-in in errors.

    Raises: ConfigurationError naming the nearest known name.
    """
    target = shelf.get(name)
    if target is None:
        near = get_close_matches(name, shelf, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(shelf))}"
        raise ConfigurationError(f"unknown {what} {name!r}; {hint}")
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)

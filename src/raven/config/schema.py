"""The keys that exist: walked from the models, so that files, environment and documents agree without a second list."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from raven.config.settings import Settings

__all__ = [
    "ANY",
    "CLI_OPTIONS",
    "ENV_ALIASES",
    "FLAT_ALIASES",
    "KEYS",
    "KEY_ALIASES",
    "SECTION_ALIASES",
    "Key",
    "canonical",
    "find",
    "is_section",
    "nearest",
]

Path = tuple[str, ...]

ANY = "<name>"
"""Stands for a name that the user gives, as in `venues.<name>.ws_url`."""

SECTION_ALIASES: dict[str, str] = {"database": "influx"}
KEY_ALIASES: dict[Path, Path] = {("influx", "influx_url"): ("influx", "url")}

FLAT_ALIASES: dict[str, Path] = {
    "symbols": ("feeds", "symbols"),
    "exchange_ws_url": ("feeds", "exchange_ws_url"),
    "redis_url": ("redis", "url"),
    "order_book_depth": ("feeds", "order_book_depth"),
    "health_port": ("monitoring", "health_check_port"),
    "shm_name": ("shm", "name"),
    "reconnect_delay_ms": ("feeds", "reconnect_delay_ms"),
    "max_reconnect_delay_ms": ("feeds", "max_reconnect_delay_ms"),
}
"""Top-level keys of the market data service's flat YAML file."""

ENV_ALIASES: dict[str, Path] = {
    "SERVER_HOST": ("server", "host"),
    "RAVEN_HOST": ("server", "host"),
    "SERVER_PORT": ("server", "port"),
    "RAVEN_PORT": ("server", "port"),
    "RAVEN_MAX_CONNECTIONS": ("server", "max_connections"),
    "INFLUXDB_URL": ("influx", "url"),
    "INFLUX_URL": ("influx", "url"),
    "INFLUXDB_DATABASE": ("influx", "database"),
    "INFLUX_DATABASE": ("influx", "database"),
    "INFLUXDB_USERNAME": ("influx", "username"),
    "INFLUX_USERNAME": ("influx", "username"),
    "INFLUXDB_PASSWORD": ("influx", "password"),
    "INFLUX_PASSWORD": ("influx", "password"),
    "REDIS_URL": ("redis", "url"),
    "METRICS_PORT": ("monitoring", "metrics_port"),
    "HEALTH_PORT": ("monitoring", "health_check_port"),
    "HEALTH_CHECK_PORT": ("monitoring", "health_check_port"),
    "LOG_LEVEL": ("monitoring", "log_level"),
}
"""Names that others use; of two set at once the later one in this list wins, and `RAVEN__…` wins over all."""

CLI_OPTIONS: dict[Path, str] = {
    ("server", "host"): "--host",
    ("server", "port"): "--port",
    ("server", "max_connections"): "--max-connections",
    ("monitoring", "log_level"): "--log-level",
    ("monitoring", "metrics_port"): "--monitoring-port",
    ("monitoring", "health_check_port"): "--monitoring-port",
    ("influx", "url"): "--database-url",
    ("feeds", "venues"): "--venue",
    ("feeds", "symbols"): "--symbols",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: where it stands, and what the models say about it."""

    path: Path
    field: FieldInfo

    @property
    def name(self) -> str:
        """Its dotted name, e.g. `server.port`."""
        return ".".join(self.path)

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return "RAVEN__" + "__".join(part if part == ANY else part.upper() for part in self.path)

    @property
    def unit(self) -> str:
        """Its unit, or nothing."""
        extra = self.field.json_schema_extra
        return str(extra.get("unit", "")) if isinstance(extra, dict) else ""

    @property
    def default(self) -> Any:
        """Its built-in default, None when it has none."""
        value = self.field.get_default(call_default_factory=True, validated_data={})
        return None if value is PydanticUndefined else value

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return self.field.annotation is SecretStr


def _walk(model: type[BaseModel], prefix: Path) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = (*prefix, name)
        annotation = field.annotation
        if get_origin(annotation) is dict and get_args(annotation)[1] is not str:
            yield from _walk(get_args(annotation)[1], (*path, ANY))
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _walk(annotation, path)
        else:
            yield Key(path, field)


KEYS: dict[Path, Key] = {key.path: key for key in _walk(Settings, ())}
"""Every setting, in the order of the models; user-given names stand as `ANY`."""

PREFIXES: frozenset[Path] = frozenset(path[:n] for path in KEYS for n in range(len(path)))
"""Every path that has settings below it."""


def _generic(path: Path) -> Path:
    """Return a path with `ANY` in place of the names that users give."""
    found: Path = ()
    for part in path:
        found = (*found, ANY if (*found, ANY) in PREFIXES else part)
    return found


def canonical(path: Path) -> Path:
    """Return the path under its canonical name: aliases of sections, keys and the flat file are replaced."""
    if len(path) == 1 and path[0] in FLAT_ALIASES:
        return FLAT_ALIASES[path[0]]
    if path and path[0] in SECTION_ALIASES:
        path = (SECTION_ALIASES[path[0]], *path[1:])
    return KEY_ALIASES.get(path, path)


def find(path: Path) -> Key | None:
    """Return the setting at a canonical path, None when there is none."""
    return KEYS.get(_generic(path))


def is_section(path: Path) -> bool:
    """Whether settings stand below a canonical path."""
    return _generic(path) in PREFIXES


def nearest(path: Path) -> str | None:
    """Return the dotted name of the most similar known key, None when none is similar.

    The last part decides; standing in the same section counts, so `server.prot` is nearer to `server.port` than to
    `dashboard.port`.
    """
    best: tuple[float, str] | None = None
    for known in (*KEYS, *(prefix for prefix in PREFIXES if prefix), *((alias,) for alias in FLAT_ALIASES)):
        named = tuple(
            path[at] if part == ANY and path[:at] == known[:at] and len(path) > at else part
            for at, part in enumerate(known)
        )
        likeness = _likeness(path[-1], named[-1])
        if likeness < 0.6:
            continue
        score = likeness + 0.5 * (named[:-1] == path[:-1]) + 0.2 * _likeness(".".join(path), ".".join(named))
        if best is None or (score, ".".join(named)) > best:
            best = (score, ".".join(named))
    return best[1] if best else None


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()

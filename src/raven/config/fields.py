"""The building blocks of the settings: a documented field with its unit, and the types that several sections share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from raven.errors import DataValidation
from raven.instruments import parse_override

__all__ = [
    "BaseUrl",
    "LogLevel",
    "Names",
    "Overrides",
    "Patterns",
    "Port",
    "Section",
    "Symbols",
    "Url",
    "setting",
]

LOG_LEVELS = ("trace", "debug", "info", "warn", "error")


class Section(BaseModel):
    """A section of the configuration: immutable, every key known."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def setting(default: Any, description: str, *, unit: str = "", **constraints: Any) -> Any:
    """Return a field with its description and unit, as docs/reference/config.md shows them."""
    factory = {"default_factory": lambda: list(default)} if isinstance(default, list) else {"default": default}
    return Field(**factory, description=description, json_schema_extra={"unit": unit}, **constraints)


def _split(value: Any) -> Any:
    """Let a list be written as `a, b` where a file format or an environment variable has only text."""
    if isinstance(value, str):
        return [
            part for part in re.split(r"[,\s]+", value.strip().strip("[]").replace('"', "").replace("'", "")) if part
        ]
    return value


def _symbols(values: list[str]) -> list[str]:
    return list(dict.fromkeys(_symbol(value) for value in values))


def _symbol(value: str) -> str:
    symbol = value.strip().upper()
    # A symbol is part of topic, file, channel and subject names, so what structures those cannot be in it; the
    # stroke of a name and the signs of a pattern are gone when the venue's symbol was found.
    if not symbol or len(symbol) > 40 or symbol.count("/") > 1 or re.search(r"[\s.\\>:|\"'\x00-\x1f]", symbol):
        raise ValueError(f"{value!r} is not a symbol; expected something like BTCUSDT, BTC/USDT or *USDT")
    return symbol


def _split_pairs(value: Any) -> Any:
    """Let a table be written as `A=B, C=D` where there is only text."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _split(value)]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"{wrong[0]!r} has no value; expected NAME=SYMBOL, as in PEPE/USDT=1000PEPEUSDT")
    return {name: symbol for name, _, symbol in pairs}


def _overrides(values: dict[str, str]) -> dict[str, str]:
    for name, symbol in values.items():
        try:
            parse_override(symbol)
        except DataValidation as error:
            raise ValueError(f"{name}: {error.message}") from None
    return {_symbol(name): symbol.strip().upper() for name, symbol in values.items()}


def _names(values: list[str]) -> list[str]:
    for value in values:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", value):
            raise ValueError(f"{value!r} is not a name; expected lower case like binance_futures")
    return list(dict.fromkeys(values))


def _log_level(value: Any) -> Any:
    text = str(value).strip().lower()
    text = {"warning": "warn", "critical": "error", "fatal": "error"}.get(text, text)
    if text not in LOG_LEVELS:
        raise ValueError(f"not a log level; expected one of {', '.join(LOG_LEVELS)}")
    return text


def _url(value: str) -> str:
    text = value.strip()
    if text and not re.match(r"[a-z][a-z0-9+.-]*://\S+$", text):
        raise ValueError("not a URL; expected scheme://host[:port]")
    return text


def base_url(value: str) -> str:
    """Reduce a venue's address to its base: the routes are appended per stream, so a trailing route is dropped."""
    # Not behind a slash: a host may be called `stream`.
    return re.sub(r"((?<!/)/(public|market|private))?((?<!/)/(stream|ws))?(?<![/:])/*$", "", _url(value))


Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 lets the system choose a free one."""
Symbols = Annotated[list[str], BeforeValidator(_split), AfterValidator(_symbols)]
"""Instruments by the venue's symbol or by name, or patterns, upper case, each once."""
Patterns = Annotated[list[str], BeforeValidator(_split), AfterValidator(_symbols)]
"""Patterns on symbols or names: `*`, `?`, `[…]`."""
Overrides = Annotated[dict[str, str], BeforeValidator(_split_pairs), AfterValidator(_overrides)]
"""Name → the venue's symbol, or `SYMBOL*FACTOR`."""
Names = Annotated[list[str], BeforeValidator(_split), AfterValidator(_names)]
"""Names of venues, each once."""
LogLevel = Annotated[str, BeforeValidator(_log_level)]
"""One of `LOG_LEVELS`."""
Url = Annotated[str, AfterValidator(_url)]
"""`scheme://…`, or empty for none."""
BaseUrl = Annotated[str, AfterValidator(base_url)]
"""The address of a venue without its routes, or empty for the venue's documented one."""

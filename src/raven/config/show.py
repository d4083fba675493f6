"""The effective configuration as TOML: every key with its value and where it came from, secrets masked."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, SecretStr

from raven.config.load import Loaded
from raven.config.schema import find
from raven.config.secrets import MASK, mask_url

__all__ = ["render"]


def render(loaded: Loaded) -> str:
    """Return the configuration as TOML that can be loaded again (but for masked secrets)."""
    lines = ["# The effective configuration. Behind each key: where its value comes from."]
    for path in loaded.files:
        lines.append(f"# read: {path}")
    _section(loaded.settings, (), loaded, lines)
    return "\n".join(lines) + "\n"


def _section(model: BaseModel, path: tuple[str, ...], loaded: Loaded, lines: list[str]) -> None:
    nested: list[tuple[str, BaseModel]] = []
    own: list[tuple[str, Any]] = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            nested.append((name, value))
        elif isinstance(value, dict) and find((*path, name)) is None:
            nested += [(f"{name}.{key}", entry) for key, entry in value.items()]
        else:
            own.append((name, value))
    if own:
        lines += ["", f"[{'.'.join(path)}]"]
        texts = [f"{name} = {_literal(value)}" for name, value in own]
        width = min(44, max(len(text) for text in texts))
        for (name, _), text in zip(own, texts, strict=True):
            lines.append(f"{text:<{width}}  # {loaded.origins.get((*path, name), 'default')}")
    for name, value in nested:
        _section(value, (*path, *name.split(".")), loaded, lines)


def _literal(value: Any) -> str:
    match value:
        case SecretStr():
            return f'"{MASK}"' if value.get_secret_value() else '""'
        case bool():
            return "true" if value else "false"
        case str():
            text = mask_url(value) if "://" in value else value
            return json.dumps(text, ensure_ascii=False)
        case dict():
            return "{" + ", ".join(f"{_literal(key)} = {_literal(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(_literal(item) for item in value) + "]"
        case _:
            return str(value)

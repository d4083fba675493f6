"""Reading configuration files: TOML and YAML into `(path, value, line)`, and finding the files that belong to a run."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from raven.config.schema import canonical, find, is_section
from raven.errors import ConfigurationError

__all__ = ["PACKAGED", "Entry", "find_files", "read_file"]

PACKAGED = Path(__file__).parent / "defaults"
"""The files that ship with the package; in a checkout `config/` is a link to them."""

MODE_ENV = "RUN_MODE"
FOLDER_ENV = "RAVEN_CONFIG_DIR"
DEFAULT_MODE = "development"


@dataclass(frozen=True, slots=True)
class Entry:
    """One assignment found somewhere: its canonical path, its value, and the place as a person would name it."""

    path: tuple[str, ...]
    value: Any
    origin: str
    written: tuple[str, ...]
    """The path as it was written, before aliases were replaced."""


def find_files(env: Mapping[str, str], cwd: Path) -> list[Path]:
    """Return the files of this run, weakest first: `default.toml`, then those of RUN_MODE.

    They are looked for in `RAVEN_CONFIG_DIR`, else in `config/` of the working directory, else in the package. The
    working directory's own `{RUN_MODE}.toml` comes last.
    Raises: ConfigurationError when RUN_MODE was set and names no file, or RAVEN_CONFIG_DIR is no folder.
    """
    mode = env.get(MODE_ENV, "").strip() or DEFAULT_MODE
    if not re.fullmatch(r"[A-Za-z0-9_-]+", mode):
        raise ConfigurationError(f"{MODE_ENV} is {mode!r}; expected a plain word like production")
    folder = _folder(env, cwd)
    default = folder / "default.toml"
    of_mode = [folder / f"{mode}.toml", cwd / f"{mode}.toml"]
    found = [path for path in of_mode if path.is_file()]
    if not found and MODE_ENV in env and env[MODE_ENV].strip():
        looked = " and ".join(str(path) for path in of_mode)
        raise ConfigurationError(
            f"{MODE_ENV}={mode} names no file: looked for {looked}; create one or unset {MODE_ENV}"
        )
    return ([default] if default.is_file() else []) + found


def _folder(env: Mapping[str, str], cwd: Path) -> Path:
    if chosen := env.get(FOLDER_ENV, "").strip():
        folder = Path(chosen)
        if not folder.is_dir():
            raise ConfigurationError(f"{FOLDER_ENV} is {chosen!r}, which is no folder")
        return folder
    local = cwd / "config"
    return local if (local / "default.toml").is_file() else PACKAGED


def read_file(path: Path) -> list[Entry]:
    """Return what a TOML or YAML file sets.

    Raises: ConfigurationError when it cannot be read, is neither format, or is malformed; the message names the line.
    """
    shown = _shown(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"{shown} does not exist; check --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{shown} cannot be read as UTF-8 text: {error}") from None
    match path.suffix.lower():
        case ".toml":
            data, lines = _read_toml(text, shown)
        case ".yaml" | ".yml":
            data, lines = _read_yaml(text, shown)
        case suffix:
            raise ConfigurationError(f"{shown} ends in {suffix or 'nothing'}; expected .toml, .yaml or .yml")
    return list(_flatten(data, (), lines, shown))


def _shown(path: Path) -> str:
    if path.parent == PACKAGED:
        return f"config/{path.name}"
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except OSError:  # the working directory is gone
        return str(path)


def _flatten(data: Mapping[str, Any], above: tuple[str, ...], lines: Lines, shown: str) -> Iterator[Entry]:
    for name, value in data.items():
        written = (*above, str(name))
        path = canonical(written)
        origin = f"{shown}:{lines[written]}" if written in lines else shown
        if isinstance(value, Mapping) and is_section(path) and not find(path):
            yield from _flatten(value, written, lines, shown)
        elif isinstance(value, Mapping) and not find(path) and value:
            # An unknown section: name what is inside, so that a misplaced section is found by its keys.
            yield Entry(path, value, origin, written)
        elif not (value is None and is_section(path)):
            yield Entry(path, value, origin, written)


Lines = dict[tuple[str, ...], int]


def _read_toml(text: str, shown: str) -> tuple[dict[str, Any], Lines]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"at line (\d+)", str(error))
        raise ConfigurationError(f"{shown}{':' + where[1] if where else ''} is not valid TOML: {error}") from None
    return data, _toml_lines(text)


def _toml_lines(text: str) -> Lines:
    """Return the line of every table header and key. tomllib knows no positions; this is for messages only."""
    lines: Lines = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            table = _dotted(header[1])
            lines.setdefault(table, number)
        elif key := re.match(
            r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"))*)\s*=""", line
        ):
            lines.setdefault((*table, *_dotted(key[1])), number)
    return lines


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _read_yaml(text: str, shown: str) -> tuple[dict[str, Any], Lines]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{shown}{line} is not valid YAML: {error.problem or error}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{shown} is not valid YAML: {error}") from None
    if data is None:
        return {}, {}
    if not isinstance(data, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{shown} holds a {type(data).__name__}; expected keys and values")
    lines: Lines = {}
    _yaml_lines(node, (), lines, shown)
    return data, lines


def _yaml_lines(node: yaml.MappingNode, above: tuple[str, ...], lines: Lines, shown: str) -> None:
    for key, value in node.value:
        path = (*above, str(key.value))
        number = key.start_mark.line + 1
        if path in lines:
            raise ConfigurationError(f"{shown}:{number} sets {'.'.join(path)} again; it is set in line {lines[path]}")
        lines[path] = number
        if isinstance(value, yaml.MappingNode):
            _yaml_lines(value, path, lines, shown)

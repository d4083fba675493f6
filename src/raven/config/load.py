"""From files, environment and command line to one `Settings`, remembering where each value came from.

Later wins: built-in defaults, `config/default.toml`, the file of RUN_MODE (there and in the working directory),
`--config`, the environment (aliases, then `RAVEN__SECTION__KEY`), the command line.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raven.config.files import Entry, find_files, read_file
from raven.config.schema import CLI_OPTIONS, ENV_ALIASES, FLAT_ALIASES, canonical, find, is_section, nearest
from raven.config.settings import Settings
from raven.errors import ConfigurationError

__all__ = ["Loaded", "load"]

ENV_PREFIX = "RAVEN__"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and the place every value that is not a default came from."""

    settings: Settings
    origins: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    files: Sequence[Path] = ()


def load(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Loaded:
    """Return the settings of a run.

    `config` is the file of `--config`; `overrides` are dotted keys given on the command line (None is "not given").
    Raises: ConfigurationError naming every problem: the key, the place it was set, and what is accepted.
    """
    env = os.environ if env is None else env
    cwd = Path.cwd() if cwd is None else cwd
    files = find_files(env, cwd) + ([config] if config else [])
    entries = [entry for path in files for entry in read_file(path)]
    entries += _from_environment(env)
    entries += _from_command_line(overrides or {})
    return _build(entries, files)


def _from_environment(env: Mapping[str, str]) -> list[Entry]:
    entries = []
    for name, path in ENV_ALIASES.items():
        # Container tools pass unset variables on as empty ones.
        if env.get(name, "").strip():
            entries.append(Entry(path, env[name].strip(), f"environment {name}", path))
    for name in sorted(env):
        if name.upper().startswith(ENV_PREFIX):
            written = tuple(part.lower() for part in name[len(ENV_PREFIX) :].split("__"))
            entries.append(Entry(canonical(written), env[name], f"environment {name}", written))
    return entries


def _from_command_line(overrides: Mapping[str, Any]) -> list[Entry]:
    entries = []
    for name, value in overrides.items():
        if value is not None:
            path = tuple(name.split("."))
            entries.append(Entry(path, value, CLI_OPTIONS.get(path, "command line"), path))
    return entries


def _build(entries: Sequence[Entry], files: Sequence[Path]) -> Loaded:
    problems = [_unknown(entry) for entry in entries if not find(entry.path)]
    if problems:
        raise ConfigurationError(_joined(problems))
    winners = {entry.path: entry for entry in entries}
    tree: dict[str, Any] = {}
    for path, entry in winners.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = entry.value
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(_joined(_invalid(error, winners))) from None
    return Loaded(settings, {path: entry.origin for path, entry in winners.items()}, tuple(files))


def _unknown(entry: Entry) -> str:
    name = ".".join(entry.written)
    if is_section(entry.path):
        return f"{name} ({entry.origin}) is a section; it takes keys, not the value {entry.value!r}"
    if entry.origin.startswith("environment "):
        variable = entry.origin.removeprefix("environment ")
        close = nearest(entry.path) if len(entry.path) > 1 else _nearest_section(entry.path[0])
        hint = f"; did you mean RAVEN__{close.replace('.', '__').upper()} ({close})?" if close else ""
        return f"{variable} in the environment names no setting{hint or '; see docs/reference/config.md'}"
    close = nearest(entry.path) or _nearest_section(entry.path[0])
    hint = f"; did you mean {close}?" if close else "; docs/reference/config.md lists all"
    return f"{name} ({entry.origin}) is not a setting{hint}"


def _nearest_section(name: str) -> str | None:
    match = difflib.get_close_matches(name, [*Settings.model_fields, *FLAT_ALIASES], n=1, cutoff=0.6)
    return match[0] if match else None


def _invalid(error: ValidationError, winners: Mapping[tuple[str, ...], Entry]) -> list[str]:
    problems = []
    for detail in error.errors(include_url=False):
        location = tuple(str(part) for part in detail["loc"] if part != "[key]")
        entry = next((winners[location[:n]] for n in range(len(location), 0, -1) if location[:n] in winners), None)
        reason = str(detail["msg"]).removeprefix("Value error, ")
        if entry is None:
            # Rules that span sections name their keys themselves.
            problems += reason.splitlines() if not location else [f"{'.'.join(location)}: {reason}"]
            continue
        key = find(entry.path)
        got = "" if key is None or key.secret or "url" in key.path[-1] else f" is {entry.value!r},"
        problems.append(f"{'.'.join(entry.path)} ({entry.origin}){got or ':'} {_lower(reason)}")
    return problems


def _lower(reason: str) -> str:
    return reason[0].lower() + reason[1:] if reason.startswith(("Input ", "String ", "List ")) else reason


def _joined(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems:\n" + "\n".join(f"  - {problem}" for problem in problems)

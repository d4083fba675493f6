"""Run benches and say which bars are met: what `make bench` and its sisters call.

    python benches/run.py engine|grpc|latency|memory|high-freq|system|journal|bars|sinks|redis|shm|soak|all [--quick]
    python benches/run.py report [--strict]

Every bench writes its figures to `benches/results`; the bars are in `benches/budgets.toml`. `report` measures nothing,
it prints bar, measured and met. With `--strict` it fails when a bar is missed or was never measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BUDGETS = HERE / "budgets.toml"
RESULTS = HERE / "results"

# Name of a group: its benches, each with its arguments and those that make it quick.
GROUPS: dict[str, list[tuple[list[str], list[str]]]] = {
    "engine": [(["engine.py"], ["--runs", "1"])],
    "high-freq": [(["engine.py", "--only", "high-freq"], ["--runs", "1"])],
    "grpc": [
        (["grpc_native.py"], ["--runs", "1", "--seconds", "2"]),
        (["grpc_python_client.py", "--json", str(RESULTS / "grpc_python_client.json")], ["--seconds", "1"]),
        (["links.py"], ["--seconds", "1"]),
    ],
    "shm": [(["shm.py"], ["--seconds", "1"])],
    "latency": [
        (["latency.py"], ["--runs", "1", "--seconds", "3"]),
        (["system_start.py"], ["--runs", "1"]),
    ],
    "memory": [
        (["engine.py", "--only", "memory"], ["--runs", "1"]),
        (["system_memory.py"], ["--seconds", "20"]),
    ],
    "system": [
        (["clients.py"], ["--clients", "200", "--seconds", "10"]),
        (["system_replay.py"], ["--runs", "1"]),
    ],
    "journal": [
        (["journal.py"], ["--seconds", "2", "--rounds", "1"]),
        (["history.py"], ["--rows", "200000", "--rounds", "1"]),
    ],
    "bars": [(["bars.py"], ["--rows", "200000", "--runs", "1", "--rounds", "1"])],
    "sinks": [
        (["sinks.py"], ["--rows", "300000", "--rounds", "1"]),
        (["sinks_ingest.py"], ["--rounds", "1"]),
    ],
    "redis": [
        (["redis_publish.py"], ["--messages", "30000", "--rounds", "1"]),
        (["redis_ingest.py"], ["--rounds", "1"]),
    ],
    "soak": [(["soak.py"], ["--minutes", "2"])],
}
ALL = ("engine", "grpc", "latency", "memory", "system", "journal", "bars", "sinks", "redis", "soak")


@dataclass(frozen=True)
class Bar:
    """One line of the table: what must hold, and what was measured."""

    what: str
    limit: str
    measured: str
    met: str
    """`yes`, `no` or `not measured`."""
    command: str


def run(group: str, *, is_quick: bool) -> int:
    """Run the benches of a group; return how many failed."""
    failed = 0
    for arguments, quick in GROUPS[group]:
        if not (HERE / arguments[0]).is_file():
            print(f"▸ benches/{arguments[0]} does not exist yet: skipped", flush=True)
            failed += 1
            continue
        command = [sys.executable, str(HERE / arguments[0]), *arguments[1:], *(quick if is_quick else [])]
        print(f"▸ {' '.join(['python', 'benches/' + arguments[0], *command[2:]])}", flush=True)
        began = time.monotonic()
        done = subprocess.run(command, cwd=HERE.parent, check=False)
        print(f"  {time.monotonic() - began:.0f} s{'' if done.returncode == 0 else ', FAILED'}", flush=True)
        failed += done.returncode != 0
    return failed


def bars() -> list[Bar]:
    """Read the budgets and compare them with the results."""
    budgets = tomllib.loads(BUDGETS.read_text())
    return [_bar(entry) for entry in budgets["bar"]]


def _bar(entry: dict[str, Any]) -> Bar:
    unit = entry.get("unit", "")
    limit, is_met = _limit(entry)
    value = _value(entry["result"], entry["value"])
    if value is not None and "over" in entry:
        divisor = _value(entry["result"], entry["over"])
        value = value / divisor if divisor else None
    if value is None:
        return Bar(entry["what"], f"{limit} {unit}".strip(), "–", "not measured", entry["command"])
    met = "yes" if is_met(value) else "no"
    return Bar(entry["what"], f"{limit} {unit}".strip(), f"{_number(value)} {unit}".strip(), met, entry["command"])


def _limit(entry: dict[str, Any]) -> tuple[str, Any]:
    if "at_least" in entry:
        return f"≥ {_number(entry['at_least'])}", lambda value: value >= entry["at_least"]
    if "at_most" in entry:
        return f"≤ {_number(entry['at_most'])}", lambda value: value <= entry["at_most"]
    return f"= {_number(entry['equals'])}", lambda value: value == entry["equals"]


def _value(result: str, path: Sequence[str]) -> float | None:
    """Return a figure of a result file, None when the file or the key is not there."""
    file = RESULTS / f"{result}.json"
    if not file.is_file():
        return None
    found: Any = json.loads(file.read_text())
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return float(found)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def report() -> list[Bar]:
    """Print the table and return its rows."""
    rows = bars()
    texts = [(row.what, row.limit, row.measured) for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in rows:
        columns = (row.what.ljust(widths[0]), row.limit.rjust(widths[1]), row.measured.rjust(widths[2]))
        print("  ".join(columns) + f"  {row.met}" + ("" if row.met == "yes" else f"   ({row.command})"))
    counts = {word: sum(row.met == word for row in rows) for word in ("yes", "no", "not measured")}
    print(f"\n{counts['yes']} of {len(rows)} bars met, {counts['no']} missed, {counts['not measured']} not measured")
    return rows


def main() -> int:
    """Do what the command line says; the exit code is 1 when a bench failed."""
    options = argparse.ArgumentParser(description="Run benches and report the bars.")
    options.add_argument("what", choices=[*GROUPS, "all", "report"])
    options.add_argument("--quick", action="store_true", help="short runs: does it work, not how fast is it")
    options.add_argument("--strict", action="store_true", help="report: fail when a bar is not met")
    chosen = options.parse_args()
    if chosen.what == "report":
        rows = report()
        return int(chosen.strict and any(row.met != "yes" for row in rows))
    groups = ALL if chosen.what == "all" else (chosen.what,)
    failed = sum(run(group, is_quick=chosen.quick) for group in groups)
    print()
    report()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Inject every fault that has a test, and say in a table how each ended and what it cost.

python scripts/chaos.py             # the short forms, some minutes
python scripts/chaos.py --chaos     # outages of minutes, a hundred rounds: an hour and more
python scripts/chaos.py -k p01      # some of them; all arguments go to pytest

Writes benches/results/chaos.json with the commit, when all of them ran. Exit code: that of pytest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

PROJECT = Path(__file__).resolve().parent.parent
RESULTS = PROJECT / "benches" / "results" / "chaos.json"


def main() -> int:
    """Run, print and write; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "fault", f"--junit-xml={report}", "tests", *sys.argv[1:]]
        code = subprocess.run(command, cwd=PROJECT, check=False).returncode
        rows = faults(report) if report.exists() else {}
    if not rows:
        # Nothing ran: what is known from before stays.
        return code
    show(rows)
    if set(sys.argv[1:]) - {"--chaos"}:
        # Some of them: no table of all.
        return code
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, check=False, capture_output=True, text=True
    ).stdout.strip()
    document = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit,
        "arguments": sys.argv[1:],
        "faults": rows,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    return code


def faults(report: Path) -> dict[str, dict[str, Any]]:
    """Return by fault how many tests passed, failed and were skipped, how long they took, and their figures."""
    rows: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"passed": 0, "failed": 0, "skipped": 0, "seconds": 0.0, "figures": {}, "why": []}
    )
    # Our own report of our own run.
    for case in ElementTree.parse(report).iter("testcase"):
        properties = [(one.get("name", ""), one.get("value", "")) for one in case.iter("property")]
        for number in {value for name, value in properties if name == "fault"}:
            row = rows[number]
            failure, skip = (next(case.iter(kind), None) for kind in ("failure", "skipped"))
            error = next(case.iter("error"), None)
            bad = failure if failure is not None else error
            outcome = "failed" if bad is not None else "skipped" if skip is not None else "passed"
            row[outcome] += 1
            row["seconds"] = round(row["seconds"] + float(case.get("time", 0)), 1)
            row["figures"] |= {name: value for name, value in properties if name != "fault"}
            said = bad if bad is not None else skip
            if said is not None:
                row["why"].append(f"{case.get('name')}: {said.get('message', '')[:200]}")
    return dict(sorted(rows.items(), key=lambda row: (row[0][:1], int(row[0][1:]))))


def show(rows: dict[str, dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title="faults", header_style="bold")
    for name in ("fault", "tests", "outcome", "seconds", "figures"):
        table.add_column(name, justify="right" if name in ("tests", "seconds") else "left")
    for number, row in rows.items():
        count = row["passed"] + row["failed"] + row["skipped"]
        outcome = "[green]holds[/]" if row["passed"] == count else ""
        outcome += f"[bold red]{row['failed']} failed[/] " if row["failed"] else ""
        outcome += f"[yellow]{row['skipped']} skipped[/]" if row["skipped"] else ""
        figures = ", ".join(f"{name} {value}" for name, value in row["figures"].items())
        table.add_row(number, str(count), outcome, f"{row['seconds']:.1f}", figures)
    Console().print(table)
    for number, row in rows.items():
        for why in row["why"]:
            Console().print(f"{number}: {why}", style="yellow", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())

"""Pin what is installed: writes requirements/{run,dev,peers}.txt from pyproject.toml.

python scripts/lock.py            # newest versions that satisfy pyproject.toml, resolved in a fresh environment
python scripts/lock.py --check    # fail when pyproject.toml names a package that is not pinned
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PINS = {name: PROJECT / "requirements" / f"{name}.txt" for name in ("run", "dev", "peers")}
# Each set contains the one before, with the same versions.
BASE = {"dev": "run", "peers": "dev"}
HEADER = (
    "# Written by `make lock` from pyproject.toml. The versions that CI runs; the package itself accepts newer ones.\n"
)


def wanted() -> dict[str, list[str]]:
    """Return the requirements of each pin file."""
    data = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    run = [*data["project"]["dependencies"], *data["build-system"]["requires"]]
    dev = [*run, *data["dependency-groups"]["dev"]]
    return {"run": run, "dev": dev, "peers": [*dev, *data["dependency-groups"]["peers"]]}


def normal(requirement: str) -> str:
    """Return the package's name in its normal spelling."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""


def check() -> int:
    """Compare names; return the exit code."""
    code = 0
    for name, requirements in wanted().items():
        lines = PINS[name].read_text(encoding="utf-8").splitlines() if PINS[name].exists() else []
        pinned = {normal(line) for line in lines if line and not line.startswith("#")}
        absent = sorted({normal(requirement) for requirement in requirements} - pinned)
        foreign = [line for line in lines if "://" in line or line.startswith("-")]
        for problem in (*(f"{package} is not pinned" for package in absent), *foreign):
            print(f"requirements/{name}.txt: {problem}; run `make lock`", file=sys.stderr)
            code = 1
    return code


def lock() -> int:
    """Resolve and write both files."""
    for name, requirements in wanted().items():
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            python = str(Path(folder) / "bin" / "python")
            constraint = ["-c", str(PINS[BASE[name]])] if name in BASE else []
            subprocess.run([python, "-m", "pip", "install", "-q", *requirements, *constraint], check=True)
            frozen = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
        PINS[name].parent.mkdir(exist_ok=True)
        PINS[name].write_text(HEADER + frozen, encoding="utf-8")
        print(f"wrote {PINS[name].relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(check() if "--check" in sys.argv[1:] else lock())

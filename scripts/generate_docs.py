"""Write the generated pages of docs/reference, or with --check fail when one is not what the code says.

python scripts/generate_docs.py [--check]
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
REFERENCE = PROJECT / "docs" / "reference"

# Page → module with a function `reference() -> str`. A module that does not exist yet is no error, a broken one is.
PAGES = {
    "config.md": "raven.config.reference",
    "metrics.md": "raven.observe.reference",
    "grpc.md": "raven.serve.reference",
    "validation.md": "validation_reference",
}


def main() -> int:
    """Write or check every page; return the exit code."""
    check = "--check" in sys.argv[1:]
    sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "scripts")]
    stale = []
    for page, module in PAGES.items():
        try:
            text = import_module(module).reference()
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or "?"):
                raise
            continue
        path = REFERENCE / page
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        if current == text:
            continue
        if check:
            stale.append(str(path.relative_to(PROJECT)))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(PROJECT)}")
    if stale:
        print(f"not what the code says: {', '.join(stale)}; run `make docs` and commit", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

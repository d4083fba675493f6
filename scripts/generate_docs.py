"""Write the generated pages of docs/reference and deploy/sql, or with --check fail when one is not what the code says.

python scripts/generate_docs.py [--check]
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

# File → function that returns its text. A module that does not exist yet is no error, a broken one is.
PAGES = {
    "docs/reference/config.md": "raven.config.reference:reference",
    "docs/reference/metrics.md": "raven.observe.reference:reference",
    "docs/reference/parquet.md": "raven.journal.reference:reference",
    "docs/reference/postgres.md": "raven.sinks.postgres.reference:reference",
    "docs/reference/grpc.md": "raven.serve.reference:reference",
    "docs/reference/bars.md": "bars_reference:reference",
    "docs/reference/validation.md": "validation_reference:reference",
    "deploy/sql/postgres.sql": "raven.sinks.postgres:schema_sql",
    "deploy/sql/timescale.sql": "raven.sinks.postgres:timescale_sql",
}


def main() -> int:
    """Write or check every page; return the exit code."""
    check = "--check" in sys.argv[1:]
    sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "scripts")]
    stale = []
    for page, source in PAGES.items():
        module, _, function = source.partition(":")
        try:
            text = getattr(import_module(module), function)()
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or "?"):
                raise
            continue
        path = PROJECT / page
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

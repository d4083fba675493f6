"""How long a warm `raven --demo` (what `make run` starts) takes to its first exact book.

    python benches/system_start.py [--runs 5]

From the start of the process to the log line that the first book is in sync, and until all three are. Writes
`results/start.json`.
"""

from __future__ import annotations

import argparse
from typing import Any

from system_parts import Server, keep


def measure() -> dict[str, Any]:
    """Run once."""
    with Server({}, ("--demo",)) as server:
        first = server.wait_for_line(lambda line: line.get("event") == "book in sync", 60)
        every = server.wait_synced(3, 60)
    return {"seconds_to_first_book": round(first, 2), "seconds_to_all_books": round(every, 2)}


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description="Start of the demo.")
    options.add_argument("--runs", type=int, default=5)
    chosen = options.parse_args()
    measure()  # what is not warm yet gets warm
    keep("start", "raven --demo", [measure() for _ in range(chosen.runs)], "the built-in exchange starts, too")


if __name__ == "__main__":
    main()

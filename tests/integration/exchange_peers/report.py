"""What the peers share: arguments, and answering every line of standard input with the best levels they have.

A peer is a program around a public client library. It is told where the exchange is, keeps a book of one symbol, and
prints `[[bids], [asks]]` (best first, `[price, quantity]`) as one JSON line for every line it reads; `null` when it
has no book. It ends when its input ends.
"""

import argparse
import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence

LEVELS = 10
Levels = Sequence[Sequence[object]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("--market", "--ws", "--rest", "--symbol", "--spot-rest"):
        parser.add_argument(name, required=True)
    return parser.parse_args()


def answer_in_background(top: Callable[[], tuple[Levels, Levels]]) -> None:
    """Answer from another thread while the client runs; ends the process with its input."""

    def answer() -> None:
        for _ in sys.stdin:
            sides = None
            # The client may be changing its book just now, or have none yet; the test asks again.
            with contextlib.suppress(Exception):
                bids, asks = top()
                sides = [[[float(str(p)), float(str(q))] for p, q, *_ in side[:LEVELS]] for side in (bids, asks)]
            print(json.dumps(sides), flush=True)
        os._exit(0)

    threading.Thread(target=answer, daemon=True).start()

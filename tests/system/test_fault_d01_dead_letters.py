"""D1 and D7 for dead letters: what `put` returned from survives `kill -9`; replays, however many, deliver once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from raven.resilience.dead_letters import DeadLetterQueue, LetterState

SEED = 20_261_121
SYMBOLS = ("BTCUSDT", "ETHUSDT")
OPENS_WITHIN_S = 2.0

WRITER = """
import sys
from pathlib import Path
from raven.resilience.dead_letters import DeadLetterQueue
queue = DeadLetterQueue(Path(sys.argv[1]))
for number in range(1_000_000):
    queue.put("influx", f"{sys.argv[2]}-{number}", "no", b"x" * 500)
    print(f"{sys.argv[2]}-{number}", flush=True)
"""


@pytest.mark.fault("D1")
@pytest.mark.timeout(900)
def test_every_letter_that_was_acknowledged_outlives_every_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str, object], None], chaos: bool
) -> None:
    source = Path(__file__).resolve().parents[2] / "src"
    monkeypatch.setenv("PYTHONPATH", str(source))
    file, dice = tmp_path / "letters.sqlite", random.Random(SEED)
    acknowledged: set[str] = set()
    opening: list[float] = []
    rounds = 500 if chaos else 5
    for life in range(rounds):
        command = [sys.executable, "-c", WRITER, str(file), str(life)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(dice.uniform(0.0, 0.05))
            writer.kill()
            # A line that the kill cut off acknowledges nothing.
            said = [line for line in (first, *writer.stdout.readlines()) if line.endswith("\n")]
        assert said, "it wrote before it was killed"
        acknowledged |= {line.strip() for line in said}

        began = time.monotonic()
        queue = DeadLetterQueue(file)
        kept = {letter.key for letter in queue.letters(limit=1_000_000)}
        opening.append(time.monotonic() - began)
        queue.close()
        assert acknowledged <= kept, f"seed {SEED}, round {life}"

    # At most the one letter that was being written in each round came without its acknowledgement.
    assert len(kept - acknowledged) <= rounds
    figure("dead letters: kills", rounds)
    figure("letters", len(acknowledged))
    figure("seed", SEED)
    figure("opened after kill_s max", round(max(opening), 3))
    assert median(opening) < OPENS_WITHIN_S


@pytest.mark.fault("D7")
def test_replays_at_any_time_deliver_each_letter_once_and_in_order(tmp_path: Path) -> None:
    queue = DeadLetterQueue(tmp_path / "letters.sqlite")
    for number in range(60):
        queue.put("influx", str(number), "no", b"x", symbol=SYMBOLS[number % 2])
    asked = [letter.number for letter in queue.letters()]
    delivered: dict[str, list[int]] = {symbol: [] for symbol in SYMBOLS}

    queue.ask_retry(asked)
    while due := queue.take_due("influx", limit=7):
        # A person asks again while they are tried, and the database goes on refusing others.
        queue.ask_retry([letter.number for letter in due])
        queue.put("influx", f"new {due[0].number}", "no", b"x", symbol=SYMBOLS[0])
        for letter in due:
            delivered[letter.symbol].append(int(letter.key))
            queue.accepted(letter.number)
    queue.ask_retry(asked)

    assert queue.take_due("influx") == []
    assert delivered == {"BTCUSDT": list(range(0, 60, 2)), "ETHUSDT": list(range(1, 60, 2))}
    assert {letter.state for letter in queue.letters()} == {LetterState.WAITING}
    queue.close()

"""Source → aggregator → persistence → PostgreSQL: one end asks for all of it, and any of them may be killed."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.servers.postgres import PostgresServer
from tests.system.services.conftest import Platform, until
from tests.system.services.truth import Truth

CHAIN = ("binance_spot", "raven_timebar", "bar_persistence")
START = ("start", "--symbol", "BTCUSDT", "--service")
STOP = ("stop", "--symbol", "BTCUSDT", "--service")
COLUMNS = (
    "first_trade_id", "last_trade_id", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume",
    "sell_volume", "buy_ticks", "sell_ticks",
)  # fmt: skip


class Bars:
    """What the database has of them."""

    def __init__(self, server: PostgresServer, table: str = "time_bars") -> None:
        self._server = server
        self._table = f"raven.{table}"

    def rows(self) -> list[dict[str, Any]]:
        """Return them in their order, figures as the database writes them."""
        if self._server.query(f"SELECT to_regclass('{self._table}') IS NOT NULL") == ["f"]:
            return []
        names = (*COLUMNS, "complete", "gap_count", "revision")
        lines = self._server.query(f"SELECT {', '.join(names)} FROM {self._table} ORDER BY open_time, first_trade_id")
        rows = [dict(zip(names, line.split("|"), strict=True)) for line in lines]
        return [row | {"is_whole": row["complete"] == "t" and row["gap_count"] == "0"} for row in rows]

    def whole(self) -> int:
        """Return the last trade of the newest bar that nothing is missing of."""
        return max((int(row["last_trade_id"]) for row in self.rows() if row["is_whole"]), default=0)

    def gaps(self) -> int:
        """Return how many gap records it has."""
        if self._server.query("SELECT to_regclass('raven.gaps') IS NOT NULL") == ["f"]:
            return 0
        return self._server.count("gaps")


def differences(rows: list[dict[str, Any]], offline: dict[int, dict[str, Any]]) -> list[str]:
    """Compare bars that say of themselves that nothing is missing with those of the exchange's own trades."""
    found = []
    for row in rows:
        if not row["is_whole"]:
            continue
        true = offline.get(int(row["first_trade_id"]))
        if true is None:
            found.append(f"no bar begins with trade {row['first_trade_id']}")
            continue
        found += [
            f"bar from {row['first_trade_id']}: {name} is {row[name]}, not {true[name]}"
            for name in COLUMNS
            if float(row[name]) != float(true[name])
        ]
    return found


def holes(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return the trades that are in no bar though the bars on both sides say that they are whole."""
    return [
        (int(before["last_trade_id"]), int(after["first_trade_id"]))
        for before, after in itertools.pairwise(rows)
        if int(after["first_trade_id"]) != int(before["last_trade_id"]) + 1 and before["is_whole"] and after["is_whole"]
    ]


def test_a_start_at_the_aggregator_reaches_the_exchange_and_a_stop_lets_go_of_it(
    platform: Platform, figure: Callable[[str, object], None]
) -> None:
    for name in ("binance_spot", "raven_timebar"):
        until(platform.start(name, options=("--seconds", "1") if name == "raven_timebar" else ()).is_ready, "idle")
    bars = platform.running["raven_timebar"]

    began = time.monotonic()
    code, said = platform.ctl(*START, "timebar")
    until(lambda: bars.collections() == {"BTCUSDT": "live"}, "the first trade has come to the aggregator")
    seconds = time.monotonic() - began
    figure("first_trade_s", round(seconds, 2))
    print(f"ravenctl start → first trade at the aggregator: {seconds:.2f} s")
    until(lambda: bars.status()["events"] > 0, "a bar")
    platform.ctl(*STOP, "timebar")
    until(lambda: not platform.market()["streams"], "the exchange is asked for nothing")

    assert (code, said) == (0, "raven_timebar: collecting TIME_BARS of BTCUSDT from binance_spot\n")
    assert seconds < 20, "two seconds on a machine that does nothing else"
    assert platform.market()["ws"]["unsubscribe"] >= 1
    assert bars.collections() == {}


@pytest.mark.fault("P1")
@pytest.mark.timeout(900)
def test_any_of_them_is_killed_and_every_bar_is_true_or_marked(
    platform: Platform, database: PostgresServer, chaos: bool, figure: Callable[[str, object], None]
) -> None:
    platform.say_in("feeds", f'state_dir = "{platform.folder}/state"')
    platform.say(f'[timebar]\nseconds = 1\n[timescale]\nurl = "{database.url}"\n')
    for name in CHAIN:
        platform.start(name)
    platform.ctl(*START, "bar_persistence")
    bars, truth, healing = Bars(database), Truth(platform), []
    until(bars.whole, "bars are in the database")

    for number in range(20 if chaos else 3):
        victim = CHAIN[number % len(CHAIN)]
        platform.running[victim].end(signal.SIGKILL)
        began, before = time.monotonic(), bars.whole()
        platform.start(victim)
        until(lambda: all(platform.running[name].is_ready() for name in CHAIN), f"all are ready after {victim}")
        # One bar later, so that a whole one lies behind the gap.
        until(
            lambda before=before: len([1 for row in bars.rows() if int(row["first_trade_id"]) > before]) > 2, "bars", 60
        )
        healing.append(round(time.monotonic() - began, 2))
        truth.follow()

    platform.ctl(*STOP, "bar_persistence")
    until(lambda: platform.running["bar_persistence"].collections() == {}, "it wants no more")
    rows = bars.rows()
    truth.follow()
    marked = [row for row in rows if not row["is_whole"]]
    figure("heal_s", healing)
    figure("bars", f"{len(rows)}, of these {len(marked)} marked")
    print(f"healed after {healing} s; {len(rows)} bars, {len(marked)} marked, {bars.gaps()} gap records")
    assert differences(rows, truth.bars("time", seconds=1)) == []
    assert len(holes(rows)) <= bars.gaps()
    assert len(marked) <= 2 * len(healing) + 2


@pytest.mark.fault("P1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("aggregator", "table", "bars_are", "how"),
    [
        pytest.param("raven_timebar", "time_bars", ("time", {"seconds": 1}), signal.SIGKILL, id="time bars, killed"),
        pytest.param(
            "raven_tibs", "tick_imbalance_bars", ("tick_imbalance", {"initial_size": 50}), signal.SIGTERM,
            id="imbalance bars, restarted",
        ),
    ],
)  # fmt: skip
def test_no_bar_is_lost_or_marked_when_those_who_hear_come_back(
    platform: Platform,
    database: PostgresServer,
    aggregator: str,
    table: str,
    bars_are: tuple[str, dict[str, Any]],
    how: int,
) -> None:
    platform.say_in("feeds", f'state_dir = "{platform.folder}/state"')
    # Who ends in order lets go; this is how long the one that it heard waits for it to come back.
    platform.say_in("feeds", "linger_seconds = 60")
    platform.say(f'[timebar]\nseconds = 1\n[tibs]\ninitial_size = 50\n[timescale]\nurl = "{database.url}"\n')
    hear = ("--upstream", f"grpc://127.0.0.1:{platform.ports[aggregator]}")
    bars = Bars(database, table)
    platform.start("binance_spot")
    platform.start(aggregator)
    platform.start("bar_persistence", options=hear)
    platform.ctl(*START, "bar_persistence")
    truth = Truth(platform)
    until(lambda: len(bars.rows()) > 2, "bars are in the database")

    for name in (aggregator, "bar_persistence"):
        # What was heard in the last seconds is not counted on after a crash, and that is all at first.
        heard = platform.folder / "state" / name / "heard.json"
        until(lambda heard=heard: heard.exists() and "BTCUSDT" in heard.read_text(), f"{name} notes how far it is")
        seen = bars.whole()
        platform.running[name].end(how)
        platform.start(name, options=hear if name == "bar_persistence" else ())
        until(lambda seen=seen: bars.whole() > seen + 500, f"bars come again after {name}")
    rows = bars.rows()
    truth.follow()

    first, *others = rows
    kind, parameters = bars_are
    since = int(first["first_trade_id"])
    assert [row for row in others if not row["is_whole"]] == []
    assert differences(others, truth.bars(kind, since, **parameters)) == []
    assert holes(rows) == []

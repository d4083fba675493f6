"""Of all states of a bar one counts: that with the highest revision, whatever came first."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.batches import EVERY_TYPE

from raven.journal.revisions import BAR_TYPES, RANK, bar_key, newest, stretches

HOUR_NS = 3_600 * 10**9
State = tuple[str, int, bool, int]


def states(*rows: State) -> pa.Table:
    """Rows of what a bar is known by, its revision, whether it is complete, and when it arrived."""
    columns: list[Any] = list(zip(*rows, strict=True)) or [(), (), (), ()]
    kinds = (pa.string(), pa.int64(), pa.bool_(), pa.int64())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.table(arrays, names=["bar", *RANK])


def written(batch: pa.Table, present: pa.Table | None = None) -> list[State]:
    return [tuple(row.values()) for row in batch.filter(newest(batch, ["bar"], present)).to_pylist()]


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (("a", 0, True, 9), ("a", 1, False, 1)),
        (("a", 1, False, 9), ("a", 1, True, 1)),
        (("a", 1, True, 1), ("a", 1, True, 2)),
    ],
)
def test_the_revision_comes_first_then_whether_it_is_complete_then_the_time(less: State, more: State) -> None:
    assert written(states(less, more)) == written(states(more, less)) == [more]
    assert written(states(less), states(more)) == []
    assert written(states(more), states(less)) == [more]


def test_what_is_there_already_is_not_written_again() -> None:
    some = states(("a", 0, True, 1), ("b", 2, True, 1), ("c", 0, False, 1))

    assert written(some, some.slice(0, 2)) == [("c", 0, False, 1)]
    assert written(some, states()) == written(some) == [tuple(row.values()) for row in some.to_pylist()]


some_states = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.booleans(), st.integers(0, 3)), max_size=12
)


@given(batches=st.lists(some_states, max_size=5))
def test_whatever_the_batches_the_best_of_all_is_what_stays(batches: list[list[State]]) -> None:
    there: dict[str, State] = {}
    for batch in batches:
        # A database in which what comes last stays.
        there |= {state[0]: state for state in written(states(*batch), states(*there.values()))}

    best: dict[str, State] = {}
    for state in (state for batch in batches for state in batch):
        best[state[0]] = max(best.get(state[0], state), state)
    assert there == best


def test_stretches_hold_all_times_and_no_hole_of_more_than_an_hour() -> None:
    times = [5 * HOUR_NS, 0, 6 * HOUR_NS, 0, 7 * HOUR_NS + 1]

    assert list(stretches(pa.array(times))) == [(0, 0), (5 * HOUR_NS, 6 * HOUR_NS), (7 * HOUR_NS + 1, 7 * HOUR_NS + 1)]
    assert list(stretches(pa.array([], pa.int64()))) == []


def test_bars_have_the_columns_that_they_are_known_and_ranked_by() -> None:
    known = {make(1).type: set(make(1).records.column_names) for make in EVERY_TYPE.values()}

    for name in set(BAR_TYPES) & known.keys():
        assert {*bar_key(name), *RANK} <= known[name]
    assert len(BAR_TYPES) == 9

"""Lines are exact, well formed, and cut only between lines."""

from __future__ import annotations

import math
from decimal import Decimal

import pyarrow as pa
import pytest
from tests.batches import books

from raven.journal.line_protocol import (
    Field,
    decimal_text,
    float_field,
    has_more_digits_than_a_double,
    integer,
    levels_text,
    lines,
    parts_of,
    quoted,
    tag_text,
)

DECIMAL = pa.decimal128(38, 18)
NUMBERS = [
    "0", "1", "-1", "100", "61000.50", "-61000.5", "0.10", "0.000001", "0.00000001", "-0.0000005",
    "0.000000000000000001",
    "12345678901234567890.123456789012345678", "-99999999999999999999.999999999999999999",
]  # fmt: skip


def decimals(*texts: str | None) -> pa.Array:
    return pa.array([None if text is None else Decimal(text) for text in texts], DECIMAL)


def written(*args: object) -> list[str]:
    text = b"".join(lines(*args).bodies(1_000_000)).decode()  # type: ignore[arg-type]
    return text.split("\n")[:-1]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_decimal_is_written_digit_by_digit_without_exponent(number: str) -> None:
    text = decimal_text(decimals(number, "5"))[0].as_py()

    assert Decimal(text) == Decimal(number)
    assert "E" not in text
    assert text == text.rstrip(".")
    assert "." not in text or not text.endswith("0")


def test_whole_numbers_keep_their_zeros() -> None:
    assert decimal_text(pa.array([Decimal(1200)], pa.decimal128(10, 0))).to_pylist() == ["1200"]


def test_values_with_more_digits_than_a_double_are_found() -> None:
    numbers = ["999999999999999", "0.000000123456789", "-123456.789012345", "1234567890.1234567", None]

    found = has_more_digits_than_a_double(decimal_text(decimals(*numbers))).to_pylist()

    assert found == [False, False, False, True, None]
    assert all(Decimal(repr(float(text))) == Decimal(text) for text in numbers[:3] if text)


def test_a_line_has_measurement_tags_fields_and_time() -> None:
    one = written(
        "trades",
        {"venue": pa.array(["x"]), "symbol": pa.array(["BTCUSDT"])},
        {"id": integer(pa.array([7])), "price": Field(pa.array(["1.5"])), "note": quoted(pa.array(["a b"]))},
        pa.array([1_700_000_000_000_000_001]),
    )

    assert one == ['trades,symbol=BTCUSDT,venue=x id=7i,price=1.5,note="a b" 1700000000000000001']


def test_names_with_special_characters_stay_one_tag_and_stay_apart() -> None:
    names = ["A B", "A,B", "A=B", "Ünï", "A\nB", "A\\", "A%0AB", ""]

    found = written("m", {"symbol": pa.array(names)}, {"f": integer(pa.array(range(8)))}, pa.array(range(8)))

    tags = [line.rpartition(" f=")[0] for line in found]
    assert tags == [
        "m,symbol=A\\ B", "m,symbol=A\\,B", "m,symbol=A\\=B", "m,symbol=Ünï",
        "m,symbol=A%0AB", "m,symbol=A%5C", "m,symbol=A%250AB", "m",
    ]  # fmt: skip


def test_doubles_are_written_so_that_they_come_back_and_nothing_where_there_is_no_number() -> None:
    numbers = [0.1, -1e-7, 1e300, 20.0, math.pi]
    text = float_field(pa.array([*numbers, math.nan, math.inf])).text.to_pylist()

    assert [float(one) for one in text[:5]] == numbers
    assert text[5:] == [None, None]


def test_a_tag_comes_back_as_its_text_says() -> None:
    names = ["BTCUSDT", "a b,c=d", "100%", "back\\slash", "line\nbreak", ""]

    assert tag_text(pa.array(names)).to_pylist() == ["BTCUSDT", "a b,c=d", "100%25", "back%5Cslash", "line%0Abreak", ""]
    assert tag_text(pa.array(names).dictionary_encode()).to_pylist() == tag_text(pa.array(names)).to_pylist()


def test_text_in_fields_is_escaped() -> None:
    found = written("m", {}, {"s": quoted(pa.array(['say "hi"', "back\\slash", "two\nlines"]))}, pa.array([1, 2, 3]))

    assert found == ['m s="say \\"hi\\"" 1', 'm s="back\\\\slash" 2', 'm s="two\\\\nlines" 3']


def test_a_null_leaves_out_its_field_only() -> None:
    fields = {"a": Field(pa.array([None, "1"])), "b": integer(pa.array([None, 2])), "c": Field(pa.array(["3", "4"]))}

    assert written("m", {}, fields, pa.array([1, 2])) == ["m c=3 1", "m c=4,a=1,b=2i 2"]


def test_a_side_of_a_book_is_json_with_every_digit() -> None:
    kind = pa.list_(DECIMAL)
    prices = pa.array([[Decimal("61000.5"), Decimal("0.00000001")], []], kind)
    quantities = pa.array([[Decimal("1.25"), Decimal(3)], []], kind)

    assert levels_text(prices, quantities).to_pylist() == ["[[61000.5,1.25],[0.00000001,3]]", "[]"]


def test_bodies_are_whole_lines_up_to_the_limit() -> None:
    made = lines("m", {}, {"f": integer(pa.array(range(100)))}, pa.array(range(100)))
    whole = b"".join(made.bodies(1_000_000))

    bodies = [bytes(body) for body in made.bodies(50)]

    assert b"".join(bodies) == whole
    assert all(body.endswith(b"\n") and len(body) <= 50 for body in bodies)
    assert len(bodies) < 30
    assert [bytes(body) for body in made.bodies(1)] == whole.splitlines(keepends=True)


def test_no_rows_are_no_bodies() -> None:
    made = lines("m", {}, {"f": integer(pa.array([], pa.int64()))}, pa.array([], pa.int64()))

    assert (len(made), list(made.bodies(10))) == (0, [])


def test_a_batch_of_deep_books_is_cut_into_parts_that_fit_into_memory() -> None:
    batch = books(100, levels=500)

    parts = list(parts_of(batch, max_bytes=batch.records.nbytes // 7))

    assert pa.concat_tables([part.records for part in parts]).equals(batch.records)
    assert 7 <= len(parts) <= 9
    assert [len(part.records) for part in parts_of(batch)] == [100]
    assert list(parts_of(books(0))) == []

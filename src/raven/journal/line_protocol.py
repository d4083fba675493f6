"""InfluxDB's line protocol, written from whole columns: `measurement,tag=value field=value time`, one line per record.

Nothing here runs once per record in Python. QuestDB reads the same text; what differs stands in the sinks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from raven.ports import SinkBatch

__all__ = [
    "BOOK_NUMBERS",
    "Field",
    "Lines",
    "decimal_text",
    "float_field",
    "has_more_digits_than_a_double",
    "integer",
    "levels_text",
    "lines",
    "parts_of",
    "quoted",
    "tag_text",
]

_TEXT = pa.string()
# So many significant digits of any decimal survive the way into a double and back (C's DBL_DIG).
_DOUBLE_DIGITS = 15
# Levels of a book that are fields of their own; the whole sides stand beside them as text.
_BOOK_LEVELS = 5
# A batch of deep books would otherwise be gigabytes of text.
_PART_BYTES = 16 << 20
BOOK_NUMBERS = tuple(
    f"{side}_{what}_{level + 1}"
    for side in ("bid", "ask")
    for what in ("price", "quantity")
    for level in range(_BOOK_LEVELS)
)
"""Names of the fields with the best levels of a book."""


class Field(NamedTuple):
    """The values of one field as they stand in lines; a null leaves the field out of that line."""

    text: pa.Array
    suffix: str = ""
    """What follows each value, as the `i` of integers."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of text, each with its newline, in one buffer."""

    text: pa.Array

    def __len__(self) -> int:
        return len(self.text)

    def bodies(self, max_bytes: int) -> Iterator[memoryview]:
        """Yield all of the text in pieces of whole lines; none above `max_bytes`, but a longer line comes alone."""
        _, offsets, data = self.text.buffers()
        if data is None or not len(self):
            return
        ends, whole = memoryview(offsets).cast("i"), memoryview(data)
        first = self.text.offset
        last = first + len(self)
        while first < last:
            until = bisect_right(ends, ends[first] + max_bytes, first + 1, last + 1) - 1
            until = max(until, first + 1)
            yield whole[ends[first] : ends[until]]
            first = until


def lines(measurement: str, tags: Mapping[str, pa.Array], fields: Mapping[str, Field], times: pa.Array) -> Lines:
    """Write one line per row.

    `tags`: strings, plain or dictionary encoded; an empty one is left out, which is how InfluxDB reads it anyway.
    `fields`: at least one of them without nulls, because a line needs a field. `times`: ns since 1970.
    """
    parts: list[pa.Array | str] = [measurement]
    parts += [_tag(name, tags[name]) for name in sorted(tags)]
    separator = " "
    for name, (text, suffix) in sorted(fields.items(), key=lambda field: field[1].text.null_count > 0):
        if text.null_count:
            parts.append(pc.binary_join_element_wise(f"{separator}{name}=", text, suffix, ""))
        else:
            parts += [f"{separator}{name}=", text, suffix]
        separator = ","
    parts += [" ", times.cast(pa.int64()).cast(_TEXT), "\n"]
    return Lines(pc.binary_join_element_wise(*parts, "", null_handling="skip"))


def parts_of(batch: SinkBatch, max_bytes: int = _PART_BYTES) -> Iterator[SinkBatch]:
    """Cut a batch into parts of about so many bytes at most, in its order: lines take as much memory once more."""
    rows = len(batch.records)
    step = max(1, rows * max_bytes // max(1, batch.records.nbytes))
    for start in range(0, rows, step):
        yield SinkBatch(batch.type, batch.records.slice(start, step))


def columns_of(table: pa.Table) -> dict[str, pa.Array]:
    """Return the columns of a table, each in one piece."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.unify_dictionaries()
        whole = column.combine_chunks()
        columns[name] = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
    return columns


def _tag(name: str, values: pa.Array) -> pa.Array:
    """Return `,name=value` of each row; few values are spelled, many rows refer to them."""
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    spelled = [f",{name}={_escaped(value)}" if value else "" for value in encoded.dictionary.to_pylist()]
    return pc.fill_null(pc.take(pa.array(spelled, _TEXT), encoded.indices), "")


def tag_text(values: pa.Array) -> pa.Array:
    """Return strings as a database has them that got them as tags.

    Control characters cannot stand in a line and a backslash would escape what follows it: both are written like the
    bytes of a URL, and for that to be unambiguous so is the percent sign.
    """
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    return pc.take(pa.array([_safe(value) for value in encoded.dictionary.to_pylist()], _TEXT), encoded.indices)


def _safe(value: str) -> str:
    return "".join(f"%{ord(char):02X}" if char in "%\\\x7f" or char < " " else char for char in value)


def _escaped(value: str) -> str:
    return _safe(value).replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def quoted(values: pa.Array) -> Field:
    """Return strings as the values of a field; a line break in one becomes the two characters `\\n`."""
    text = values.cast(_TEXT)
    for char, instead in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\\\n"), ("\r", "\\\\r")):
        text = pc.replace_substring(text, char, instead)
    return Field(pc.binary_join_element_wise('"', text, '"', ""))


def integer(values: pa.Array) -> Field:
    """Return whole numbers as the values of a field; times are their ns since 1970."""
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("ns", tz=values.type.tz)).cast(pa.int64())
    return Field(values.cast(_TEXT), "i")


def float_field(values: pa.Array) -> Field:
    """Return doubles as the values of a field; what is no number is left out."""
    return Field(pc.if_else(pc.is_finite(values), values.cast(_TEXT), None))


def decimal_text(values: pa.Array) -> pa.Array:
    """Return decimals as exact plain text: no exponent, no zeros at the end, e.g. `61000.5`."""
    text = values.cast(_TEXT)
    has_exponent = pc.match_substring(text, "E")
    if pc.any(has_exponent).as_py():
        text = pc.replace_with_mask(text, has_exponent, _small_text(values.filter(has_exponent)))
    return pc.ascii_rtrim(pc.ascii_rtrim(text, "0"), ".") if values.type.scale > 0 else text


def _small_text(values: pa.Array) -> pa.Array:
    """Write values below 0.000001, for which Arrow uses an exponent, plainly."""
    scale = values.type.scale
    one = pa.scalar(1, pa.decimal128(1, 0))
    # 1 + |value| has no exponent; its leading 1 is the 0 of |value|.
    above = pc.add(pc.abs(values).cast(pa.decimal128(scale + 1, scale)), one).cast(_TEXT)
    sign = pc.if_else(pc.less(values, pa.scalar(0, pa.decimal128(1, 0))), "-", "")
    return pc.binary_join_element_wise(sign, "0", pc.utf8_slice_codeunits(above, 1), "")


def has_more_digits_than_a_double(text: pa.Array) -> pa.Array:
    """Return which decimals (as `decimal_text` writes them) a double cannot give back digit by digit."""
    # Nearly always the length alone says it: sign, point and digits.
    if (pc.max(pc.binary_length(text)).as_py() or 0) <= _DOUBLE_DIGITS + 1:
        return pa.repeat(False, len(text))
    digits = pc.ascii_ltrim(pc.replace_substring(text, ".", ""), "-0")
    return pc.greater(pc.binary_length(digits), _DOUBLE_DIGITS)


def levels_text(prices: pa.Array, quantities: pa.Array) -> pa.Array:
    """Return a side of each book as JSON, best first, every digit kept: `[[61000.5,1.25],[61000,3]]`."""
    pairs = pc.binary_join_element_wise(
        "[", decimal_text(prices.flatten()), ",", decimal_text(quantities.flatten()), "]", ""
    )
    lengths = pc.list_value_length(prices).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    return pc.binary_join_element_wise("[", pc.binary_join(pa.ListArray.from_arrays(offsets, pairs), ","), "]", "")


def book_fields(columns: Mapping[str, pa.Array], suffix: str = "") -> dict[str, Field]:
    """Return books as fields: the best levels as numbers (`bid_price_1`, …), both sides whole as text (`bids`, `asks`).

    `suffix`: that of numbers.
    """
    lists = [f"{side}_{what}" for side in ("bid", "ask") for what in ("prices", "quantities")]
    best = [pc.list_slice(columns[name], 0, _BOOK_LEVELS, return_fixed_size_list=True) for name in lists]
    levels = (pc.list_element(side, level) for side in best for level in range(_BOOK_LEVELS))
    fields = {name: Field(decimal_text(level), suffix) for name, level in zip(BOOK_NUMBERS, levels, strict=True)}
    for side in ("bid", "ask"):
        text = levels_text(columns[f"{side}_prices"], columns[f"{side}_quantities"])
        fields[f"{side}s"] = Field(pc.binary_join_element_wise('"', text, '"', ""))
    return fields

import re
from enum import IntEnum, IntFlag
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raven.records import (
    BarQuality,
    BarWord,
    CandleWord,
    Flags,
    FundingWord,
    GapReason,
    GapWord,
    Kind,
    decimal,
    decimal_text,
)
from raven.topics import DataType

RUST = (Path(__file__).parents[2] / "crates/raven-core/src/record.rs").read_text(encoding="utf-8")


def rust_enum(name: str) -> dict[str, int]:
    body = re.search(rf"pub enum {name} \{{(.*?)^\}}", RUST, re.S | re.M)
    assert body, f"record.rs has no enum {name}"
    return {
        re.sub(r"(?<!^)(?=[A-Z])", "_", key).upper(): int(value)
        for key, value in re.findall(r"^\s+(\w+) = (\d+),", body[1], re.M)
    }


def rust_constants(module: str) -> dict[str, int]:
    body = re.search(rf"pub mod {module} \{{(.*?)^\}}", RUST, re.S | re.M)
    assert body, f"record.rs has no mod {module}"
    return {key: int(value) for key, value in re.findall(r"pub const (\w+): \w+ = (\d+);", body[1])}


@pytest.mark.parametrize("enum", [Kind, GapReason])
def test_the_enums_are_those_of_the_rings(enum: type[IntEnum]) -> None:
    assert {member.name: member.value for member in enum} == rust_enum(enum.__name__)


@pytest.mark.parametrize(
    ("enum", "module"),
    [
        (CandleWord, "candle"),
        (FundingWord, "funding"),
        (GapWord, "gap"),
        (BarWord, "bar"),
        (BarQuality, "bar"),
        (DataType, "data_type"),
    ],
)
def test_the_layouts_are_those_of_the_rings(enum: type[IntEnum | IntFlag], module: str) -> None:
    expected = rust_constants(module)

    # What stands in the quality of bars has its constants beside their words.
    others = {"WORDS", "SCALE", "MAX_PARAMETERS", "PART_BIT", "REVISION_BIT"}
    others |= {member.name for member in BarQuality if enum is BarWord}
    if enum is BarQuality:
        others |= expected.keys() - {member.name for member in BarQuality}
    assert {m.name: m.value for m in enum} == {k: v for k, v in expected.items() if k not in others}


def test_the_flags_are_those_of_the_rings() -> None:
    assert {flag.name: flag.value for flag in Flags} == rust_constants("flags")


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 18))
def test_decimal_text_loses_no_digit(mantissa: int, scale: int) -> None:
    text = decimal_text(mantissa, scale)

    assert int(text.replace(".", "")) == mantissa
    assert decimal(mantissa, scale) == decimal(int(text.replace(".", "")), scale)
    assert len(text.partition(".")[2]) == scale


def test_decimal_text_keeps_zeros_on_both_ends() -> None:
    assert [decimal_text(5, 3), decimal_text(-50, 3), decimal_text(6100050, 2), decimal_text(7, 0)] == [
        "0.005",
        "-0.050",
        "61000.50",
        "7",
    ]

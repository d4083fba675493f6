"""docs/how-to/make-bars.md and docs/reference/bars.md tell the truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.unit.bars.flows import random_flow

from raven.bars import BAR_KINDS
from raven.client import Bar
from raven.topics import DataType

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = DOCS / "how-to" / "make-bars.md"


def test_the_code_of_the_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(random_flow(20_000, repeats=0.5), "trades.parquet")
    names: dict[str, Any] = {}

    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)

    assert len(names["minutes"]) > 1400
    assert names["wish"].bars_per_day == pytest.approx(200, rel=0.05)
    assert len(names["bars"]) == names["wish"].bars
    assert 0 < len(names["whole"]) <= len(names["imbalance"])
    assert "tick_imbalance(" in capsys.readouterr().out


def test_every_kind_and_data_type_named_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")

    types = set(re.findall(r"`((?:candles|time|tick_imbalance)_\w+)`", text))
    assert types >= {"candles_1m", "time_bars", "tick_imbalance_bars"}
    assert all(name.upper() in DataType.__members__ for name in types)
    assert all(f"`{kind}`" in text for kind in BAR_KINDS)


def test_what_a_bar_says_is_a_field_of_it() -> None:
    rows = re.findall(r"^\| `(\w+)`", PAGE.read_text(encoding="utf-8").partition("## What to trust")[2], re.MULTILINE)

    assert set(rows) == {"complete", "gap_count", "revision", "warming_up"}
    assert all(hasattr(Bar, name) for name in rows)

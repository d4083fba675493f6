"""Plug-ins by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from raven.errors import ConfigurationError
from raven.registry import VENUES, load

SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.mark.parametrize("name", VENUES)
def test_every_name_leads_to_a_factory(name: str) -> None:
    assert load(VENUES, name, "venue")().name == name


@pytest.mark.parametrize(
    ("name", "hint"), [("binance_future", "did you mean 'binance_futures'"), ("nasdaq", "known are binance_coinm, ")]
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown venue '{name}'; {hint}"):
        load(VENUES, name, "venue")


def test_nothing_is_imported_before_it_is_wanted() -> None:
    code = "import sys, raven.registry; print([name for name in sys.modules if name.startswith('raven.venues')])"

    answer = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"

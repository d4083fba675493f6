"""Recordings give the results that an independent program computed from them."""

import json
import os
from pathlib import Path

import pytest

from raven.ctl.replay import replay_files

ROOT = Path(__file__).parents[3]
RECORDINGS = Path(os.environ.get("RAVEN_RECORDINGS", ROOT.parent / "shared" / "data"))
NAMES = {
    "usdm_btcusdt_20240808": "usdm/btcusdt_20240808.gz",
    "spot_btcusdt_20240808": "spot/btcusdt_20240808.gz",
    "spot_ethusdt_20240808": "spot/ethusdt_20240808.gz",
    "cm_btcusd_perp_20240808": "cm/btcusd_perp_20240808.gz",
    "binance_usdm_4sym": "venues/binance_usdm_4sym.gz",
}
# Bars are computed elsewhere; everything else in the expected results must come out, key by key.
BAR_KEYS = {"bar_columns", "bars_1m", "bars_1s", "tib_columns", "tib"}


@pytest.mark.recordings
@pytest.mark.parametrize("name", NAMES)
def test_a_recording_gives_the_expected_result_to_the_digit(name: str) -> None:
    path = RECORDINGS / NAMES[name]
    if not path.exists():
        pytest.skip(f"no recordings at {RECORDINGS}; set RAVEN_RECORDINGS")
    expected = json.loads((RECORDINGS / "expected" / f"{name}.json").read_text())

    report = json.loads(json.dumps(replay_files([path]).report()))

    assert report.pop("rejected") == report.pop("damage") == []
    for symbol in expected["symbols"].values():
        symbol["trades"] = {key: value for key, value in symbol["trades"].items() if key not in BAR_KEYS}
    for symbol in expected["symbols"]:
        assert report["symbols"][symbol] == expected["symbols"][symbol]
    assert report == expected

"""What venues trade, asked by programs and by people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.system.conftest import ExchangeThread
from typer.testing import CliRunner

import raven
from raven.ctl.cli import app
from raven.errors import DataValidation, NetworkTimeout
from raven.exchange import ExchangeConfig


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A configuration with spot and futures of the built-in exchange."""
    wanted = ExchangeConfig(markets=("spot", "usdm"), symbols=("BTCUSDT", "PEPEUSDT", "ETHBTC"), levels=20)
    folder = tmp_path_factory.mktemp("symbols")
    with ExchangeThread(wanted) as server:
        text = f"[feeds]\nvenues = ['binance_spot', 'binance_futures']\nexclude = ['ETH*']\nstate_dir = '{folder}'\n"
        for venue, market in (("binance_spot", "spot"), ("binance_futures", "usdm")):
            text += f"[venues.{venue}]\nrest_url = '{server.exchange.market(market).rest_url}'\n"
        path = folder / "raven.toml"
        path.write_text(text, encoding="utf-8")
        yield path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["symbols", *arguments], env={"COLUMNS": "80"})
    return result.exit_code, result.output


def test_a_program_gets_the_symbol_the_unit_and_the_steps_of_every_venue(config: Path) -> None:
    (spot_venue, spot), (futures_venue, futures) = raven.symbols("pepe/usdt", config=config)

    assert (spot_venue, spot.symbol, spot.factor) == ("binance_spot", "PEPEUSDT", 1)
    assert (futures_venue, futures.symbol, futures.factor) == ("binance_futures", "1000PEPEUSDT", 1000)
    assert (spot.tick_size, spot.step_size, spot.min_notional) == (Decimal("1E-8"), Decimal(1), Decimal(5))
    assert futures.tick_size == Decimal("1E-7")


async def test_a_program_with_a_running_loop_may_ask_too(config: Path) -> None:
    assert [one.symbol for _, one in raven.symbols("BTC*", venue="binance_spot", config=config)] == ["BTCUSDT"]


def test_people_see_a_table_without_what_is_excluded(config: Path) -> None:
    code, out = run("--config", str(config))

    lines = [line.split() for line in out.splitlines() if "USDT" in line]
    assert code == 0
    assert lines == [
        ["binance_spot", "BTCUSDT", "BTC/USDT", "1", "0.01", "0.00001", "5", "trading"],
        ["binance_spot", "PEPEUSDT", "PEPE/USDT", "1", "0.00000001", "1", "5", "trading"],
        ["binance_futures", "1000PEPEUSDT", "PEPE/USDT", "1,000", "0.0000001", "1", "5", "trading"],
        ["binance_futures", "BTCUSDT", "BTC/USDT", "1", "0.1", "0.001", "5", "trading"],
    ]
    assert "4 symbols" in out


def test_scripts_get_figures_as_text_that_loses_no_digit(config: Path) -> None:
    code, out = run("PEPE/USDT", "--venue", "binance_futures", "--config", str(config), "--json")

    assert code == 0
    assert json.loads(out) == [
        {
            "venue": "binance_futures", "symbol": "1000PEPEUSDT", "name": "PEPE/USDT", "base": "PEPE", "quote": "USDT",
            "factor": 1000, "expiry": None, "trading": True,
            "tick_size": "0.0000001", "step_size": "1", "min_notional": "5",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["BTC/USDX"], "binance_spot has no symbol 'BTC/USDX'; did you mean BTCUSDT"),
        (["ETH/BTC"], "ETHBTC of binance_spot is excluded by the pattern 'ETH*'"),
        (["--venue", "binance_spt"], "did you mean 'binance_spot'?"),
    ],
)
def test_what_cannot_be_shown_is_explained(config: Path, arguments: list[str], words: str) -> None:
    code, out = run(*arguments, "--config", str(config))

    assert code == 1
    assert words in " ".join(out.split())


def test_a_pattern_that_matches_nothing_is_no_error(config: Path) -> None:
    assert run("NOPE*", "--config", str(config)) == (0, "nothing that trades matches 'NOPE*'\n")


def test_a_venue_that_does_not_answer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "raven.toml"
    path.write_text("[venues.binance_spot]\nrest_url = 'http://127.0.0.1:9'\n", encoding="utf-8")

    with pytest.raises(NetworkTimeout, match=r"127\.0\.0\.1:9"):
        raven.symbols(venue="binance_spot", config=path)


def test_an_unknown_name_is_an_error_for_programs(config: Path) -> None:
    with pytest.raises(DataValidation, match="has no symbol 'NO/SUCH'"):
        raven.symbols("NO/SUCH", config=config)

import pytest

from raven.exchange import ExchangeConfig, Market, ReplayConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"markets": ("nyse",)}, "market 'nyse' is not one of spot, usdm, coinm"),
        ({"markets": ()}, "at least one market"),
        ({"rate": 0}, "rate 0"),
        ({"levels": 5}, "levels 5"),
        ({"fastest_depth_ms": 0}, "fastest_depth_ms 0"),
        ({"host": "192.0.2.1"}, "loopback"),
        ({"markets": ("spot", "usdm"), "replay": ReplayConfig(files=["x"])}, "exactly one market"),
    ],
)
def test_values_that_make_no_sense_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        ExchangeConfig(**fields)


def test_symbols_fit_their_market():
    config = ExchangeConfig(symbols=("BTCUSDT", "ethusdt", "BTCUSD_PERP"))

    assert config.symbols_for(Market.SPOT) == ["BTCUSDT", "ETHUSDT"]
    assert config.symbols_for(Market.COINM) == ["BTCUSD_PERP", "ETHUSD_PERP"]
    assert len(ExchangeConfig(symbol_count=300).symbols_for(Market.USDM)) == 300

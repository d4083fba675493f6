import pytest

from raven.exchange.instruments import decimal_text, make_instrument, split_symbol, symbol_names
from raven.exchange.markets import Market


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [(150, 2, "1.50"), (5, 0, "5"), (0, 3, "0.000"), (-7, 1, "-0.7"), (6180020, 2, "61800.20")],
)
def test_decimal_text_keeps_every_digit(units, decimals, text):
    assert decimal_text(units, decimals) == text


@pytest.mark.parametrize(
    ("market", "symbol", "price", "quantity"),
    [
        (Market.SPOT, "BTCUSDT", "61800.20000000", "0.00003000"),
        (Market.USDM, "BTCUSDT", "61800.20", "0.003"),
        (Market.COINM, "BTCUSD_PERP", "61800.2", "3"),
    ],
)
def test_numbers_are_written_as_in_recordings_of_the_market(market, symbol, price, quantity):
    instrument = make_instrument(market, "BTCUSDT")

    assert instrument.symbol == symbol
    assert instrument.price_text(instrument.start_ticks) == price
    assert instrument.quantity_text(3) == quantity


@pytest.mark.parametrize("asked", ["PEPEUSDT", "1000PEPEUSDT"])
@pytest.mark.parametrize(
    ("market", "symbol", "base", "price", "tick"),
    [
        (Market.SPOT, "PEPEUSDT", "PEPE", "0.00000783", "0.00000001"),
        (Market.USDM, "1000PEPEUSDT", "1000PEPE", "0.0078310", "0.0000001"),
    ],
)
def test_a_cheap_coin_is_traded_by_the_piece_on_spot_and_by_the_thousand_on_futures(
    asked, market, symbol, base, price, tick
):
    instrument = make_instrument(market, asked)

    assert (instrument.symbol, instrument.base, instrument.tick_text()) == (symbol, base, tick)
    assert instrument.price_text(instrument.start_ticks) == price


def test_made_up_symbols_are_distinct_and_always_the_same():
    names = symbol_names(1000)

    assert len(set(names)) == 1000
    assert names == symbol_names(1000)
    assert names[:2] == ("BTCUSDT", "ETHUSDT")
    assert make_instrument(Market.USDM, names[-1]).start_ticks == make_instrument(Market.USDM, names[-1]).start_ticks


def test_a_symbol_without_a_known_quote_asset_is_refused():
    with pytest.raises(ValueError, match="'XYZ' ends in none of USDT"):
        split_symbol("XYZ")

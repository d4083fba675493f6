"""How records look when they are printed, and how a request with a wrong name is answered."""

import pytest

from raven.client import Trade
from raven.client.request import parse_types
from raven.errors import ConfigurationError
from raven.records import Flags


def trade(flags: int = 0) -> Trade:
    return Trade(
        venue="v", symbol="BTCUSDT", exchange_ns=1, recv_ns=2, sequence=3, flags=flags,
        price=61000.5, quantity=0.25, side="sell", trade_id="17",
    )  # fmt: skip


def test_a_printed_trade_is_short_and_its_repr_is_whole() -> None:
    assert str(trade()) == "Trade(BTCUSDT sell 0.25 @ 61000.5, id 17)"
    assert str(trade(Flags.SNAPSHOT)) == "Trade(BTCUSDT sell 0.25 @ 61000.5, id 17, SNAPSHOT)"
    assert "recv_ns=2" in repr(trade())


@pytest.mark.parametrize(
    ("name", "hint"),
    [("weather", "no data type; known: orderbook"), ("quots", "did you mean 'quotes'? Known: orderbook")],
)
def test_a_name_that_is_no_data_type_is_answered_with_those_that_are(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match="is no data type; ") as refused:
        parse_types(name)

    assert hint in str(refused.value)

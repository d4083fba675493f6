import pytest

from raven.errors import DataValidation
from raven.topics import DataType, Topic


def test_the_numbers_are_those_of_the_wire() -> None:
    assert {kind.name: kind.value for kind in DataType} == {
        "ORDERBOOK": 0, "TRADES": 1, "CANDLES_1M": 2, "CANDLES_5M": 3, "CANDLES_1H": 4, "FUNDING_RATES": 5,
        "WALLET_UPDATES": 6, "QUOTES": 100, "LIQUIDATIONS": 101, "TIME_BARS": 110, "TICK_BARS": 111,
        "VOLUME_BARS": 112, "QUOTE_VOLUME_BARS": 113, "TICK_IMBALANCE_BARS": 114, "VOLUME_IMBALANCE_BARS": 115,
        "TICK_RUN_BARS": 116, "VOLUME_RUN_BARS": 117, "VPIN_BARS": 118,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["orderbook", "ORDERBOOK", " OrderBook ", "0"])
def test_a_data_type_is_known_by_name_in_any_case_and_by_number(text: str) -> None:
    assert DataType.parse(text) is DataType.ORDERBOOK


@pytest.mark.parametrize("text", ["", "books", "7", "-1"])
def test_an_unknown_data_type_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(DataValidation, match="expected one of orderbook, trades"):
        DataType.parse(text)


def test_a_typing_error_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(DataValidation, match=r"unknown data type 'trade'; did you mean trades\?"):
        DataType.parse("trade")


def test_a_topic_reads_back_from_its_name() -> None:
    topic = Topic("binance_futures", "BTCUSDT", DataType.TRADES)

    assert topic.name == "binance_futures.BTCUSDT.TRADES"
    assert Topic.parse(topic.name) == topic


@pytest.mark.parametrize("name", ["", "a.b", "a.b.c.d", ".BTCUSDT.TRADES"])
def test_a_name_without_three_parts_is_no_topic(name: str) -> None:
    with pytest.raises(DataValidation, match=r"venue\.SYMBOL\.DATA_TYPE"):
        Topic.parse(name)

"""One name for an instrument, and the symbol that each venue has for it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from raven.errors import DataValidation
from raven.instruments import Instrument, Listing, Selection, is_pattern, parse_override, plain, spellings, split_factor


def instrument(symbol: str, name: str, *, factor: int = 1, is_trading: bool = True) -> Instrument:
    base, _, rest = name.partition("/")
    quote, _, expiry = rest.partition("-")
    return Instrument(symbol, 2, 3, base=base, quote=quote, factor=factor, expiry=expiry, is_trading=is_trading)


SPOT = [instrument("BTCUSDT", "BTC/USDT"), instrument("PEPEUSDT", "PEPE/USDT"), instrument("ETHBTC", "ETH/BTC")]
FUTURES = [
    instrument("BTCUSDT", "BTC/USDT"),
    instrument("BTCUSDT_261225", "BTC/USDT-261225"),
    instrument("1000PEPEUSDT", "PEPE/USDT", factor=1000),
    instrument("LUNAUSDT", "LUNA/USDT", is_trading=False),
]
COINS = [instrument("BTCUSD_PERP", "BTC/USD"), instrument("BTCUSD_261225", "BTC/USD-261225")]


def listing(instruments: list[Instrument], *, selection: Selection | None = None, **overrides: str) -> Listing:
    chosen = {name.replace("__", "/"): symbol for name, symbol in overrides.items()}
    return Listing("venue", {one.symbol: one for one in instruments}, chosen, selection)


@pytest.mark.parametrize("text", ["BTCUSDT", "btcusdt", "BTC/USDT", "btc/usdt", "BTC-USDT", "btc-usdt"])
@pytest.mark.parametrize("instruments", [SPOT, FUTURES])
def test_every_spelling_finds_the_symbol(instruments: list[Instrument], text: str) -> None:
    assert listing(instruments).resolve(text).symbol == "BTCUSDT"


@pytest.mark.parametrize("text", ["PEPE/USDT", "pepe-usdt", "PEPEUSDT", "1000PEPEUSDT", "1000PEPE/USDT"])
def test_a_contract_on_a_thousand_is_found_by_the_name_of_the_coin_and_says_its_factor(text: str) -> None:
    found = listing(FUTURES).resolve(text)

    assert (found.symbol, found.name, found.factor) == ("1000PEPEUSDT", "PEPE/USDT", 1000)


def test_the_same_name_is_another_symbol_on_another_venue() -> None:
    assert [listing(one).resolve("PEPE/USDT").symbol for one in (SPOT, FUTURES)] == ["PEPEUSDT", "1000PEPEUSDT"]


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTC/USD", "BTCUSD_PERP"),
        ("BTCUSD", "BTCUSD_PERP"),
        ("BTC/USD-261225", "BTCUSD_261225"),
        ("BTCUSD_261225", "BTCUSD_261225"),
    ],
)
def test_a_name_without_a_day_is_what_never_ends(text: str, symbol: str) -> None:
    assert listing(COINS).resolve(text).symbol == symbol


def test_a_unit_of_one_is_preferred_to_a_unit_of_a_thousand() -> None:
    both = [instrument("1000CATUSDT", "CAT/USDT", factor=1000), instrument("CATUSDT", "CAT/USDT")]

    assert listing(both).resolve("CAT/USDT").symbol == "CATUSDT"
    assert listing(both[::-1]).resolve("1000CATUSDT").factor == 1000


def test_what_trades_is_preferred_to_what_does_not() -> None:
    both = [instrument("OLDX", "X/USD", is_trading=False), instrument("NEWX", "X/USD")]

    assert listing(both).resolve("X/USD").symbol == "NEWX"
    assert listing(both[::-1]).resolve("X/USD").symbol == "NEWX"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BTCUSDX", "did you mean BTCUSDT"),
        ("BTC/USDX", "did you mean BTCUSDT"),
        ("PEPE/USDC", "did you mean 1000PEPEUSDT"),
        ("ZZZZZZ", "`ravenctl symbols` lists what it has"),
    ],
)
def test_an_unknown_name_gets_the_nearest(text: str, expected: str) -> None:
    with pytest.raises(DataValidation, match=f"venue has no symbol '{text}'; {expected}"):
        listing(FUTURES).resolve(text)


def test_an_override_wins_over_everything() -> None:
    own = listing([*FUTURES, instrument("SHIB1000USDT", "SHIB1000/USDT")], SHIB__USDT="SHIB1000USDT*1000")

    found = own.resolve("shib/usdt")

    assert (found.symbol, found.name, found.factor) == ("SHIB1000USDT", "SHIB/USDT", 1000)
    assert own.resolve("SHIB1000USDT") == found
    assert listing(FUTURES, BTC__USDT="BTCUSDT_261225").resolve("BTCUSDT").symbol == "BTCUSDT_261225"


def test_an_override_with_a_symbol_that_does_not_exist_is_named() -> None:
    with pytest.raises(DataValidation, match="'NOSUCH', which 'A/B' is overridden with; correct the override"):
        listing(FUTURES, A__B="NOSUCH").resolve("A/B")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1000PEPEUSDT", ("1000PEPEUSDT", None)), ("shib1000usdt*1000", ("SHIB1000USDT", 1000))],
)
def test_an_override_may_say_the_factor(text: str, expected: tuple[str, int | None]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["", "A B", "A*", "A*0", "A*x", "A/B"])
def test_an_override_that_is_no_symbol_is_refused(text: str) -> None:
    with pytest.raises(DataValidation, match="is no symbol of a venue"):
        parse_override(text)


@pytest.mark.parametrize(
    ("include", "exclude", "allowed"),
    [
        ((), (), ["BTCUSDT", "BTCUSDT_261225", "1000PEPEUSDT", "LUNAUSDT"]),
        (("BTC*",), (), ["BTCUSDT", "BTCUSDT_261225"]),
        (("*/USDT",), (), ["BTCUSDT", "1000PEPEUSDT", "LUNAUSDT"]),
        ((), ("pepe/*",), ["BTCUSDT", "BTCUSDT_261225", "LUNAUSDT"]),
        (("BTC*",), ("*_261225",), ["BTCUSDT"]),
        (("BTCUSDT",), ("BTCUSDT",), []),
    ],
)
def test_only_what_is_included_and_not_excluded_may_be_collected(
    include: tuple[str, ...], exclude: tuple[str, ...], allowed: list[str]
) -> None:
    selection = Selection(include, exclude)

    assert [one.symbol for one in FUTURES if not selection.refusal(one)] == allowed


def test_what_is_excluded_is_refused_with_the_pattern() -> None:
    with pytest.raises(DataValidation, match=r"1000PEPEUSDT of venue is excluded by the pattern '\*PEPE\*'"):
        listing(FUTURES, selection=Selection(exclude=("*PEPE*",))).resolve("PEPE/USDT")


def test_a_pattern_stands_for_everything_that_trades_and_may_be_collected() -> None:
    own = listing(FUTURES, selection=Selection(exclude=("*_261225",)))

    assert [one.symbol for one in own.matching("*")] == ["1000PEPEUSDT", "BTCUSDT"]
    assert [one.symbol for one in own.matching("btc/*")] == ["BTCUSDT"]
    assert [is_pattern(text) for text in ("*", "BTC?", "[AB]*", "BTC/USDT")] == [True, True, True, False]


@pytest.mark.parametrize(
    ("text", "symbol"), [("BTC/USDT", "BTCUSDT"), ("newcoin", "NEWCOIN"), ("币安usdt", "币安USDT")]
)
def test_without_a_list_everything_is_believed_that_could_be_a_symbol(text: str, symbol: str) -> None:
    assert Listing("venue").resolve(text) == Instrument(symbol, 0, 0)


@pytest.mark.parametrize("text", ["A B", "A&limit=5", "A/../B", "", "x" * 65, "BTC%"])
def test_without_a_list_what_cannot_be_a_symbol_is_refused(text: str) -> None:
    with pytest.raises(DataValidation, match="cannot be a symbol of venue"):
        Listing("venue").resolve(text)


def test_without_a_list_a_pattern_on_names_holds_for_symbols() -> None:
    assert Selection(include=("*/USDT",)).refusal(Instrument("BTCUSDT", 0, 0)) == ""
    assert "is not included" in Selection(include=("*/USDT",)).refusal(Instrument("BTCUSDC", 0, 0))


def test_the_best_guess_for_an_unknown_name_is_its_letters() -> None:
    assert listing(FUTURES).known_as("new/coin") == "NEWCOIN"
    assert listing(FUTURES).known_as("pepe/usdt") == "1000PEPEUSDT"


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        ("1000PEPE", ("PEPE", 1000)),
        ("1000000MOG", ("MOG", 1_000_000)),
        ("1MBABYDOGE", ("BABYDOGE", 1_000_000)),
        ("BTC", ("BTC", 1)),
        ("1INCH", ("1INCH", 1)),
        ("100X", ("100X", 1)),
        ("1000", ("1000", 1)),
    ],
)
def test_only_a_power_of_ten_of_a_thousand_or_more_is_a_factor(asset: str, expected: tuple[str, int]) -> None:
    assert split_factor(asset) == expected


def test_without_a_list_a_name_is_every_symbol_it_could_be_and_a_symbol_only_itself() -> None:
    assert plain("btc/usdt") == plain("BTC-USDT") == "BTCUSDT"
    assert {"PEPEUSDT", "1000PEPEUSDT", "1000000PEPEUSDT", "1MPEPEUSDT"} <= set(spellings("pepe/usdt"))
    assert "BTCUSD_PERP" in spellings("BTC-USD")
    assert spellings("pepeusdt") == ("PEPEUSDT",)


def test_steps_are_exact_decimals() -> None:
    one = Instrument("A", 7, 0, tick_size=Decimal("0.0000001"), step_size=Decimal(1))

    assert str(one.tick_size) == "1E-7"
    assert f"{one.tick_size:f}" == "0.0000001"

"""What is traded: names, ticks, lots, starting prices, and how numbers are written on each market.

Inside the exchange a price is a count of ticks and a quantity a count of lots, so that every sum is exact; the text
of a number is made in one place, `Instrument.price_text` and `Instrument.quantity_text`.
"""

import random
from dataclasses import dataclass, field

from raven.exchange.markets import Market

# Texts of recent prices are kept; beyond this many they are forgotten at once (a long drift must not fill memory).
_TEXT_CACHE_LIMIT = 50_000


def decimal_text(units: int, decimals: int) -> str:
    """Write a count of 10^-decimals units without losing or adding a digit: `(150, 2)` is `1.50`."""
    if decimals == 0:
        return str(units)
    scale: int = 10**decimals
    sign = "-" if units < 0 else ""
    whole, fraction = divmod(abs(units), scale)
    return f"{sign}{whole}.{fraction:0{decimals}d}"


@dataclass(slots=True, eq=False)
class Instrument:
    """One symbol of one market."""

    market: Market
    symbol: str
    base: str
    quote: str
    price_decimals: int
    """Digits after the point with which the market writes prices."""
    tick_units: int
    """Price step in units of the last written digit."""
    quantity_decimals: int
    lot_units: int
    start_ticks: int
    """Price at which a generated market opens."""
    order_lots: int
    """Size of a usual order."""
    contract_size: int = 1
    """Quote value of a contract (COIN-M), 1 elsewhere."""
    _price_texts: dict[int, str] = field(default_factory=dict)
    _quantity_texts: dict[int, str] = field(default_factory=dict)

    @property
    def pair(self) -> str:
        """The pair of a contract: `BTCUSD` for `BTCUSD_PERP`."""
        return self.symbol.split("_")[0]

    @property
    def lower(self) -> str:
        """The symbol as stream names spell it."""
        return self.symbol.lower()

    def price_text(self, ticks: int) -> str:
        """Write a price as this market does."""
        text = self._price_texts.get(ticks)
        if text is None:
            if len(self._price_texts) >= _TEXT_CACHE_LIMIT:
                self._price_texts.clear()
            text = self._price_texts[ticks] = decimal_text(ticks * self.tick_units, self.price_decimals)
        return text

    def quantity_text(self, lots: int) -> str:
        """Write a quantity as this market does."""
        text = self._quantity_texts.get(lots)
        if text is None:
            if len(self._quantity_texts) >= _TEXT_CACHE_LIMIT:
                self._quantity_texts.clear()
            text = self._quantity_texts[lots] = decimal_text(lots * self.lot_units, self.quantity_decimals)
        return text

    def tick_text(self) -> str:
        """Write the price step."""
        return decimal_text(self.tick_units, self.price_decimals)

    def lot_text(self) -> str:
        """Write the quantity step."""
        return decimal_text(self.lot_units, self.quantity_decimals)


# base: (price, USD-M tick, USD-M lot, spot tick, spot lot, usual order in quote currency).
_KNOWN: dict[str, tuple[str, str, str, str, str, int]] = {
    "BTC": ("61800.2", "0.10", "0.001", "0.01", "0.00001", 9000),
    "ETH": ("2683.80", "0.01", "0.001", "0.01", "0.0001", 6000),
    "SOL": ("155.120", "0.0100", "1", "0.01", "0.001", 4000),
    "BNB": ("515.30", "0.010", "0.01", "0.10", "0.001", 3000),
    "XRP": ("0.6012", "0.0001", "0.1", "0.0001", "1", 2500),
    "DOGE": ("0.10540", "0.000010", "1", "0.00001", "1", 2000),
    "ADA": ("0.34520", "0.00010", "1", "0.0001", "0.1", 1500),
    "AVAX": ("21.450", "0.0010", "1", "0.01", "0.01", 1500),
    "LINK": ("10.320", "0.001", "0.01", "0.01", "0.01", 1500),
    "TRX": ("0.12830", "0.00001", "1", "0.0001", "0.1", 1500),
    "LTC": ("61.50", "0.01", "0.001", "0.01", "0.001", 1500),
    "DOT": ("4.612", "0.001", "0.1", "0.001", "0.01", 1200),
    "SUSHI": ("0.5710", "0.0001", "1", "0.0001", "0.1", 800),
    "PEPE": ("0.0000078310", "0.0000001", "1", "0.00000001", "1", 2500),
    "1000PEPE": ("0.0078310", "0.0000001", "1", "0.0000001", "1", 2500),
}
# What futures are contracts on, where that is not the coin itself.
_CONTRACTS = {"PEPE": "1000PEPE"}
DEFAULT_SYMBOLS = tuple(f"{base}USDT" for base in _KNOWN if base not in _CONTRACTS.values())
"""The symbols that a market offers when only a number of symbols is asked for, before names are made up."""

_CONSONANTS = "BCDFGKLMNPRSTVXZ"
_VOWELS = "AEIOU"
_QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "EUR", "USD")


def symbol_names(count: int) -> tuple[str, ...]:
    """Return `count` symbols: the well-known ones first, then made-up ones, always the same for the same number."""
    names = list(DEFAULT_SYMBOLS[:count])
    index = 0
    while len(names) < count:
        letters = []
        rest = index
        for alphabet in (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS):
            rest, position = divmod(rest, len(alphabet))
            letters.append(alphabet[position])
        name = "".join(letters) + (str(rest) if rest else "") + "USDT"
        if name not in names[: len(DEFAULT_SYMBOLS)]:
            names.append(name)
        index += 1
    return tuple(names)


def split_symbol(symbol: str) -> tuple[str, str]:
    """Split a symbol into base and quote asset. Raises: ValueError when the quote asset is not one we know."""
    pair = symbol.split("_", maxsplit=1)[0]
    for quote in _QUOTES:
        if pair.endswith(quote) and len(pair) > len(quote):
            return pair[: -len(quote)], quote
    raise ValueError(f"symbol {symbol!r} ends in none of {', '.join(_QUOTES)}; name one like BTCUSDT or BTCUSD_PERP")


def _decimals(text: str) -> int:
    return len(text.split(".")[1]) if "." in text else 0


def _units(text: str, decimals: int) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(decimals, "0")[:decimals])


def make_instrument(market: Market, symbol: str) -> Instrument:
    """Describe a symbol for a market; on COIN-M `BTCUSDT` stands for `BTCUSD_PERP`, on USD-M `PEPEUSDT` for
    `1000PEPEUSDT` and on spot the other way round.

    Unknown names get made-up numbers, always the same. Raises: ValueError for an unknown quote asset.
    """
    base, quote = split_symbol(symbol)
    if market is Market.SPOT:
        base = next((coin for coin, contract in _CONTRACTS.items() if contract == base), base)
        symbol = f"{base}{quote}"
    elif market is Market.USDM and base in _CONTRACTS:
        base = _CONTRACTS[base]
        symbol = f"{base}{quote}"
    known = _KNOWN.get(base)
    if known is None:
        # A fixed stream of chance per name: the same symbol has the same price on every run and every machine.
        chance = random.Random(f"instrument:{base}")
        price_decimals = chance.choice((2, 3, 4, 5))
        price = decimal_text(chance.randint(2_000, 60_000), price_decimals)
        tick = decimal_text(1, price_decimals)
        lot = chance.choice(("1", "0.1", "0.01"))
        known = (price, tick, lot, tick, lot, 1000)
    price, usdm_tick, usdm_lot, spot_tick, spot_lot, notional = known
    if market is Market.SPOT:
        tick, lot, price_decimals, quantity_decimals = spot_tick, spot_lot, 8, 8
    elif market is Market.USDM:
        tick, lot = usdm_tick, usdm_lot
        price_decimals, quantity_decimals = max(_decimals(tick), 2 if base == "BTC" else 0), _decimals(lot)
    else:
        tick, lot = usdm_tick.rstrip("0") or "1", "1"
        tick = tick + "0" if tick.endswith(".") else tick
        price_decimals, quantity_decimals = _decimals(tick), 0
        symbol = symbol if "_" in symbol else f"{base}USD_PERP"
        quote = "USD"
    tick_units = _units(tick, price_decimals)
    lot_units = _units(lot, quantity_decimals)
    start_ticks = max(_units(price, price_decimals) // tick_units, 100)
    contract_size = 1
    if market is Market.COINM:
        contract_size = 100 if base == "BTC" else 10
        order_lots = max(1, notional // contract_size)
    else:
        price_value = start_ticks * tick_units / 10**price_decimals
        order_lots = max(2, round(notional / price_value * 10**quantity_decimals / lot_units / 10))
    return Instrument(
        market=market,
        symbol=symbol,
        base=base,
        quote=quote,
        price_decimals=price_decimals,
        tick_units=tick_units,
        quantity_decimals=quantity_decimals,
        lot_units=lot_units,
        start_ticks=start_ticks,
        order_lots=order_lots,
        contract_size=contract_size,
    )

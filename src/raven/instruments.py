"""What is traded, and what it is called: one name for an instrument, and the symbol that each venue has for it.

    BTC/USDT         on spot BTCUSDT       on futures BTCUSDT
    PEPE/USDT        on spot PEPEUSDT      on futures 1000PEPEUSDT, a contract on 1000 of them
    BTC/USD-261225   on futures settled in coins BTCUSD_261225, which is delivered on that day

Names are for asking. Records, topics and files have the venue's own symbol and the venue's own prices: one of
`1000PEPEUSDT` costs what 1000 PEPE cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase

from raven.errors import DataValidation

__all__ = [
    "Instrument",
    "Listing",
    "Selection",
    "is_pattern",
    "is_symbol",
    "parse_override",
    "plain",
    "spellings",
    "split_factor",
]

# Venues put a power of ten before cheap coins: 1000PEPE, 1000000MOG, 1MBABYDOGE. Fewer noughts are a coin's own name.
_FACTOR = re.compile(r"(1000+|1M)(?=[^\W\d_])")
# What may be asked of a venue whose list is not known: letters and digits of any script, and what joins them.
_PLAUSIBLE_SYMBOL = re.compile(r"[\w.:-]{1,64}")
_OVERRIDE = re.compile(r"([\w.:-]{1,64})(?:\*([1-9]\d{0,11}))?")
_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a venue says about a symbol."""

    symbol: str
    price_scale: int
    """Decimals of its tick size."""
    quantity_scale: int
    """Decimals of its lot size."""
    base: str = ""
    """The asset that is traded, without the factor: `PEPE` of `1000PEPEUSDT`. Empty when the venue names none."""
    quote: str = ""
    """The asset that prices are in."""
    factor: int = 1
    """How many of `base` one unit is: 1000 for `1000PEPEUSDT`."""
    expiry: str = ""
    """Day of delivery as `YYMMDD`; empty for what never ends."""
    is_trading: bool = True
    """Whether the venue takes orders for it now."""
    tick_size: Decimal | None = None
    """Step of prices, in `quote`; None when the venue states none."""
    step_size: Decimal | None = None
    """Step of quantities, in units; None as above."""
    min_notional: Decimal | None = None
    """Least value of an order, in `quote`; None as above."""

    @property
    def name(self) -> str:
        """Its name on every venue: `PEPE/USDT`, or `BTC/USD-261225` with a day of delivery."""
        if not (self.base and self.quote):
            return self.symbol
        return f"{self.base}/{self.quote}{'-' if self.expiry else ''}{self.expiry}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which instruments of a venue may be collected: patterns with `*`, `?` and `[…]` on symbols or names."""

    include: tuple[str, ...] = ()
    """Only these; empty for all."""
    exclude: tuple[str, ...] = ()
    """But not these, whatever `include` says."""

    def refusal(self, instrument: Instrument) -> str:
        """Say why an instrument may not be collected; empty when it may."""
        if hit := next((pattern for pattern in self.exclude if _matches(instrument, pattern)), None):
            return f"is excluded by the pattern {hit!r}"
        if self.include and not any(_matches(instrument, pattern) for pattern in self.include):
            return f"is not included; included are {', '.join(self.include)}"
        return ""


class Listing(Mapping[str, Instrument]):
    """The instruments of one venue, by its symbols; finds them by any name. Never changes: another list, another one.

    Without instruments (the venue could not be asked) everything is believed that could be a symbol.
    """

    def __init__(
        self,
        venue: str,
        instruments: Mapping[str, Instrument] | None = None,
        overrides: Mapping[str, str] | None = None,
        selection: Selection | None = None,
    ) -> None:
        self.venue = venue
        self._selection = selection or Selection()
        self._overrides: dict[str, str] = {}
        self._instruments = dict(instruments or {})
        for name, value in (overrides or {}).items():
            symbol, factor = parse_override(value)
            self._overrides[plain(name)] = symbol
            if symbol in self._instruments:
                self._instruments[symbol] = _renamed(self._instruments[symbol], name, factor)
        self._symbols = _index(self._instruments.values())

    def __getitem__(self, symbol: str) -> Instrument:
        return self._instruments[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._instruments)

    def __len__(self) -> int:
        return len(self._instruments)

    def known_as(self, text: str) -> str:
        """Return the venue's symbol for a name; a name that is not known comes back as a symbol it could be."""
        symbol, key = text.upper(), plain(text)
        if key in self._overrides:
            return self._overrides[key]
        return symbol if symbol in self._instruments else self._symbols.get(key, key)

    def resolve(self, text: str) -> Instrument:
        """Return the instrument of a symbol or name: `BTCUSDT`, `BTC/USDT`, `btc-usdt`.

        Overrides come first, then the venue's symbols, then names; a symbol that another venue has for the same
        instrument is a name, too (`PEPEUSDT` finds `1000PEPEUSDT`).
        Raises: DataValidation naming the nearest, or the pattern that excludes it.
        """
        symbol = self.known_as(text)
        instrument = self._instruments.get(symbol)
        if instrument is None:
            if self._instruments or not _PLAUSIBLE_SYMBOL.fullmatch(symbol) or text.count("/") > 1:
                raise DataValidation(self._unknown(text, symbol))
            instrument = Instrument(symbol, 0, 0)
        if refusal := self._selection.refusal(instrument):
            raise DataValidation(f"{instrument.symbol} of {self.venue} {refusal}")
        return instrument

    def matching(self, pattern: str) -> list[Instrument]:
        """Return what may be collected and is trading, of which symbol or name match a pattern, by symbol."""
        found = (one for one in self._instruments.values() if one.is_trading and _matches(one, pattern))
        return sorted((one for one in found if not self._selection.refusal(one)), key=lambda one: one.symbol)

    def _unknown(self, text: str, symbol: str) -> str:
        if not self._instruments:
            return f"{text[:80]!r} cannot be a symbol of {self.venue}; expected e.g. BTCUSDT or BTC/USDT"
        if symbol in self._overrides.values():
            return f"{self.venue} has no symbol {symbol!r}, which {text!r} is overridden with; correct the override"
        near = [self._symbols.get(key, key) for key in get_close_matches(symbol, self._known(), n=_NEAREST)]
        names = ", ".join(dict.fromkeys(near))
        hint = f"did you mean {names}?" if near else "`ravenctl symbols` lists what it has"
        return f"{self.venue} has no symbol {text[:80]!r}; {hint}"

    def _known(self) -> list[str]:
        return [*self._instruments, *(key for key in self._symbols if key not in self._instruments)]


def plain(text: str) -> str:
    """Return a name without what joins its parts, upper case: `BTCUSDT` of `btc/usdt` and `BTC-USDT`."""
    return text.upper().replace("/", "").replace("-", "")


def is_symbol(text: str) -> bool:
    """Say whether a text is a symbol and no name: nothing joins parts of it."""
    return plain(text) == text.upper()


def spellings(text: str) -> tuple[str, ...]:
    """Return the symbols that venues may have for a name, for those who have no list: whoever looks into the past.

    A symbol stands for itself alone: `PEPEUSDT` is not what `1000PEPEUSDT` is, while `PEPE/USDT` may be either.
    """
    symbol, joined = text.upper(), plain(text)
    if is_symbol(text):
        return (symbol,)
    factors = ("", *(f"1{'0' * noughts}" for noughts in range(3, 7)), "1M")
    return (*(factor + joined for factor in factors), f"{joined}_PERP", symbol)


def split_factor(asset: str) -> tuple[str, int]:
    """Split the power of ten off an asset or symbol: `("PEPE", 1000)` of `1000PEPE`."""
    found = _FACTOR.match(asset)
    if found is None:
        return asset, 1
    return asset[found.end() :], 1_000_000 if found[1] == "1M" else int(found[1])


def is_pattern(text: str) -> bool:
    """Say whether a text stands for many symbols."""
    return any(character in text for character in "*?[")


def parse_override(text: str) -> tuple[str, int | None]:
    """Read `SYMBOL` or `SYMBOL*FACTOR`; the factor is None when it is left to the symbol.

    Raises: DataValidation for anything else.
    """
    found = _OVERRIDE.fullmatch(text.strip().upper())
    if found is None:
        raise DataValidation(f"{text!r} is no symbol of a venue; expected e.g. 1000PEPEUSDT, or SHIB1000USDT*1000")
    return found[1], int(found[2]) if found[2] else None


def _matches(instrument: Instrument, pattern: str) -> bool:
    wanted = pattern.upper()
    if not instrument.base:
        # Without a word of the venue a name is its symbol with a stroke in it.
        wanted = wanted.replace("/", "")
    return fnmatchcase(instrument.symbol.upper(), wanted) or fnmatchcase(instrument.name.upper(), wanted)


def _renamed(instrument: Instrument, name: str, factor: int | None) -> Instrument:
    """Return an instrument under the name that an override gives it."""
    parts = re.split(r"[/-]", name.upper())
    base, quote = (parts[0], parts[1]) if len(parts) > 1 else (instrument.base, instrument.quote)
    return replace(instrument, base=base, quote=quote, factor=factor or instrument.factor)


def _index(instruments: Iterable[Instrument]) -> dict[str, str]:
    """Return the symbol of every plain name. Of several with one name the smallest factor wins, then who is trading."""
    best: dict[str, Instrument] = {}
    for one in instruments:
        known = best.get(key := plain(one.name))
        if known is None or (one.factor, not one.is_trading) < (known.factor, not known.is_trading):
            best[key] = one
    return {key: one.symbol for key, one in best.items()}

"""The records that travel on rings, as Python sees them: kinds, quality flags, gap reasons and body layouts.

The numbers are those of `crates/raven-core/src/record.rs`; `tests/unit/test_records.py` reads that file and compares.
Prices and quantities are integers with a scale: `value = mantissa / 10**scale`.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum, IntFlag

__all__ = [
    "BAR_PARAMETERS",
    "FUNDING_SCALE",
    "BarQuality",
    "BarWord",
    "CandleWord",
    "Flags",
    "FundingWord",
    "GapReason",
    "GapWord",
    "Kind",
    "decimal",
    "decimal_text",
]


class Kind(IntEnum):
    """What a record says (`Record.kind`)."""

    BOOK = 1
    """The best levels of both sides."""
    TRADE = 2
    """One fill, or one aggregate of fills. Body: price, quantity, taker_sells, first_fill_id, last_fill_id."""
    QUOTE = 3
    """Best bid and ask. Body: bid_price, bid_quantity, ask_price, ask_quantity."""
    CANDLE = 4
    """A candle of the venue. Body: see `CandleWord`."""
    FUNDING = 5
    """Mark price and funding. Body: see `FundingWord`."""
    LIQUIDATION = 6
    """A forced order. Body: price, average_price, quantity, is_sell."""
    GAP = 7
    """A hole in a topic. Body: see `GapWord`."""
    BAR = 8
    """A bar made of trades by Raven. Body: see `BarWord`."""


class Flags(IntFlag):
    """Quality of a record (`Record.flags`), the same bits as `MarketDataMessage.flags`."""

    SNAPSHOT = 1
    """The state itself, not a change of it: first after a subscription or a resync."""
    STALE = 2
    """Older than it should be; not to be trusted."""
    AFTER_GAP = 4
    """Events are missing before this one."""
    BACKFILLED = 8
    """Delivered later than it happened."""
    RESYNCING = 16
    """A new snapshot is on its way."""
    SKIPPED = 32
    """States were skipped on purpose (conflation)."""


class GapReason(IntEnum):
    """Why a topic has a hole; the lower-case names are those of `GapMark.reason`."""

    SLOW_READER = 1
    """The reader was slower than the ring."""
    VENUE_GAP = 2
    """The venue's own ids jumped."""
    RECONNECT = 3
    """The connection was lost."""
    REJECTED = 4
    """Validation refused what was received."""
    JOURNAL = 5
    """The journal could not keep it."""
    UPSTREAM = 6
    """A hop between roles lost it."""


class CandleWord(IntEnum):
    """Positions in the body of a candle; prices and volumes in the instrument's scales."""

    OPEN_TIME_MS = 0
    OPEN = 1
    HIGH = 2
    LOW = 3
    CLOSE = 4
    VOLUME = 5
    INTERVAL_S = 6
    TICKS = 7
    BUY_VOLUME = 8
    CLOSED = 9


FUNDING_SCALE = 8
"""Decimals of every value in the body of a funding record, whatever the instrument's scale is."""


class FundingWord(IntEnum):
    """Positions in the body of a funding record; every value has 8 decimals."""

    MARK_PRICE = 0
    INDEX_PRICE = 1
    RATE = 2
    NEXT_FUNDING_MS = 3
    SETTLE_PRICE = 4


class GapWord(IntEnum):
    """Positions in the body of a gap."""

    DATA_TYPE = 0
    COUNT = 1
    FIRST_ID = 2
    LAST_ID = 3
    REASON = 4
    REPAIRED = 5


BAR_PARAMETERS = 8
"""Words for parameters in the body of a bar, behind `BarWord.PARAMETERS`."""


class BarWord(IntEnum):
    """Positions in the body of a bar; prices and volumes in the instrument's scales, doubles as their bits."""

    OPEN_TIME_MS = 0
    CLOSE_TIME_MS = 1
    OPEN = 2
    HIGH = 3
    LOW = 4
    CLOSE = 5
    VOLUME = 6
    BUY_VOLUME = 7
    QUOTE_VOLUME = 8
    """Two words: the low one and the high one of a signed 128-bit integer, in both scales together."""
    BUY_TICKS = 10
    SELL_TICKS = 11
    THETA = 12
    """A double."""
    THRESHOLD = 13
    """A double."""
    FIRST_TRADE_ID = 14
    LAST_TRADE_ID = 15
    GAP_COUNT = 16
    QUALITY = 17
    """See `BarQuality`; from bit 8 on stands how many bars its first trade was in before it, from bit 32 on how often
    it was corrected."""
    RULE = 18
    """The code of the kind, and options above it."""
    PARAMETERS = 19
    """The first of `BAR_PARAMETERS` doubles."""


class BarQuality(IntFlag):
    """Bits of `BarWord.QUALITY`."""

    COMPLETE = 1
    """It began and ended by its rule, and no trade is missing."""
    WARMING_UP = 2
    """The rule's averages still carry more of what was configured than of what was seen."""


def decimal(mantissa: int, scale: int) -> Decimal:
    """Return the exact value `mantissa / 10**scale`."""
    return Decimal(mantissa).scaleb(-scale)


def decimal_text(mantissa: int, scale: int) -> str:
    """Return the exact value as plain text with `scale` decimals, e.g. `decimal_text(6100050, 2) == "61000.50"`."""
    if scale == 0:
        return str(mantissa)
    sign = "-" if mantissa < 0 else ""
    digits = str(abs(mantissa)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"

"""What can be subscribed to: the wire's `DataType` numbers, and how each kind may be thinned out for a slow reader."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from raven.fanout.refusal import Refused, Status


class DataType(IntEnum):
    """`raven.DataType` of the wire contract."""

    ORDERBOOK = 0
    TRADES = 1
    CANDLES_1M = 2
    CANDLES_5M = 3
    CANDLES_1H = 4
    FUNDING_RATES = 5
    WALLET_UPDATES = 6
    QUOTES = 100
    LIQUIDATIONS = 101

    @property
    def is_state(self) -> bool:
        """Whether a newer message makes the older one obsolete, so that skipping to the newest loses nothing lasting."""
        return self in (DataType.ORDERBOOK, DataType.QUOTES)

    @property
    def shows_latest(self) -> bool:
        """Whether a new subscriber first gets the newest message there is: it is still true, unlike a trade, which is past."""
        return self is not DataType.TRADES and self is not DataType.LIQUIDATIONS

    @property
    def topic_name(self) -> str:
        """The last part of a topic's name, as in `binance_futures.BTCUSDT.trades`."""
        return self.name.lower()


# Asked for by name, so they get an answer by name: what is missing, not "unknown value 6".
NOT_SERVED = {
    DataType.WALLET_UPDATES: "WALLET_UPDATES needs an account's private stream, and this server collects public market data only",
    DataType.LIQUIDATIONS: "LIQUIDATIONS has no message in MarketDataService; no release serves it on this service yet",
}
SERVED = tuple(kind for kind in DataType if kind not in NOT_SERVED)


def parse_data_types(numbers: Iterable[int]) -> tuple[DataType, ...]:
    """Return the kinds asked for, each once, in the order asked.

    Raises: Refused INVALID_ARGUMENT for an empty list or a number that is not in the contract, UNIMPLEMENTED for a kind that
    this server does not serve.
    """
    served = ", ".join(f"{kind.name} ({kind.value})" for kind in SERVED)
    kinds: dict[DataType, None] = {}
    for number in numbers:
        try:
            kind = DataType(number)
        except ValueError:
            raise Refused(
                Status.INVALID_ARGUMENT, f"data_types has {number}, which names nothing; served: {served}"
            ) from None
        if kind in NOT_SERVED:
            raise Refused(Status.UNIMPLEMENTED, f"{NOT_SERVED[kind]}; served: {served}")
        kinds[kind] = None
    if not kinds:
        raise Refused(Status.INVALID_ARGUMENT, f"data_types is empty; name at least one of {served}")
    return tuple(kinds)

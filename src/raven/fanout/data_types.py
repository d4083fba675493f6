"""Which data types this server hands out, and how each kind may be thinned out for a slow reader."""

from __future__ import annotations

from collections.abc import Iterable

from raven.fanout.refusal import Refused, Status
from raven.topics import DataType

# A newer message makes the older one obsolete, so that skipping to the newest loses nothing lasting.
STATES = frozenset({DataType.ORDERBOOK, DataType.QUOTES})

# Past once it has happened: a new subscriber starts with the next one, not with the newest there is.
EVENTS = frozenset({DataType.TRADES, DataType.LIQUIDATIONS})

# Asked for by name, so they get an answer by name: what is missing, not "unknown value 6".
NOT_SERVED = {
    DataType.WALLET_UPDATES: "WALLET_UPDATES needs an account's private stream; this server collects public data only",
    DataType.LIQUIDATIONS: "LIQUIDATIONS has no message in MarketDataService, so it cannot be streamed here yet",
}
SERVED = tuple(kind for kind in DataType if kind not in NOT_SERVED)


def parse_data_types(numbers: Iterable[int]) -> tuple[DataType, ...]:
    """Return the kinds asked for, each once, in the order asked.

    Raises: Refused INVALID_ARGUMENT for an empty list or a number that is not in the contract, UNIMPLEMENTED for a kind
    that this server does not serve.
    """
    served = ", ".join(f"{kind.name} ({kind.value})" for kind in SERVED)
    kinds: dict[DataType, None] = {}
    for number in numbers:
        try:
            kind = DataType(number)
        except ValueError:
            message = f"data_types has {number}, which names nothing; served: {served}"
            raise Refused(Status.INVALID_ARGUMENT, message) from None
        if kind in NOT_SERVED:
            raise Refused(Status.UNIMPLEMENTED, f"{NOT_SERVED[kind]}; served: {served}")
        kinds[kind] = None
    if not kinds:
        raise Refused(Status.INVALID_ARGUMENT, f"data_types is empty; name at least one of {served}")
    return tuple(kinds)

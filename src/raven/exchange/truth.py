"""What a client should have: the exchange's own book in exact decimals, to compare with."""

from dataclasses import dataclass
from decimal import Decimal


def plain(value: Decimal) -> str:
    """Write a number without exponent and without trailing zeros: `61800.20` is `61800.2`."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class TrueBook:
    """A whole book at one update id."""

    symbol: str
    update_id: int
    bids: tuple[tuple[Decimal, Decimal], ...]
    """`(price, quantity)`, best first."""
    asks: tuple[tuple[Decimal, Decimal], ...]

    def canonical(self, depth: int = 0) -> bytes:
        """Return the canonical text `price:qty,…|price:qty,…`, prices ascending on both sides; depth 0: all levels."""
        bids = self.bids[:depth] if depth else self.bids
        asks = self.asks[:depth] if depth else self.asks
        sides = (reversed(bids), iter(asks))
        return "|".join(",".join(f"{plain(p)}:{plain(q)}" for p, q in side) for side in sides).encode()

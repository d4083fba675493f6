"""REST weights: what a request costs, who has spent what, and who has to wait or is banned."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from raven.exchange.markets import Market, MarketRules
from raven.exchange.timeline import SECOND, Timeline

_MINUTE = 60 * SECOND


def request_weight(market: Market, rules: MarketRules, endpoint: str, params: Mapping[str, str]) -> int:
    """Return what a request costs, by the venue's tables. `endpoint` is the path after the prefix."""
    one_symbol = "symbol" in params
    if endpoint == "depth":
        limit = _number(params.get("limit"), rules.default_depth_limit)
        return next((weight for upto, weight in rules.depth_weights if limit <= upto), rules.depth_weights[-1][1])
    if endpoint == "klines":
        if market is Market.SPOT:
            return 2
        limit = _number(params.get("limit"), 500)
        return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
    if endpoint in ("ticker/bookTicker", "ticker/price"):
        if market is Market.SPOT:
            return 2 if one_symbol else 4
        single = 2 if endpoint == "ticker/bookTicker" else 1
        return single if one_symbol else (5 if single == 2 else 2)
    if endpoint == "premiumIndex":
        return 1 if one_symbol or market is Market.COINM else 10
    return {
        "exchangeInfo": rules.exchange_info_weight,
        "aggTrades": rules.agg_trades_weight,
        "trades": rules.trades_weight,
        "historicalTrades": rules.historical_trades_weight,
    }.get(endpoint, 1)


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default


@dataclass(slots=True)
class _Spender:
    minute: int = -1
    used: int = 0
    ignored: int = 0
    """Requests sent in spite of 429 within this minute."""
    bans: int = 0
    banned_until_ns: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may be answered."""

    used: int
    """Weight used in this minute, this request included."""
    status: int = 200
    """200, 429 or 418."""
    retry_after_s: int = 0
    until_ms: int = 0


@dataclass(slots=True)
class WeightMeter:
    """Counts weight per address and minute. One meter is shared by USD-M and COIN-M, as on the venue."""

    timeline: Timeline
    limit: int
    ban_after: int
    ban_seconds: int
    enforce: bool
    _spenders: dict[str, _Spender] = field(default_factory=dict)

    def spend(self, address: str, weight: int) -> Verdict:
        """Count a request and judge it."""
        now = self.timeline.wall_ns()
        spender = self._spenders.setdefault(address, _Spender())
        if self.enforce and now < spender.banned_until_ns:
            left = (spender.banned_until_ns - now + SECOND - 1) // SECOND
            return Verdict(spender.used, 418, left, spender.banned_until_ns // 1_000_000)
        minute = now // _MINUTE
        if minute != spender.minute:
            spender.minute, spender.used, spender.ignored = minute, 0, 0
        spender.used += weight
        if not self.enforce or spender.used <= self.limit:
            return Verdict(spender.used)
        spender.ignored += 1
        if spender.ignored > self.ban_after:
            # Every further ban is twice as long, up to the venue's three days.
            seconds = min(self.ban_seconds * 2**spender.bans, 3 * 24 * 3600)
            spender.bans += 1
            spender.banned_until_ns = now + seconds * SECOND
            return Verdict(spender.used, 418, seconds, spender.banned_until_ns // 1_000_000)
        end = (minute + 1) * _MINUTE
        return Verdict(spender.used, 429, max(1, (end - now + SECOND - 1) // SECOND), end // 1_000_000)

    def used(self, address: str = "127.0.0.1") -> int:
        """Return the weight an address has used in the current minute."""
        spender = self._spenders.get(address)
        return spender.used if spender and spender.minute == self.timeline.wall_ns() // _MINUTE else 0

"""What an exchange should be like: markets, symbols, rate, seed, replay, limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext

from raven.exchange.instruments import make_instrument, symbol_names
from raven.exchange.markets import RULES, Market, MarketRules
from raven.exchange.wire.frames import Layout


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """Play a recording instead of generating a market. See docs/how-to/built-in-exchange.md, "Replay"."""

    files: Sequence[Path | str]
    """Recordings; several files are played one after the other, in this order."""
    speed: float = 1.0
    """1 as recorded, N times as fast, 0 as fast as the slowest client reads."""
    start: str = "quiet"
    """`quiet`: when a recorded stream is subscribed to and no subscription came for `quiet_ms`; `all`: when every
    recorded stream has a subscriber; `manual`: when `Exchange.start_replay` is called."""
    quiet_ms: int = 300
    snapshot_wait_s: float = 10.0
    """How long the replay stands at a depth answer's line until somebody asks for it; 0 never waits."""
    agg_trades_from_trades: bool = False
    """Serve `@aggTrade` subscriptions from recorded `@trade`, one aggregate for each fill, where none were recorded."""
    linger: bool = True
    """Keep connections open after the last line."""


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """Everything that can be chosen. The defaults give a USD-M market with two symbols on a free port.

    Raises: ValueError when a value makes no sense; the message names it.
    """

    markets: Sequence[str] = ("usdm",)
    symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT")
    """Symbols of every market; COIN-M trades `BTCUSD_PERP` for `BTCUSDT`."""
    symbol_count: int = 0
    """Offer so many symbols instead of the named ones."""
    rate: float = 500.0
    """Orders per second over all symbols of one market (each is a change of a book; what it leads to on the wire
    depends on what is subscribed)."""
    skewed_rates: bool = True
    """Give the first symbols more of the rate than the last; otherwise all the same."""
    seed: int = 7
    levels: int = 1200
    """Price levels on each side of every book."""
    fastest_depth_ms: int = 10
    """How often `@depth@0ms` speaks."""
    layout: str = Layout.CURRENT
    """`current`, or `2024` for frames without the keys that came later."""
    trade_history: int = 20_000
    """Trades and aggregate trades kept per symbol for REST."""
    host: str = "127.0.0.1"
    port: int = 0
    """First port: WebSocket of the first market; REST is on the next one, and so on. 0 takes free ports."""
    tls: SSLContext | None = None
    """Serve `wss` and `https` with this server-side context instead of plain sockets."""
    enforce_limits: bool = True
    """Whether message, stream, connection and weight limits are enforced; weights are counted in any case."""
    rules: Mapping[str, MarketRules] = field(default_factory=dict)
    """Replacements for the documented numbers, by market."""
    turn: int = 128
    """How many orders may arrive before sockets are written; 1 writes each at once, for those who measure latency."""
    max_backlog_bytes: int = 64 * 1024 * 1024
    """A connection that reads so slowly that more than this waits for it is cut off."""
    replay: ReplayConfig | None = None
    fault_script: Path | str | None = None
    """A JSON file of faults to inject; see docs/how-to/built-in-exchange.md, "Faults"."""
    fault_seed: int = 1
    chaos_per_minute: float = 0.0
    """Faults drawn from `fault_seed`, so many per minute on average; 0 for none."""

    def __post_init__(self) -> None:
        """Check what can be checked before anything is opened."""
        for name in self.markets:
            if name not in tuple(Market):
                raise ValueError(f"market {name!r} is not one of {', '.join(Market)}")
        if len(set(self.markets)) != len(self.markets) or not self.markets:
            raise ValueError(f"markets {list(self.markets)} must name at least one market, each once")
        if self.rate <= 0:
            raise ValueError(f"rate {self.rate} must be above 0 orders per second")
        if self.levels < 20:
            raise ValueError(f"levels {self.levels} must be at least 20, the deepest partial book")
        if self.fastest_depth_ms < 1:
            raise ValueError(f"fastest_depth_ms {self.fastest_depth_ms} must be at least 1")
        if self.turn < 1:
            raise ValueError(f"turn {self.turn} must be at least 1 order")
        if self.host not in ("127.0.0.1", "localhost", "::1", "0.0.0.0"):  # noqa: S104 - inside a container
            raise ValueError(f"host {self.host!r} must be a loopback address (or 0.0.0.0 inside a container)")
        if self.replay is not None and self.replay.start not in ("quiet", "all", "manual"):
            raise ValueError(f"replay start {self.replay.start!r} is not one of quiet, all, manual")
        if self.replay is not None and len(self.markets) != 1:
            raise ValueError(f"a replay needs exactly one market, not {list(self.markets)}")

    def symbols_for(self, market: Market) -> list[str]:
        """Return the symbols of a market, each once."""
        names = symbol_names(self.symbol_count) if self.symbol_count else tuple(self.symbols)
        wanted = [name for name in names if market is Market.COINM or "_" not in name]
        return list(dict.fromkeys(make_instrument(market, name.upper()).symbol for name in wanted))

    def rules_for(self, market: Market) -> MarketRules:
        """Return the numbers of a market: the documented ones or their replacement."""
        return self.rules.get(market.value, RULES[market])

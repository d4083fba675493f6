"""The built-in exchange: speaks the venue's own WebSocket and REST protocol on loopback.

It generates a market or replays a recording, and goes wrong on request. See docs/how-to/built-in-exchange.md.
"""

from raven.exchange.config import ExchangeConfig, ReplayConfig
from raven.exchange.faults.fault import Fault
from raven.exchange.markets import Market, MarketRules
from raven.exchange.server import Exchange
from raven.exchange.timeline import RealTimeline, Timeline
from raven.exchange.truth import TrueBook

__all__ = [
    "Exchange",
    "ExchangeConfig",
    "Fault",
    "Market",
    "MarketRules",
    "RealTimeline",
    "ReplayConfig",
    "Timeline",
    "TrueBook",
]

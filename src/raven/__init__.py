"""Raven: real-time market data. Exchange WebSockets in, exact order books, gRPC out.

    import raven

    async with raven.connect("localhost:50051") as feed:
        async for event in feed.subscribe(["BTCUSDT"], types=["orderbook"]):
            print(event)

Importing this package is cheap: names are loaded when first used, and the native engine only by what needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raven.app.books import book_at
    from raven.app.history import history
    from raven.app.snapshot_service import SnapshotService
    from raven.app.symbols import symbols
    from raven.client import connect
    from raven.errors import RavenError
    from raven.resilience.breaker import CircuitBreakerRegistry
    from raven.resilience.dead_letters import DeadLetterQueue
    from raven.topics import DataType, Topic

__version__ = "0.1.0"

__all__ = [
    "CircuitBreakerRegistry",
    "DataType",
    "DeadLetterQueue",
    "RavenError",
    "SnapshotService",
    "Topic",
    "__version__",
    "bars",
    "book_at",
    "connect",
    "history",
    "symbols",
]

# Name → module it is loaded from on first use.
_LAZY = {
    "CircuitBreakerRegistry": "raven.resilience.breaker",
    "DataType": "raven.topics",
    "DeadLetterQueue": "raven.resilience.dead_letters",
    "RavenError": "raven.errors",
    "SnapshotService": "raven.app.snapshot_service",
    "Topic": "raven.topics",
    "bars": "raven.bars",
    "book_at": "raven.app.books",
    "connect": "raven.client",
    "history": "raven.app.history",
    "symbols": "raven.app.symbols",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'raven' has no attribute {name!r}; it has: {', '.join(__all__)}")
    loaded = import_module(module)
    value = loaded if module == f"raven.{name}" else getattr(loaded, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})

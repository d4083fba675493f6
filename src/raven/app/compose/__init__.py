"""Every service, put together: the one place that names concrete classes and says who hears whom.

    server       venues → ingest → hub → gRPC; journal, databases, live view beside it     server.py
    source       venue  → ingest → hub → gRPC                                              source.py
    aggregator   link   → bars   → hub → gRPC                                              aggregator.py
    persistence  link   → hub → journal → database, and gRPC                               persistence.py

What they have in common: `collecting.py` (ingest and what is said about it), `front.py` (gRPC, control, health,
metrics: what a service shows to the outside), `process.py` (the process around one or several of them).
"""

from raven.app.compose.process import run, run_services

__all__ = ["run", "run_services"]

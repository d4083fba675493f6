"""`raven.history`: the past of some symbols as Arrow, polars or pandas, from a journal's folder or from a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow as pa

from raven.client.connection import connect
from raven.client.decode import decode
from raven.client.errors import RequestRefused, is_final, unreachable
from raven.client.records import Gap, Record
from raven.client.request import parse_types
from raven.client.settings import Settings
from raven.clock import SystemClock, parse_time
from raven.errors import ConfigurationError, MissingDependency
from raven.instruments import spellings
from raven.journal.history import Wanted
from raven.journal.history import history as from_folder
from raven.journal.tables import decoded
from raven.proto import subscription_pb2 as wire
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.topics import DataType

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["History", "history"]

_BATCH_ROWS = 65_536


class History:
    """What was asked for. Each iteration reads it anew, one Arrow table after the other, oldest first."""

    def __init__(self, tables: Callable[[], Iterator[pa.Table]]) -> None:
        self._tables = tables

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield tables of some ten thousand rows: one is in memory at a time."""
        return self._tables()

    async def __aiter__(self) -> AsyncIterator[pa.Table]:
        """Do the same for a program with asyncio; each table is read on a thread."""
        tables = iter(self)
        while (table := await asyncio.to_thread(next, tables, None)) is not None:
            yield table

    def to_arrow(self) -> pa.Table:
        """Return all of it as one table; without columns when there is nothing."""
        tables = [decoded(table) for table in self]
        return pa.concat_tables(tables) if tables else pa.table({})

    def to_polars(self) -> polars.DataFrame:
        """Return all of it as a polars frame. Raises: MissingDependency."""
        try:
            import polars as pl  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingDependency("to_polars needs polars: pip install 'raven[polars]'") from None
        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame), "a table becomes a frame"
        return frame

    def to_pandas(self) -> pandas.DataFrame:
        """Return all of it as a pandas frame; decimals become Python's `Decimal`. Raises: MissingDependency."""
        try:
            import pandas as pd  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingDependency("to_pandas needs pandas: pip install 'raven[pandas]'") from None
        frame = self.to_arrow().to_pandas()
        assert isinstance(frame, pd.DataFrame), "a table becomes a frame"
        return frame


def history(
    symbols: str | Iterable[str],
    type: str | DataType = "trades",
    *,
    start: str = "",
    end: str = "",
    venue: str = "",
    journal: str | Path | None = None,
    address: str = "",
    token: str | None = None,
    tls: bool | grpc.ChannelCredentials = False,
) -> History:
    """Ask for the past of symbols.

    - `symbols`: like `"BTCUSDT"` or `["BTCUSDT", "ETHUSDT"]`; a name like `"PEPE/USDT"` is every venue's symbol for
      it, `1000PEPEUSDT` among them.
    - `type`: `trades`, `orderbook`, `quotes`, `candles_1m`, `funding_rates`, …
    - `start`, `end`: `2026-11-20T12:30:00Z`, or `-1h` for an hour ago; the range has its start and not its end.
    - `journal`: the folder (`journal.dir`), read directly; prices are exact decimals, columns as in
      docs/reference/parquet.md. Or `address`: a running server; prices are doubles then, as the wire has them, and
      columns are the fields of the client's records. `token` and `tls` as for `raven.connect`.

    Raises: ConfigurationError for arguments that make no sense; iterating raises DataValidation when there is no
    journal, RequestRefused or ServerUnreachable from a server.
    """
    names = tuple(dict.fromkeys([symbols.upper()] if isinstance(symbols, str) else [one.upper() for one in symbols]))
    if not names:
        raise ConfigurationError('symbols is empty; name some, like ["BTCUSDT"]')
    if (journal is None) == (not address):
        raise ConfigurationError("name either journal (a folder) or address (a server, like localhost:50051)")
    (kind,) = parse_types(type)
    now_ns = SystemClock().time_ns()
    start_ns, end_ns = (parse_time(moment, now_ns) if moment else None for moment in (start, end))
    if journal is not None:
        spelled = [symbol for name in names for symbol in spellings(name)]
        wanted = Wanted(spelled, kind, venue, start_ns, end_ns)
        return History(lambda: from_folder(Path(journal), wanted))
    request = wire.HistoricalDataRequest(
        symbols=names,
        data_types=[int(kind)],  # type: ignore[list-item]  # numbers are what the wire has
        start_time=(start_ns or 0) // 1_000_000,
        end_time=(end_ns or 0) // 1_000_000,
    )
    settings = connect(address, token=token, tls=tls).settings
    return History(lambda: _from_server(settings, request, venue))


def _from_server(settings: Settings, request: wire.HistoricalDataRequest, venue: str) -> Iterator[pa.Table]:
    with settings.channel() as channel:
        stub = MarketDataServiceStub(channel)  # type: ignore[no-untyped-call]
        call: Any = stub.GetHistoricalData(request, metadata=settings.metadata())
        events = (
            event
            for message in call
            for event in decode(message)
            # Gaps are no rows of the table; subscriptions with `start` have them at their places.
            if isinstance(event, Record) and not isinstance(event, Gap) and venue in ("", event.venue)
        )
        try:
            while rows := list(islice(events, _BATCH_ROWS)):
                yield _table(rows)
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if is_final(code, reconnecting=False):
                raise RequestRefused(code.name, details) from None
            raise unreachable(settings.address, details) from None


def _table(events: Sequence[Record]) -> pa.Table:
    names = events[0].__struct_fields__
    columns = {name: pa.array([getattr(event, name) for event in events]) for name in names}
    for name in ("exchange_ns", "recv_ns"):
        columns[name] = columns[name].cast(pa.timestamp("ns", tz="UTC"))
    return pa.table(columns)

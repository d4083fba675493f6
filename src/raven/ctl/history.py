"""`ravenctl history`: the past of some symbols, as a table for people or a file for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv
from rich.console import Console
from rich.text import Text

from raven.clock import SystemClock, parse_time
from raven.ctl.terminal import figures, print_whole, printable, progress_in
from raven.errors import DataValidation
from raven.instruments import spellings
from raven.journal.history import Wanted, history
from raven.topics import DataType

__all__ = ["FORMATS", "cell", "read", "show", "write"]

_MOST_LEVELS = 2
# Of interest to programs, not to people at a glance.
_HIDDEN = ("recv_time", "first_fill_id", "last_fill_id", "sequence", "flags", "run", "bid_proven", "ask_proven")

Put = Callable[[pa.Table], None]


def read(journal: Path, symbols: str, data_type: str, venue: str, start: str, end: str) -> Iterator[pa.Table]:
    """Read what the options of the command line ask for. Raises: DataValidation naming the option that is wrong."""
    now_ns = SystemClock().time_ns()
    names = {symbol for text in symbols.split(",") if text.strip() for symbol in spellings(text.strip())}
    if not names:
        raise DataValidation("no symbol is named; expected one like BTCUSDT, or several with commas between them")
    start_ns, end_ns = (parse_time(moment, now_ns) if moment else None for moment in (start, end))
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise DataValidation(f"--from {start} is not before --to {end}")
    return history(journal, Wanted(names, DataType.parse(data_type), venue, start_ns, end_ns))


def write(tables: Iterator[pa.Table], path: Path, limit: int | None) -> int:
    """Write tables into a file whose suffix says its format; return the number of records.

    A file of this name is replaced when all is written: whoever breaks it off leaves what was there before.

    Raises: DataValidation for a suffix that is not known or records that the format cannot hold.
    """
    opener = FORMATS.get(path.suffix)
    if opener is None:
        raise DataValidation(f"--out {path}: expected a name that ends in {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise DataValidation(f"--out {path}: there is no folder {path.parent}")
    count, put = 0, None
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with progress_in("records") as progress, ExitStack() as file:
            task = progress.add_task("writing", total=limit)
            for table in _limited(tables, limit):
                put = put or file.enter_context(opener(unfinished, table.schema))
                put(table)
                count += len(table)
                progress.update(task, completed=count)
        if put:
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def show(tables: Iterator[pa.Table], limit: int) -> int:
    """Print the newest records for people; return how many there are in all."""
    count = 0
    newest: list[pa.Table] = []
    for table in tables:
        count += len(table)
        newest = [*newest, table]
        while len(newest) > 1 and sum(map(len, newest[1:])) >= limit:
            newest.pop(0)
    if not count:
        return 0
    rows = pa.concat_tables([_plain(table) for table in newest], promote_options="permissive")
    rows = rows.slice(max(0, len(rows) - limit))
    names = [name for name in rows.column_names if name not in _HIDDEN]
    shown = figures()
    for name in names:
        shown.add_column(name, no_wrap=True, justify="left" if rows[name].type == pa.string() else "right")
    for row in rows.select(names).to_pylist():
        shown.add_row(*(Text(cell(value)) for value in row.values()))
    print_whole(Console(), shown)
    return count


def _limited(tables: Iterator[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    given = 0
    for table in tables:
        part = table if limit is None else table.slice(0, limit - given)
        yield part
        given += len(part)
        if given == limit:
            return


def _plain(table: pa.Table, *, times: bool = True) -> pa.Table:
    """Return a table with names, and times if wanted, as text instead of numbers that stand for them."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) or (times and pa.types.is_timestamp(field.type)):
            table = table.set_column(at, field.name, table[field.name].cast(pa.string()))
    return table


def cell(value: object) -> str:
    """Return a value as a table shows it: numbers without zeros at the end, long lists cut."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        more = " …" if len(value) > _MOST_LEVELS else ""
        return " ".join(cell(one) for one in value[:_MOST_LEVELS]) + more
    text = f"{value:f}" if hasattr(value, "as_tuple") else str(value)
    return text.rstrip("0").rstrip(".") if "." in text and ":" not in text else text


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[Put]:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def _arrow(path: Path, schema: pa.Schema) -> Iterator[Put]:
    # An Arrow file has one dictionary per column, and every table brings its own.
    plain = _plain(schema.empty_table(), times=False).schema
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, plain) as writer:
        yield lambda table: writer.write_table(_plain(table, times=False))


@contextmanager
def _csv(path: Path, schema: pa.Schema) -> Iterator[Put]:
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    if lists:
        raise DataValidation(f"--out: CSV has no place for {', '.join(lists)}; write .parquet or .arrow")
    with csv.CSVWriter(path, _plain(schema.empty_table()).schema) as writer:
        yield lambda table: writer.write_table(_plain(table))


FORMATS = {".parquet": _parquet, ".arrow": _arrow, ".csv": _csv}
"""By suffix: opens a file for tables of a schema."""

"""`ravenctl sql`: questions to a journal in SQL, answered by DuckDB over Parquet and fresh segments together.

Every type of record is a view with the columns of docs/reference/parquet.md and, in front, `venue` and `symbol`. Prices
and quantities are doubles there, because products of wide decimals do not fit; in the schema `exact` they are decimals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.text import Text

from raven.ctl.history import cell
from raven.ctl.terminal import figures, print_whole, progress_in
from raven.errors import DataValidation, MissingDependency
from raven.journal.cursors import Position
from raven.journal.following import Follower
from raven.journal.history import KINDS
from raven.journal.partitions import parquet_folder, parts_in, tell_damage
from raven.journal.schema import SCHEMAS
from raven.journal.segment import no_journal, segments_in
from raven.journal.tables import decoded, table_of
from raven.records import Kind

if TYPE_CHECKING:
    import duckdb

__all__ = ["VIEWS", "Answer", "ask", "show"]

VIEWS = {**{one.name.lower(): kind for one, kind in KINDS.items()}, "gaps": Kind.GAP}
"""Name of each view → kind of its records."""
_BATCH_ROWS = 200_000
_SHOWN_ROWS = 100
# Files are replaced now and then while a server runs, and not many times in a row.
_TRIES = 5


class Answer:
    """The rows of one question, batch by batch."""

    def __init__(self, database: duckdb.DuckDBPyConnection, question: str) -> None:
        import duckdb  # noqa: PLC0415 - see `ask`

        try:
            statements = [one.type.name for one in duckdb.extract_statements(question)]
            relation = database.sql(question) if statements == ["SELECT"] else None
            if relation is None:
                raise DataValidation(f"expected one SELECT, not {', '.join(statements) or 'nothing'}")
            self._reader: pa.RecordBatchReader = relation.to_arrow_reader(_BATCH_ROWS)
        except duckdb.IOException:
            raise
        except duckdb.Error as error:
            raise DataValidation(
                f"{error}\nviews: {', '.join(VIEWS)} (prices are doubles; `exact.trades` has decimals); "
                "columns: docs/reference/parquet.md"
            ) from None

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows. Raises: DataValidation when files left before they were read."""
        try:
            for batch in self._reader:
                yield pa.table(batch)
        except (OSError, pa.ArrowException) as error:
            raise DataValidation(
                f"a file of the journal is damaged (see `ravenctl verify`), or left meanwhile (ask again): {error}"
            ) from None


def ask(journal: Path, question: str) -> Answer:
    """Ask a journal. What is not compacted yet is read into memory, of the types that the question names.

    Raises: DataValidation for a folder without a journal, or SQL that is wrong, with DuckDB's words; MissingDependency.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra: only who asks in SQL needs it
    except ImportError:
        raise MissingDependency("SQL needs DuckDB: pip install 'raven[sql]'") from None
    if not segments_in(journal) and not parquet_folder(journal).exists():
        raise no_journal(journal)
    for _ in range(_TRIES):
        # A file that was merged with others, or left, since we looked is looked for once more.
        with suppress(duckdb.IOException):
            database = duckdb.connect()
            database.execute("SET TimeZone = 'UTC'")
            database.execute("CREATE SCHEMA exact")
            for name in VIEWS:
                if re.search(rf"\b{name}\b", question, re.IGNORECASE):
                    try:
                        _add_view(database, journal, name)
                    except duckdb.InvalidInputException:
                        # A file is damaged: which one, it does not say in a way that programs can rely on.
                        _add_view(database, journal, name, is_sound=_is_readable)
            return Answer(database, question)
    raise DataValidation(f"{journal}: files are replaced faster than they can be read; ask again")


def show(answer: Answer) -> int:
    """Print the first rows for people; return how many there are in all."""
    count, shown, table = 0, 0, figures()
    for part in answer.tables():
        if not count:
            for name in part.column_names:
                table.add_column(
                    Text(name), no_wrap=True, justify="left" if pa.types.is_string(part[name].type) else "right"
                )
        count += len(part)
        for row in part.slice(0, _SHOWN_ROWS - shown).to_pylist():
            table.add_row(*(Text(cell(value)) for value in row.values()))
            shown += 1
    if count:
        print_whole(Console(), table)
    return count


def _add_view(
    database: duckdb.DuckDBPyConnection, journal: Path, name: str, is_sound: Callable[[str], bool] | None = None
) -> None:
    """Put what was compacted and what was not side by side. A segment that is both is read as a segment."""
    segments, found = _apart(journal, name)
    files = list(filter(is_sound, found)) if is_sound else found
    database.register(f"_{name}_fresh", _fresh(journal, segments, name))
    # Every name here is one of ours, and files are quoted as SQL wants it.
    parts = [f"SELECT * FROM _{name}_fresh"]  # noqa: S608
    if files:
        quoted = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        # By name: the decimals of all files get the scale of the one with the most digits.
        options = "union_by_name = true, hive_partitioning = true, hive_types_autocast = false"
        parts.append(f"SELECT * FROM read_parquet([{quoted}], {options})")  # noqa: S608
    fields = list(_empty(name).schema)
    exact = ", ".join(field.name for field in fields)
    doubles = ", ".join(_as_double(field) for field in fields)
    database.execute(f"CREATE VIEW exact.{name} AS SELECT {exact} FROM ({' UNION ALL BY NAME '.join(parts)})")  # noqa: S608
    database.execute(f"CREATE VIEW {name} AS SELECT {doubles} FROM exact.{name}")  # noqa: S608


def _is_readable(file: str) -> bool:
    try:
        pq.read_metadata(file)
    except FileNotFoundError:
        return True
    except (pa.ArrowException, OSError) as error:
        tell_damage(Path(file), error)
        return False
    return True


def _apart(journal: Path, name: str) -> tuple[list[Path], list[str]]:
    """Return segments and Parquet files that have no record in common."""
    for _ in range(_TRIES):
        segments = segments_in(journal)
        fresh = {int(path.stem) for path in segments}
        parts = [part for part in parts_in(journal, type=name) if part.first != part.last or part.first not in fresh]
        # Segments that became Parquet since we looked may be merged with others already.
        if not any(part.first <= number <= part.last for part in parts for number in fresh):
            return segments, [str(part.path) for part in parts]
    raise DataValidation(f"{journal}: segments and merged files have records in common; see `ravenctl verify`")


def _as_double(field: pa.Field) -> str:
    if pa.types.is_decimal(field.type):
        return f"{field.name}::DOUBLE AS {field.name}"
    if pa.types.is_list(field.type):
        return f"{field.name}::DOUBLE[] AS {field.name}"
    return str(field.name)


def _fresh(journal: Path, segments: list[Path], name: str) -> pa.Table:
    tables = [_empty(name)]
    if segments:
        follower = Follower(journal, Position(int(segments[0].stem)), [name])
        with progress_in("records") as progress:
            task = progress.add_task(f"reading {name}", total=None)
            while (step := follower.read(_BATCH_ROWS)) is not None:
                tables += [decoded(batch.records) for batch in step.batches]
                progress.update(task, completed=follower.position.rows)
    return pa.concat_tables(tables)


def _empty(name: str) -> pa.Table:
    """Return the columns of a view without rows."""
    kind = VIEWS[name]
    table = table_of(kind, SCHEMAS[kind].empty_table(), "")
    names = {column: pa.array([], pa.string()) for column in ("venue", "symbol")}
    return decoded(pa.table(names | {column: table[column] for column in table.column_names}))

"""The rules of the house that a tool does not know: each one reads the source and says which file breaks it."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import raven

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "src" / "raven"
# The shelf of bars is in the core: one file per kind in crates/raven-core/src/bars.
SHELVES = ("venues", "sinks", "links")
GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
LONGEST_FILE = 600
VENUE_NAMES = re.compile(r"binance|bybit|okx|kraken|coinbase|deribit|kucoin|bitfinex|bitstamp", re.IGNORECASE)
# Where a venue may be named: its own file, the stand-in for it, settings, and the wiring.
NAMES_VENUES = ("venues/", "exchange/", "config/", "app/", "ctl/", "registry.py")

MAKE_TARGETS = """
run test test-unit test-integration build fmt lint check dev dev-setup bench bench-all bench-grpc bench-latency
bench-memory bench-high-freq deploy start stop restart status health urls docker-build logs logs-server logs-influx
logs-grafana shell db-shell backup restore clean clean-all help
""".split()


def sources(*suffixes: str) -> list[Path]:
    """Every file of ours with one of these suffixes; generated files and build products are not ours."""
    folders = [PROJECT / name for name in ("src", "crates", "tests", "benches", "examples", "scripts")]
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes and "target" not in path.parts and not path.name.endswith(GENERATED)
    ]


def modules() -> list[Path]:
    return [path for path in sources(".py") if PACKAGE in path.parents]


def shown(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {
        shown(path): path.read_text(encoding="utf-8").count("\n") for path in sources(".py", ".pyi", ".rs", ".sh")
    }

    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_file_has_a_name_that_says_nothing() -> None:
    empty_words = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "data", "base"}

    assert [shown(path) for path in sources(".py", ".rs") if path.stem in empty_words] == []


def test_nothing_is_left_for_later_in_the_code() -> None:
    mark = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "HA" + "CK"]) + r")\b")
    found = [shown(path) for path in sources(".py", ".pyi", ".rs") if mark.search(path.read_text(encoding="utf-8"))]

    assert found == []


def words_in_code(path: Path) -> Iterator[str]:
    """Identifiers and strings, but not docstrings and comments: those may give examples."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str) and not isinstance(node, ast.Expr):
                yield child.value
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_no_venue_is_named_outside_its_shelf() -> None:
    found = {
        shown(path): word
        for path in modules()
        if not str(path.relative_to(PACKAGE)).startswith(NAMES_VENUES)
        for word in words_in_code(path)
        if VENUE_NAMES.search(word)
    }

    assert found == {}


def test_every_file_on_a_shelf_is_registered() -> None:
    files = [path for shelf in SHELVES for path in sorted((PACKAGE / shelf).glob("*.py")) if path.stem[0] != "_"]
    registry = PACKAGE / "registry.py"
    text = registry.read_text(encoding="utf-8") if registry.exists() else ""

    assert [shown(path) for path in files if f'"{module_name(path)}:' not in text] == []


def test_every_package_has_its_tests() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"proto", "testing"}
    tested = {path.name for path in (PROJECT / "tests" / "unit").iterdir() if any(path.glob("test_*.py"))}

    assert packages - tested == set()


def test_the_public_surface_is_a_decision() -> None:
    assert raven.__all__ == [
        "CircuitBreakerRegistry", "DataType", "DeadLetterQueue", "RavenError", "SnapshotService", "Topic",
        "__version__", "bars", "book_at", "connect", "history", "symbols",
    ]  # fmt: skip


@pytest.mark.parametrize("path", [path for path in modules() if path.name == "__init__.py"], ids=module_name)
def test_every_package_exports_what_it_says(path: Path) -> None:
    module = importlib.import_module(module_name(path))

    exported = getattr(module, "__all__", [])
    assert [name for name in exported if not hasattr(module, name)] == []
    assert module.__doc__


def test_importing_raven_loads_neither_the_engine_nor_anything_heavy() -> None:
    heavy = "raven._core raven.client raven.config aiohttp grpc google.protobuf pydantic rich picows structlog"
    code = f"import sys, raven; print([name for name in {heavy.split()!r} if name in sys.modules])"

    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert answer.stdout.strip() == "[]"


def test_every_promised_make_target_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*(?: [a-z0-9-]+)*):(?!=)", makefile, re.MULTILINE))
    phony = set(
        re.findall(r"[a-z][a-z0-9-]*", " ".join(re.findall(r"^(?:CONTAINERS|BENCHES) := (.*)", makefile, re.M)))
    )
    known = {name for names in targets for name in names.split()} | phony

    assert [name for name in MAKE_TARGETS if name not in known] == []


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    broken = [
        f"{shown(page)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []


def test_the_version_is_the_same_everywhere() -> None:
    cargo = (PROJECT / "Cargo.toml").read_text(encoding="utf-8")

    assert f'version = "{raven.__version__}"' in cargo


def test_no_pin_names_a_server() -> None:
    files = [*(PROJECT / "requirements").glob("*.txt"), PROJECT / "pyproject.toml"]

    assert [shown(path) for path in files if re.search(r"index-url|https?://", path.read_text(encoding="utf-8"))] == []

"""The code of the pages about the Python client runs as it stands, and so does the notebook, cell by cell."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import AsyncIterator
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from .conftest import Scene

PROJECT = Path(__file__).resolve().parents[3]
HOW_TO = PROJECT / "docs" / "how-to"
NOTEBOOK = PROJECT / "examples" / "market_research.ipynb"


@pytest_asyncio.fixture
async def busy(scene: Scene) -> AsyncIterator[Scene]:
    """A market in which something happens all the time: trades of BTCUSDT, and the book of BOOKUSDT."""

    async def move() -> None:
        trade_id = 0
        while True:
            trade_id += 1
            scene.market.trade("BTCUSDT", trade_id)
            scene.market.move_book(quantity=2 + trade_id % 7)
            await asyncio.sleep(0.005)

    task = asyncio.create_task(move())
    yield scene
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def code_of(page: str, scene: Scene) -> list[str]:
    text = here((HOW_TO / page).read_text(encoding="utf-8"), scene)
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def here(text: str, scene: Scene) -> str:
    text = text.replace("localhost:50051", scene.address)
    return re.sub(r'live_book\((SYMBOL|"BTCUSDT")', 'live_book("BOOKUSDT"', text)


async def run(code: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run code as a cell of a notebook does: with `await` at the top, on the loop that is running."""
    names = {} if names is None else names
    compiled = compile(code, "a cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    # Code without `await` is run by `eval` itself.
    if isawaitable(running := eval(compiled, names)):
        await running
    return names


async def test_batches_on_a_running_loop(busy: Scene) -> None:
    on_loop, _ = code_of("compute-with-live-data.md", busy)

    names = await run(on_loop.replace("print(frame)", "break"))

    assert names["frame"].rows() == [("BTCUSDT", 61000.5)]


async def test_batches_in_a_script(busy: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    _, blocking = code_of("compute-with-live-data.md", busy)
    stop = re.sub(r"( +)(print\(.*\))", r"\1\2; break", blocking)

    await asyncio.to_thread(exec, stop, {})

    assert "61000.5" in capsys.readouterr().out


async def test_a_live_book_on_a_running_loop(busy: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = code_of("follow-a-book.md", busy)
    stop = re.sub(r"( +)(print\(.*\))", r"\1\2; break", code)

    await run(stop)

    # Quantities of five bids, of which the best has 2 to 8 and each other 1.
    (quantity,) = re.findall(r"^100\.5 1\.0 ([\d.]+)$", capsys.readouterr().out, re.MULTILINE)
    assert 6 <= float(quantity) <= 12


async def test_what_the_page_says_a_live_book_has_is_there() -> None:
    from raven.client import BlockingLiveBook, LiveBook

    rows = re.findall(r"^\| (`.*?`) \|", (HOW_TO / "follow-a-book.md").read_text(encoding="utf-8"), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)", row)]

    assert len(names) >= 15
    for face in (LiveBook, BlockingLiveBook):
        assert [name for name in names if not hasattr(face, name)] == []


async def test_every_cell_of_the_notebook_runs(busy: Scene) -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}

    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "it is kept without what a run printed"
            await run(here("".join(cell["source"]), busy), names)

    assert names["trades"].height >= 5
    assert names["flow"]["side"].to_list() == ["buy", "sell"]
    assert names["imbalance"].height == 20
    assert not names["imbalance"]["is_stale"].any()

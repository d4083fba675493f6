"""`raven.history` and subscriptions that begin in the past, from Python."""

from __future__ import annotations

import ast
import asyncio
import re
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import raven
from raven.client import Gap, RequestRefused, ServerUnreachable, Trade
from raven.errors import ConfigurationError, DataValidation

from .conftest import MakeScene, Scene

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "query-your-data.md"


@pytest.fixture
async def scene(make_scene: MakeScene, tmp_path: Path) -> Scene:
    made: Scene = await make_scene(journal=tmp_path)
    made.market.trades("BTCUSDT", 100)
    assert made.journal is not None
    await asyncio.to_thread(made.journal.commit_now)
    return made


async def test_a_folder_gives_exact_decimals(scene: Scene, tmp_path: Path) -> None:
    past = raven.history("btcusdt", journal=tmp_path)
    table = await asyncio.to_thread(past.to_arrow)
    assert table["id"].to_pylist() == list(range(1, 101))
    assert table["price"][0].as_py() == Decimal("61000.5")
    assert sum(len(part) for part in past) == 100, "it can be read again"
    frame = past.to_polars()
    assert frame.height == 100
    assert frame["price"].dtype == pl.Decimal(38, 18)
    assert past.to_pandas()["symbol"].unique().tolist() == ["BTCUSDT"]


async def test_a_server_gives_the_same_records_as_doubles(scene: Scene) -> None:
    past = raven.history(["BTCUSDT"], "trades", address=scene.address)
    table = await asyncio.to_thread(past.to_arrow)
    assert table["trade_id"].to_pylist() == [str(number) for number in range(1, 101)]
    assert set(table["price"].to_pylist()) == {61_000.5}
    assert table.schema.field("exchange_ns").type == pa.timestamp("ns", tz="UTC")


async def test_a_program_with_asyncio_reads_table_by_table(scene: Scene, tmp_path: Path) -> None:
    for past in (raven.history("BTCUSDT", journal=tmp_path), raven.history("BTCUSDT", address=scene.address)):
        assert [len(table) async for table in past] == [100]


async def test_the_code_on_the_page_runs(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text(encoding="utf-8").replace("data/journal", str(tmp_path))
    scene.market.trade("BTCUSDT", 101)
    await asyncio.to_thread(scene.journal.commit_now)  # type: ignore[union-attr]
    from_folder, then_live = re.findall(r"```python\n(.*?)```", text, re.DOTALL)

    names: dict[str, Any] = {}
    exec(compile(from_folder, str(PAGE), "exec"), names)
    assert names["table"]["id"].to_pylist() == [101]

    stop = then_live.replace("print(event)", "print(event); break").replace("localhost:50051", scene.address)
    await eval(compile(stop, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    assert "id 101, BACKFILLED" in capsys.readouterr().out


async def test_what_makes_no_sense_is_said(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"either journal .* or address"):
        raven.history("BTCUSDT")
    with pytest.raises(ConfigurationError, match="symbols is empty"):
        raven.history([], journal=tmp_path)
    with pytest.raises(ConfigurationError, match="did you mean 'trades'"):
        raven.history("BTCUSDT", "tradess", journal=tmp_path)
    with pytest.raises(DataValidation, match="no journal there"):
        raven.history("BTCUSDT", journal=tmp_path / "none").to_arrow()
    with pytest.raises(RequestRefused, match="LIQUIDATIONS"):
        await asyncio.to_thread(raven.history("BTCUSDT", "liquidations", address=scene.address).to_arrow)
    with pytest.raises(ServerUnreachable, match=r"no Raven server answers at 127\.0\.0\.1:1 "):
        await asyncio.to_thread(raven.history("BTCUSDT", address="127.0.0.1:1").to_arrow)


async def test_nothing_is_an_empty_table(scene: Scene, tmp_path: Path) -> None:
    assert len(raven.history("BTCUSDT", end="1960-01-01", journal=tmp_path).to_arrow()) == 0


async def test_a_subscription_begins_in_the_past_and_goes_on(scene: Scene) -> None:
    ids: list[int] = []
    async with raven.connect(scene.address) as feed:
        async for event in feed.subscribe("BTCUSDT", "trades", start=0):
            assert isinstance(event, Trade | Gap)
            assert isinstance(event, Trade), event
            ids.append(int(event.trade_id))
            if len(ids) == 100:
                scene.market.trades("BTCUSDT", 50, 101)
            if len(ids) == 150:
                break
    assert ids == list(range(1, 151))


async def test_the_blocking_face_can_do_the_same(scene: Scene) -> None:
    def read() -> list[int]:
        with raven.connect(scene.address) as feed:
            events = islice(feed.subscribe("BTCUSDT", "trades", start="0"), 100)
            return [int(event.trade_id) for event in events if isinstance(event, Trade)]

    assert await asyncio.to_thread(read) == list(range(1, 101))

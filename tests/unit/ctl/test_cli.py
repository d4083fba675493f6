"""What `ravenctl replay` shows people."""

import gzip
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raven import __version__

pytest.importorskip("raven._core", reason="the native engine is not built")

from raven.ctl.cli import app

LINES = (
    b'1000000000 {"lastUpdateId":100,"bids":[["61000.5","1.0"]],"asks":[["61000.6","2.0"]]}',
    (
        b'1000000001 {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723075200000,"T":1723075200000,'
        b'"s":"BTCUSDT","U":99,"u":101,"pu":98,"b":[["61000.4","3"]],"a":[]}}'
    ),
)


def run(*arguments: str, columns: int = 80) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": str(columns)})
    return result.exit_code, result.output


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "btcusdt.gz"
    path.write_bytes(gzip.compress(b"\n".join(LINES) + b"\n"))
    return path


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_no_figure_is_cut_off_however_narrow_the_terminal(recording: Path, columns: int) -> None:
    code, out = run("replay", str(recording), columns=columns)

    assert code == 0
    assert "1 symbol," in " ".join(out.split())
    assert "…" not in out
    for part in ("BTCUSDT", "61000.5", "61000.6", "book hash"):
        assert part in out


def test_a_file_that_is_no_recording_is_told_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / ("a_rather_long_name_" * 5 + ".txt")
    path.write_text("# notes\n", encoding="utf-8")

    code, out = run("replay", str(path))

    assert code == 1
    assert f"error: {path}:1: expected" in out


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(option: str) -> None:
    assert "replay" in run(option)[1]
    code, out = run("replay", option)

    assert code == 0
    assert "--report" in out
    assert "bool" not in out.lower()


def test_the_version_is_told() -> None:
    assert run("--version") == (0, f"ravenctl {__version__}\n")

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "sed", "sort", "head", "uname")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder of programs with nothing but the shell's own tools and a package manager's name."""
    for tool in TOOLS:
        where = shutil.which(tool)
        assert where, f"{tool} is not on this machine"
        (tmp_path / tool).symlink_to(where)
    program(tmp_path, "apt-get", "exit 0")
    return tmp_path


def program(folder: Path, name: str, body: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def check(path: Path, *what: str) -> tuple[int, str, str]:
    answer = subprocess.run(
        ["./scripts/prerequisites.sh", *what],
        cwd=PROJECT,
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return answer.returncode, answer.stdout.strip(), answer.stderr


def with_rust(path: Path, version: str) -> None:
    for name in ("cargo", "rustc"):
        program(path, name, f'echo "{name} {version} (0 2020-01-01)"')
    program(path, "cc", "exit 0")


def test_everything_there_says_which_python_to_use(path: Path) -> None:
    (path / "python3").symlink_to(sys.executable)
    with_rust(path, "9.9.9")

    code, out, err = check(path)

    assert (code, out, err) == (0, str(path / "python3"), "")


def test_a_missing_python_is_named_with_the_command_that_installs_it(path: Path) -> None:
    code, out, err = check(path, "python")

    assert (code, out) == (1, "")
    assert "missing: Python 3.11 or newer (found: no python3)" in err
    assert "sudo apt-get install -y python3 python3-venv" in err


def test_an_old_python_is_named_with_its_version(path: Path) -> None:
    program(path, "python3", 'if [ "$1" = --version ]; then echo "Python 3.9.2"; else exit 1; fi')

    code, _, err = check(path, "python")

    assert code == 1
    assert "missing: Python 3.11 or newer (found: Python 3.9.2)" in err


def test_a_python_without_venv_is_told_which_package_has_it(path: Path) -> None:
    program(
        path,
        "python3",
        'case "$2" in *version_info\\ \\<*) exit 0;; *ensurepip*) exit 1;; *) echo 3.11;; esac',
    )

    code, _, err = check(path, "python")

    assert code == 1
    assert "missing: the venv module of" in err
    assert "sudo apt-get install -y python3.11-venv" in err


def test_a_missing_rust_and_compiler_are_both_named(path: Path) -> None:
    code, _, err = check(path, "rust")

    assert code == 1
    assert "missing: a Rust toolchain" in err
    assert "sh.rustup.rs" in err
    assert "missing: a C compiler" in err
    assert "sudo apt-get install -y build-essential" in err


def test_an_old_rust_is_named_with_its_version(path: Path) -> None:
    with_rust(path, "1.60.0")

    code, _, err = check(path, "rust")

    assert code == 1
    assert "(found: 1.60.0)" in err
    assert "rustup update stable" in err

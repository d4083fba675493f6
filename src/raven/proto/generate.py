"""Make the Python stubs of `proto/*.proto`: `python -m raven.proto.generate`, or with `--check` only compare.

The stubs are committed, so that nobody needs the generator to use or to install Raven. The one thing changed in what
`grpc_tools` writes: stubs import each other from this package and not from the top level.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[2] / "proto"
SIBLING = re.compile(r"^import (\w+_pb2) as ", re.MULTILINE)


def generate(into: Path) -> list[Path]:
    """Write the stubs of every proto file to a folder and return their paths.

    Raises: SystemExit naming what is missing, or with the compiler's code when a file does not compile.
    """
    try:
        from grpc_tools import protoc  # noqa: PLC0415 - only the developer who changes a proto file needs it
    except ImportError:
        raise SystemExit("grpcio-tools is not installed; run: pip install grpcio-tools") from None
    outputs = [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
    names = sorted(path.name for path in SOURCE.glob("*.proto"))
    code = protoc.main(["protoc", f"-I{SOURCE}", *outputs, *names])
    if code != 0:
        raise SystemExit(code)
    stubs = sorted(into.glob("*_pb2*.py*"))
    for stub in stubs:
        text = stub.read_text(encoding="utf-8")
        stub.write_text(SIBLING.sub(r"from raven.proto import \1 as ", text), encoding="utf-8")
    return stubs


def main() -> None:
    """Generate into this package, or with `--check` exit 1 naming the stubs that are not current."""
    if "--check" not in sys.argv[1:]:
        generate(HERE)
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        stale = [stub.name for stub in fresh if not _same(stub, HERE / stub.name)]
    if stale:
        raise SystemExit(f"not current: {', '.join(stale)} (in {HERE}); run: make proto")


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()


if __name__ == "__main__":
    main()

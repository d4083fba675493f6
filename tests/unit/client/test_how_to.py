"""docs/how-to/subscribe-from-python.md tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

import raven.client

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "subscribe-from-python.md"


def test_the_code_on_the_page_is_the_code_of_the_package_docstring() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    shown = [line.strip() for line in (raven.client.__doc__ or "").splitlines()]

    compile(code, str(PAGE), "exec")
    assert [line.strip() for line in code.splitlines() if line.strip() and line.strip() not in shown] == []


def test_every_record_of_the_table_exists_with_the_fields_named() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert len(rows) == 8
    for name, fields in rows:
        record = getattr(raven.client, name)
        for field in re.findall(r"`(\w+)`", fields):
            assert hasattr(record, field), f"{name}.{field}"

"""What README claims is executed: every row of its table names a test that exists."""

import re

import pytest

from tests.conftest import ROOT

ROWS = re.findall(
    r"^\| .+ \| `(tests/[\w/]+\.py)::(\w+)` \|$", (ROOT / "README.md").read_text(), re.M
)


def test_the_table_is_read() -> None:
    table = (ROOT / "README.md").read_text().split("## What works")[1].split("## ")[0]
    assert len(ROWS) == table.count("\n| ") - 1 > 10


@pytest.mark.parametrize(("file", "function"), ROWS, ids=lambda part: part)
def test_a_row_names_a_test(file: str, function: str) -> None:
    assert f"\ndef {function}(" in (ROOT / file).read_text()

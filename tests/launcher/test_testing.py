"""`./skerry test`: what a test that fails beside others, and passes alone, is worth."""

from pathlib import Path

import pytest

from launcher import testing

PROGRAM = """
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range({failing}))
def test_of_the_first_time(number):
    seen = Path(f"seen-{{number}}")
    again = seen.exists()
    seen.touch()
    assert again and {mendable}


def test_that_passes():
    with Path("passed").open("a") as told:
        told.write("once ")
"""


@pytest.mark.parametrize(
    ("failing", "mendable", "status", "late"),
    [
        (0, True, 0, 0),
        (2, True, 0, 2),
        (2, False, 1, 0),
        (testing.ASKED_AGAIN_AT_MOST + 1, True, 1, 0),
    ],
    ids=["none", "late", "broken", "too many"],
)
def test_a_few_failed_tests_are_asked_once_more(
    tmp_path: Path, failing: int, mendable: bool, status: int, late: int
) -> None:
    program = PROGRAM.format(failing=failing, mendable=mendable)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest]\n")
    (tmp_path / "test_it.py").write_text(program)
    named: list[str] = []
    assert testing.attempt(tmp_path, [], named, {}) == status
    assert len(named) == late
    assert all(name.startswith("test_it.py::test_of_the_first_time[") for name in named)
    assert (tmp_path / "passed").read_text() == "once "

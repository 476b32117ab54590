"""The shape of the code: rules that a review would otherwise repeat."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("api", "dashboard", "worker", "edge", "launcher", "gallery")
# style.md, B3: words that say nothing, as the name of a module.
EMPTY_WORDS = {
    "manager", "helper", "helpers", "util", "utils", "processor", "data", "info", "item", "items",
    "object", "common", "core", "misc", "base", "new", "temp", "v2",
}  # fmt: skip


def sources(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from (ROOT / package).rglob("*.py")


def test_only_the_database_module_commits() -> None:
    guilty = [
        str(file)
        for file in sources("api", "dashboard", "worker")
        if re.search(r"\.commit\(\)|session\.begin\(", file.read_text())
    ]
    assert guilty == [str(ROOT / "api" / "db.py")]


def test_scripts_are_selected_through_their_one_door() -> None:
    guilty = [
        str(file.relative_to(ROOT))
        for file in sources("api", "dashboard", "worker")
        if re.search(r"select\(Script\)", file.read_text())
    ]
    assert guilty == ["api/scripts/service.py"]


def test_modules_have_names_that_say_something() -> None:
    guilty = [str(file) for file in sources(*PACKAGES) if file.stem in EMPTY_WORDS]
    assert guilty == []


def test_no_class_is_called_worker() -> None:
    guilty = [
        str(file)
        for file in sources(*PACKAGES)
        if re.search(r"^class Worker\b", file.read_text(), re.M)
    ]
    assert guilty == []


def test_tests_run_coroutines_where_no_loop_runs() -> None:
    """Whether `asyncio.run` works in the thread of a test depends on the tests before it."""
    guilty = [
        str(file.relative_to(ROOT / "tests"))
        for file in sources("tests")
        if re.search(r"asyncio\.run\(|run_until_complete", file.read_text())
    ]
    assert set(guilty) <= {"aws/relay.py", "test_shape.py"}


def test_lock_files_name_no_package_index() -> None:
    for name in ("package-lock.json", "requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert '"resolved": "http' not in text
        assert "index-url" not in text

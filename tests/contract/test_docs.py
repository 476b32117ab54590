"""Documentation as it can be checked: what is there is described, and nothing that is gone."""

import re
from collections.abc import Iterator
from typing import Any

from tests.platform import ROOT


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def _in_backquotes(page: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", page))


def _variables() -> set[str]:
    """The environment variable of every setting of the control plane; conventional names first."""
    from api.settings import Settings  # noqa: PLC0415 - the environment is set before

    aliases = {name: field.validation_alias for name, field in Settings.model_fields.items()}
    return {
        str(alias.choices[0]) if hasattr(alias, "choices") else f"SKERRY_{name.upper()}"
        for name, alias in aliases.items()
    }


def _problems(problem: Any) -> Iterator[Any]:
    yield problem
    for kind in problem.__subclasses__():
        yield from _problems(kind)


def test_every_setting_is_described() -> None:
    assert len(_variables()) > 20
    assert _variables() - _in_backquotes(_page("settings.md")) == set()


def test_no_setting_is_described_that_nothing_reads() -> None:
    sources = [path for part in ("edge", "launcher") for path in (ROOT / part).rglob("*.py")]
    read_elsewhere = {
        name for path in sources for name in re.findall(r"SKERRY_[A-Z_]+", path.read_text())
    }
    described = set(re.findall(r"\bSKERRY_[A-Z_]+", _page("settings.md")))
    assert described - _variables() - read_elsewhere == set()


def test_every_error_is_described_with_its_code_and_status() -> None:
    from api.errors import Problem  # noqa: PLC0415

    rows = [
        [cell.strip() for cell in line.split("|")[1:4]]
        for line in _page("errors.md").splitlines()
        if re.match(r"\| \d+ \|", line)
    ]
    described = {
        (int(code), int(status), name)
        for code, statuses, names in rows
        for status in statuses.split(", ")
        for name in names.split(", ")
    }
    problems = {
        (kind.code, kind.status, kind.__name__)
        for kind in _problems(Problem)
        if kind.__module__ == Problem.__module__  # the dashboard has pages of its own
    }
    assert len(problems) > 20
    assert problems - described == set()
    codes = {code for code, _, _ in problems}
    assert {code for code, _, _ in described} == codes


def test_every_task_is_described() -> None:
    from worker.app import app  # noqa: PLC0415

    app.loader.import_default_modules()
    tasks = {name for name in app.tasks if not name.startswith("celery.")}
    assert tasks >= {"rollouts.push", "rollouts.sweep"}
    assert tasks - _in_backquotes(_page("architecture.md")) == set()


def test_runbooks_name_events_and_tests_that_exist() -> None:
    pages = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
    assert len(pages) > 5
    named = {
        name for page in pages for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", page.read_text())
    }
    defined = _in_sources(r"\bdef (test_\w+)\(", "tests")
    logged = _in_sources(r'"([a-z]+(?:_[a-z]+)+)"', "edge")
    assert {name for name in named if name.startswith("test_")} - defined == set()
    assert {name for name in named if not name.startswith("test_")} - logged == set()


def _in_sources(pattern: str, part: str) -> set[str]:
    sources = (ROOT / part).rglob("*.py")
    return {name for path in sources for name in re.findall(pattern, path.read_text())}

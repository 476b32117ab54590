"""Documentation as it can be checked: what is there is described, and nothing that is gone."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher import cli, reference
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


def test_the_defaults_are_those_of_the_code() -> None:
    from api.settings import Settings  # noqa: PLC0415
    from edge.agent.settings import read_settings  # noqa: PLC0415

    flags = shlex.split("--dir d --name n --http-port 1 --https-port 2 --agent-port 3")
    node, control = vars(read_settings(flags, {})), Settings.model_fields
    compared = []
    for names, defaults in re.findall(r"^\| (`SKERRY_.*?) \| (.*?) \|", _page("settings.md"), re.M):
        for name, shown in zip(_names(names), defaults.split(", "), strict=False):
            of_node = name in node and name not in control
            default = node[name] if of_node else control[name].default if name in control else None
            if isinstance(default, (int, float)) and shown.replace(",", "").isdigit():
                compared.append(name)
                assert default == int(shown.replace(",", "")), name
    assert {"port", "gateway_port", "deploy_wait_seconds", "slots", "cell_heap_mib"} <= set(
        compared
    )
    assert len(compared) > 20


def _names(cell: str) -> list[str]:
    """The fields of `SKERRY_BIND`, `SKERRY_PORT`."""
    return [name.lower() for name in re.findall(r"`SKERRY_(\w+)`", cell)]


def test_every_variable_that_a_node_reads_is_described() -> None:
    # What processes tell each other: who they belong to, and which sockets they inherit.
    inner = {"SKERRY_NODE", "SKERRY_ROLE", "SKERRY_NETWORK"}
    inner |= {f"SKERRY_{socket}_FD" for socket in ("HTTP", "HTTPS", "DOOR", "LOG")}
    read = _in_sources(r'"(SKERRY_[A-Z_]+)"', "edge")
    assert {"SKERRY_SLOTS", "SKERRY_SANDBOX"} <= read
    assert read - inner - _in_backquotes(_page("settings.md")) == set()


def test_the_reference_is_what_the_code_says() -> None:
    stale = [
        name
        for name, text in reference.pages().items()
        if (ROOT / "docs" / "reference" / name).read_text() != text
    ]
    assert stale == [], "run .venv/bin/python -m launcher.reference"


def test_every_command_and_option_says_what_it_is_for() -> None:
    commands = reference.subcommands(cli.parser())
    assert {"up", "url", "doctor"} <= commands.keys()
    for name, command in commands.items():
        assert command.description, name
        assert [option.dest for option in command._actions if not option.help] == [], name
    script = (ROOT / "skerry").read_text()
    (named,) = re.findall(r"^# Commands: (.*?) \(", script, re.M)
    assert set(named.split()) == commands.keys()
    readme = (ROOT / "README.md").read_text().split("## What works")[0]
    assert [name for name in commands if not re.search(rf"`(\./skerry )?{name}\b", readme)] == []


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text())
    ]
    assert len(links) > 40
    assert [f"{page.name}: {link}" for page, link in links if not _leads(page, link)] == []


def _leads(page: Path, link: str) -> bool:
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page
    if not heading or target.suffix != ".md":
        return target.exists()
    titles = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
    return heading in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


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
    event = r'"([a-z]+(?:_[a-z]+)+)"'
    logged = _in_sources(event, "edge") | _in_sources(event, "api")
    assert {name for name in named if name.startswith("test_")} - defined == set()
    assert {name for name in named if not name.startswith("test_")} - logged == set()


def _in_sources(pattern: str, part: str) -> set[str]:
    sources = (ROOT / part).rglob("*.py")
    return {name for path in sources for name in re.findall(pattern, path.read_text())}

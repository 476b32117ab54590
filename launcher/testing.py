"""`./skerry test`: every check of the repository as a list that a person can read."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher import children, ports, postgres, processes, valkey
from launcher.children import Child, Program
from launcher.paths import ROOT, DataDirectory
from launcher.programs import PYTHON, external_database, external_redis
from launcher.progress import say

# Three workers for the two cores of the smallest machine that CI has: tests wait for processes more than they work.
# launcher/grouping.py says what stays together.
PYTEST_PARALLEL = ["-n", "3", "-p", "launcher.grouping"]

# pytest's exit status when tests ran and some of them failed.
TESTS_FAILED = 1
# A run of all tests asks this many at most once more, alone: three workers on two cores make even a right program late,
# and one node that is late fails every test of its module. What fails then too has failed; what passes is named below
# the summary, because it may be a race of ours.
ASKED_AGAIN_AT_MOST = 10

# The tests' servers are thrown away: nothing of theirs has to survive a power failure.
FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@dataclass(frozen=True)
class Step:
    """One line of the summary."""

    name: str
    run: Callable[[], int]
    """Returns an exit status; 0 is good."""


@dataclass(frozen=True)
class Outcome:
    name: str
    status: int
    seconds: float


def run(paths: list[str]) -> int:
    """Run every step, or pytest alone on the given paths; 1 if any of them failed."""
    if paths:
        return _pytest(paths)
    outcomes = []
    late: list[str] = []
    for step in steps(late):
        say(f"=== {step.name}")
        started = time.monotonic()
        status = step.run()
        outcomes.append(Outcome(step.name, status, time.monotonic() - started))
    say(summary(outcomes))
    if late:
        say(f"passed only when run alone: {', '.join(late)}")
    return 1 if any(outcome.status for outcome in outcomes) else 0


def steps(late: list[str]) -> list[Step]:
    """In the order of how soon they tell; pytest last, so that its closing line is near the end.

    The tests that passed only when run alone are added to `late`.
    """
    return [
        Step("lint", _lint),
        Step("types", lambda: _tool(*PYTHON, "-m", "mypy")),
        Step("imports", _imports),
        Step("tests", lambda: _all_tests(late)),
    ]


def summary(outcomes: list[Outcome]) -> str:
    words = {True: "ok", False: "FAILED"}
    return "\n".join(
        ["", *(f"{o.name:<9}{o.seconds:>7.1f} s  {words[o.status == 0]}" for o in outcomes)]
    )


def _lint() -> int:
    found = _tool(*PYTHON, "-m", "ruff", "check") | _tool(
        *PYTHON, "-m", "ruff", "format", "--check"
    )
    templates = ROOT / "dashboard" / "templates"
    if templates.is_dir():
        found |= _tool(*PYTHON, "-m", "djlint", "--quiet", "--lint", str(templates))
    return found


def _imports() -> int:
    # lint-imports is a script whose first line names the folder it was installed in; this works after a move too.
    code = "from importlinter.cli import lint_imports_command as run; run()"
    return _tool(*PYTHON, "-c", code, "--no-logo") if (ROOT / "dashboard").is_dir() else 0


def _tool(*command: str, added: dict[str, str] | None = None, folder: Path = ROOT) -> int:
    """Run a tool in the checkout, or in another folder, with its output on the screen."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(added or {})}
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def _all_tests(late: list[str]) -> int:
    with test_servers() as added:
        return attempt(ROOT, PYTEST_PARALLEL, late, added)


def attempt(root: Path, flags: list[str], late: list[str], added: dict[str, str]) -> int:
    """Run pytest in that folder, and a few failed tests once more without the flags; its last exit status.

    What passes the second time is added to `late`.
    """
    run = (*PYTHON, "-m", "pytest")
    status = _tool(*run, *flags, "--cache-clear", added=added, folder=root)
    failed = _last_failed(root) if status == TESTS_FAILED else []
    if not 0 < len(failed) <= ASKED_AGAIN_AT_MOST:
        return status
    say(f"=== tests, once more and alone: {', '.join(failed)}")
    again = _tool(*run, "--last-failed", added=added, folder=root)
    late += [] if again else failed
    return again


def _last_failed(root: Path) -> list[str]:
    """What pytest's own cache names: https://docs.pytest.org/en/stable/how-to/cache.html."""
    found = root / ".pytest_cache" / "v" / "cache" / "lastfailed"
    return sorted(json.loads(found.read_text())) if found.exists() else []


def _pytest(paths: list[str]) -> int:
    from_here = [_from_root(path) for path in paths]
    parallel = (
        []
        if len(from_here) == 1 and Path(from_here[0].partition("::")[0]).is_file()
        else PYTEST_PARALLEL
    )
    with test_servers() as added:
        return _tool(*PYTHON, "-m", "pytest", *parallel, *from_here, added=added)


def _from_root(argument: str) -> str:
    """A path as typed, made absolute: pytest runs in the checkout. Flags stay as they are."""
    path, mark, rest = argument.partition("::")
    return (
        f"{Path(path).resolve()}{mark}{rest}"
        if not path.startswith("-") and Path(path).exists()
        else argument
    )


@contextmanager
def test_servers() -> Iterator[dict[str, str]]:
    """A PostgreSQL and a Valkey for one run; yields the variables that name them.

    DATABASE_URL and REDIS_URL replace them here too. Tests make and drop databases of their own there.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-test-") as folder:
        data = DataDirectory(Path(folder))
        data.create()
        started: list[Child] = []
        try:
            yield _start_servers(data, started)
        finally:
            for child in started:
                child.stop()
            processes.end(processes.of_instance(data.path))


def _start_servers(data: DataDirectory, started: list[Child]) -> dict[str, str]:
    chosen, _ = ports.choose(
        [ports.Wish(name, name, None) for name in (ports.POSTGRES, ports.VALKEY)], {}
    )
    password = "only-for-this-test-run"  # noqa: S105
    database, redis = external_database(), external_redis()
    if database is None:
        postgres.create(data.postgres, password)
        _start(
            postgres.program(data.postgres, chosen[ports.POSTGRES], options=FORGETFUL),
            data,
            started,
        )
    if redis is None:
        _start(valkey.program(data.valkey, chosen[ports.VALKEY], password), data, started)
    return {
        "TEST_DATABASE_URL": database or postgres.url(chosen[ports.POSTGRES], password),
        "TEST_REDIS_URL": redis or valkey.url(chosen[ports.VALKEY], password),
    }


def _start(program: Program, data: DataDirectory, started: list[Child]) -> None:
    child = children.Child(program, data)
    started.append(child)
    child.start()
    child.wait_ready()

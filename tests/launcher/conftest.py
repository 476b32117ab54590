"""A data directory of its own for every test, and servers that end with it."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher import processes
from launcher.children import Child, Program
from launcher.paths import DataDirectory
from tests.edge.nodes import free_port


@pytest.fixture(autouse=True)
def _servers_are_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    # tests/conftest.py names the servers of the test run; here it would mean "start none".
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)


@pytest.fixture
def data() -> Iterator[DataDirectory]:
    """Not pytest's tmp_path: that one is kept for a while, a cluster takes 40 MB."""
    with tempfile.TemporaryDirectory(prefix="skerry-launcher-") as folder:
        found = DataDirectory(Path(folder).resolve())
        found.create()
        yield found
        processes.end(processes.of_instance(found.path), grace_seconds=5.0)


@pytest.fixture
def start(data: DataDirectory) -> Iterator[Callable[[Program], Child]]:
    """Start a program, wait until it is healthy, stop it with the test."""
    started: list[Child] = []

    def run(program: Program) -> Child:
        child = Child(program, data)
        started.append(child)
        child.start()
        child.wait_ready()
        return child

    with contextlib.ExitStack() as stack:
        yield run
        for child in started:
            stack.callback(child.stop)


@pytest.fixture(name="free_port")
def _free_port() -> int:
    return free_port()

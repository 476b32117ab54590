"""What an upgrade of a node exchanges, and that nobody notices."""

import threading
from pathlib import Path

import pytest

from edge.runtime.binary import find_runtime
from tests.edge.bundles import Bundle, answering
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge

SCRIPTS = ("one", "two", "three")
NEXT_VERSION = "2099-01-01"


def other_runtime(folder: Path) -> Path:
    """The runtime under another version."""
    program, pinned = folder / "workerd", find_runtime().workerd
    said = f'#!/bin/sh\n[ "$1" = --version ] && exec echo "workerd {NEXT_VERSION}"\n'
    # Behind what the shell reads: the agent looks for compatibility flags in the binary's bytes.
    program.write_bytes(f'{said}exec {pinned} "$@"\n'.encode() + pinned.read_bytes())
    program.chmod(0o755)
    return program


def test_another_runtime_exchanges_every_cell_and_nobody_notices(
    gateway: Gateway, folder: Path, tmp_path: Path
) -> None:
    # The sandbox has no shell, which is what this runtime is.
    with running_node(gateway, folder, "upgraded", SKERRY_SANDBOX="off") as node:
        for name in SCRIPTS:
            node.deploy(name, Bundle(answering(name)))
        before, (front,) = set(node.pids("cell:")), node.pids("front")
        problems: list[object] = []
        over = threading.Event()
        visitor = threading.Thread(target=visit_all, args=(node, over, problems))
        visitor.start()
        node.stop_agent()
        node.configure(SKERRY_WORKERD=str(other_runtime(tmp_path)))
        node.start()
        until(lambda: not before & set(node.pids("cell:")), 60, "every cell is exchanged")
        over.set()
        visitor.join()
        assert problems == []
        assert node.status()["runtime_version"] == NEXT_VERSION
        assert len(node.pids("cell:")) == len(SCRIPTS)
        # What did not change was not started again.
        assert node.pids("front") == [front]
        assert node.events("keeper_started")[1:] == []


def visit_all(node: TestNode, over: threading.Event, problems: list[object]) -> None:
    while not over.is_set():
        for name in SCRIPTS:
            try:
                answer = node.visit(name)
                if answer.text != name:
                    problems.append(answer)
            except OSError as error:
                problems.append(error)


def test_the_same_again_exchanges_nothing(node: TestNode) -> None:
    for name in SCRIPTS:
        node.deploy(name, Bundle(answering(name)))
    before = node.pids("")
    node.stop_agent()
    node.start()
    # Whatever is to be exchanged is, before a deploy that comes after it.
    assert node.deploy("four", Bundle(answering("four")))["state"] == "live"
    assert set(before) <= set(node.pids(""))
    assert len(node.pids("cell:")) == len(SCRIPTS) + 1

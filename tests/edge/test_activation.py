"""A script that nobody visits is no process, one that everybody visits is several."""

import asyncio
import http.client
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge.agent.bundles import Bundles
from edge.agent.desired import read_slot
from edge.agent.sealing import Seal
from edge.agent.settings import half_of_the_cores
from edge.agent.state import Phase, Slot, SlotState, State
from edge.paths import NodePaths
from edge.wire import Fields
from tests.edge.bundles import Bundle, answering, host_of, slot
from tests.edge.gateway import Gateway
from tests.edge.nodes import Answer, TestNode, running_node, until
from tests.loops import run

pytestmark = pytest.mark.edge

COLD_VISITORS = 1000
IDLE_SCRIPTS = 5000
# From a visit until the process ends, with SKERRY_IDLE_SECONDS=1 (measured, 6.6 to 7.5): the front
# keeps its connection for five seconds, and the agent looks once a second.
REST_SECONDS = (6.0, 8.0)


@pytest.fixture(scope="module")
def brisk(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    """A node that stops what nobody visits after a second."""
    with running_node(
        gateway, folder, "brisk", SKERRY_IDLE_SECONDS="1", SKERRY_EGRESS_ALLOW="127.0.0.0/8"
    ) as node:
        yield node


def states(node: TestNode, name: str) -> list[object]:
    slots = node.status()["slots"]
    assert isinstance(slots, list)
    (wanted,) = {one["script_id"] for one in node.enrolled.slots.values() if one["name"] == name}
    return [cell["state"] for one in slots if one["script_id"] == wanted for cell in one["cells"]]


def until_idle(node: TestNode, name: str) -> None:
    until(lambda: states(node, name) == ["idle"], 30, f"{name} has no process")


def test_a_script_without_visitors_has_no_process_until_the_next_one(brisk: TestNode) -> None:
    assert brisk.deploy("quiet", Bundle(answering("here")))["state"] == "live"
    assert brisk.visit("quiet").text == "here"
    assert states(brisk, "quiet") == ["serving"]
    for _ in range(2):
        until_idle(brisk, "quiet")
        assert brisk.visit("quiet").text == "here"
        assert states(brisk, "quiet") == ["serving"]


def test_a_script_may_have_a_setting_of_its_own(brisk: TestNode) -> None:
    always = Bundle(answering("always"), scaling={"idle_seconds": 0, "max_cells": None})
    brisk.deploy("always", always)
    brisk.deploy("sometimes", Bundle(answering("sometimes")))
    until_idle(brisk, "sometimes")
    assert states(brisk, "always") == ["serving"]
    # A change of the setting alone starts nothing, and holds at once.
    before = set(brisk.pids("cell:"))
    always.scaling = {"idle_seconds": 1}
    assert brisk.deploy("always", always)["state"] == "live"
    assert set(brisk.pids("cell:")) <= before
    until_idle(brisk, "always")


COUNTING_STREAM = """
export default { fetch() {
  let left = 25;
  return new Response(new ReadableStream({ async pull(controller) {
    await new Promise((done) => setTimeout(done, 200));
    controller.enqueue(new TextEncoder().encode("tick\\n"));
    if (--left === 0) controller.close();
  } }));
} };"""


def test_an_open_answer_keeps_its_process(brisk: TestNode) -> None:
    brisk.deploy("stream", Bundle(COUNTING_STREAM))
    brisk.deploy("beside", Bundle(answering("beside")))
    answers: list[str] = []
    visitor = threading.Thread(target=lambda: answers.append(brisk.visit("stream").text))
    visitor.start()
    until_idle(brisk, "beside")
    assert visitor.is_alive()
    assert states(brisk, "stream") == ["serving"]
    visitor.join()
    assert answers == ["tick\n" * 25]
    until_idle(brisk, "stream")


def test_a_script_that_fetched_comes_to_rest(brisk: TestNode) -> None:
    """What it held open for that is closed again in the end."""
    brisk.deploy("target", Bundle(answering("target")))
    url = f"http://127.0.0.1:{brisk.http_port}/"
    source = f"""
export default {{ async fetch() {{
  const answer = await fetch("{url}", {{ headers: {{ "x-note": "1" }} }});
  return new Response(String(answer.status));
}} }};"""
    brisk.deploy("fetches", Bundle(source))
    assert brisk.visit("fetches").text == "404"  # the front's own page: nobody's hostname
    until_idle(brisk, "fetches")


def test_a_redeploy_of_a_script_at_rest(brisk: TestNode) -> None:
    brisk.deploy("renewed", Bundle(answering("old")))
    until_idle(brisk, "renewed")
    assert brisk.deploy("renewed", Bundle(answering("new")))["state"] == "live"
    assert brisk.visit("renewed").text == "new"
    until_idle(brisk, "renewed")
    assert brisk.deploy("renewed", None)["state"] == "withdrawn"
    assert brisk.visit("renewed").status == 404


SLEEPY_SCRIPTS = 24
SLEEPY_SECONDS = 24


def test_visitors_who_come_just_when_a_script_is_put_to_rest(brisk: TestNode) -> None:
    """Each comes back after a time that is as long as it takes until the script rests, or a bit
    more or less: before, while and after its process ends."""
    names = [f"sleepy-{number}" for number in range(SLEEPY_SCRIPTS)]
    for name in names:
        brisk.deploy(name, Bundle(answering(name)))
    over = threading.Event()
    problems: list[object] = []

    def visit_again_and_again(name: str) -> None:
        pauses = random.Random(name)
        while not over.wait(pauses.uniform(*REST_SECONDS)):
            try:
                answer = brisk.visit(name, "/", *pauses.choice((("GET",), ("POST", b"body"))))
                if (answer.status, answer.text) != (200, name):
                    problems.append(answer)
            except OSError as error:
                problems.append(error)

    before = len(brisk.events("script_rests"))
    threads = [threading.Thread(target=visit_again_and_again, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    time.sleep(SLEEPY_SECONDS)
    over.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(brisk.events("script_rests")) - before > SLEEPY_SCRIPTS


def test_a_thousand_first_visitors_all_get_their_answer(brisk: TestNode) -> None:
    # An instance that says who it is: all thousand waited for the same process.
    source = """
let instance;
export default { fetch() { instance ??= crypto.randomUUID(); return new Response(instance); } };"""
    brisk.deploy("rushed", Bundle(source))
    until_idle(brisk, "rushed")
    answers = run(rush(brisk, "rushed", COLD_VISITORS))
    assert [head for head, _ in answers if not head.startswith(b"HTTP/1.1 200 ")] == []
    assert len(answers) == COLD_VISITORS
    assert len({body for _, body in answers}) == 1


async def rush(node: TestNode, name: str, visitors: int) -> list[tuple[bytes, bytes]]:
    """Open all connections first, then ask on all of them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        opened = [
            await asyncio.open_connection("127.0.0.1", node.http_port) for _ in range(visitors)
        ]
        request = f"GET / HTTP/1.1\r\nHost: {host_of(name)}\r\nConnection: close\r\n\r\n"
        for _, writer in opened:
            writer.write(request.encode())
        answers = await asyncio.gather(*(reader.read() for reader, _ in opened))
        for _, writer in opened:
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return [(head, body) for head, _, body in (one.partition(b"\r\n\r\n") for one in answers)]


def test_first_visitors_wait_while_the_agent_is_dead(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "orphaned", SKERRY_IDLE_SECONDS="1") as node:
        node.deploy("cold", Bundle(answering("cold")))
        until_idle(node, "cold")
        node.kill_agent()
        answers: list[Answer] = []
        visitor = threading.Thread(target=lambda: answers.append(node.visit("cold")))
        visitor.start()
        until(lambda: node.open_sessions() == 1, what="the front has a request for the script")
        assert node.pids("cell:") == []
        node.start()
        visitor.join()
        assert [(one.status, one.text) for one in answers] == [(200, "cold")]


def test_a_cell_that_dies_waits_for_its_next_visitor(brisk: TestNode) -> None:
    mortal = Bundle(answering("alive"), scaling={"idle_seconds": 0})
    brisk.deploy("mortal", mortal)
    (pid,) = {cell["pid"] for cell in brisk.cells() if cell["version_id"] == mortal.version_id}
    os.kill(int(str(pid)), signal.SIGKILL)
    until_idle(brisk, "mortal")
    assert brisk.visit("mortal").text == "alive"


INSTANCE = """
let instance;
export default { fetch() {
  instance ??= crypto.randomUUID();
  for (let i = 0; i < 15000000; i++) Math.sqrt(i);
  return new Response(instance);
} };"""


def test_a_busy_script_gets_a_second_process_and_gives_it_back(brisk: TestNode) -> None:
    crowded = Bundle(INSTANCE, scaling={"idle_seconds": 1, "max_cells": 2})
    brisk.deploy("crowded", crowded)
    seen: set[str] = set()
    problems: list[object] = []
    with visitors(brisk, "crowded", 6, seen, problems):
        until(lambda: states(brisk, "crowded") == ["serving"] * 2, 30, "it has two processes")
        seen.clear()
        until(lambda: len(seen) == 2, 30, "both answer")
        assert states(brisk, "crowded") == ["serving"] * 2  # and not more than it may have
    assert problems == []
    until_idle(brisk, "crowded")


@contextmanager
def visitors(
    node: TestNode, name: str, count: int, seen: set[str], problems: list[object]
) -> Iterator[None]:
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            answer = node.visit(name)
            if answer.status == 200:
                seen.add(answer.text)
            else:
                problems.append(answer)

    threads = [threading.Thread(target=visit) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(("cores", "cells"), [(1, 1), (2, 2), (3, 2), (4, 2), (16, 8), (None, 1)])
def test_how_many_processes_a_busy_script_gets_without_a_setting(
    cores: int | None, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert half_of_the_cores() == cells


def test_visitors_go_to_the_process_with_fewer_of_them(brisk: TestNode) -> None:
    """One that stands still, to collect garbage for instance, so does not collect all of them."""
    source = INSTANCE.replace(
        "fetch() {",
        """async fetch(request) {
  const { pathname } = new URL(request.url);
  if (pathname === "/hold") return new Response(new ReadableStream({
    async pull(stream) {
      stream.enqueue(new TextEncoder().encode(`${instance}\\n`));
      await scheduler.wait(60_000);
    },
  }));
  if (pathname === "/which") return new Response(instance);""",
    )
    brisk.deploy("uneven", Bundle(source, scaling={"max_cells": 2}))
    seen: set[str] = set()
    problems: list[object] = []
    with visitors(brisk, "uneven", 6, seen, problems):
        until(lambda: len(seen) == 2, 60, "two processes answer")
    assert problems == []
    connection = http.client.HTTPConnection("127.0.0.1", brisk.http_port, timeout=30)
    connection.request("GET", "/hold", headers={"Host": host_of("uneven")})
    response = connection.getresponse()
    held = response.readline().decode().strip()
    others = {brisk.visit("uneven", "/which").text for _ in range(20)}
    connection.close()
    assert {held} | others == seen
    assert others == seen - {held}


def test_a_less_busy_script_keeps_one_process_of_two(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "calmer", SKERRY_IDLE_SECONDS="0") as node:
        node.deploy("crowded", Bundle(INSTANCE, scaling={"max_cells": 2}))
        problems: list[object] = []
        with visitors(node, "crowded", 6, set(), problems):
            until(lambda: states(node, "crowded") == ["serving"] * 2, 30, "it has two processes")
            # Both are taken over by an agent that starts while they work.
            node.kill_agent()
            node.start()
            assert states(node, "crowded") == ["serving"] * 2
        until(lambda: states(node, "crowded") == ["serving"], 40, "one of them is given back")
        assert problems == []


def test_five_thousand_scripts_at_rest(gateway: Gateway, folder: Path) -> None:
    """A node that comes back with a full disk: nothing of it is running, all of it answers."""
    with running_node(
        gateway, folder, "full", SKERRY_SLOTS=str(IDLE_SCRIPTS), SKERRY_PULL_SECONDS="5"
    ) as node:
        node.kill_everything()
        fill(node, IDLE_SCRIPTS)
        node.start()
        assert node.pids("cell:") == []
        for number in (0, IDLE_SCRIPTS // 2, IDLE_SCRIPTS - 1):
            assert node.visit(f"script-{number}").text == "one of many"
        assert len(node.pids("cell:")) == 3
        (keeper,) = node.pids("keeper")
        agent = node.agent_pid()
        descriptors = [len(os.listdir(f"/proc/{pid}/fd")) for pid in (keeper, agent)]
        assert max(descriptors) < IDLE_SCRIPTS + 100
        node.kill_agent()
        node.start()
        assert len(node.pids("cell:")) == 3
        assert node.visit("script-77").text == "one of many"


def fill(node: TestNode, scripts: int) -> None:
    """Write what so many deployments leave on a node's disk."""
    paths = NodePaths.of(node.folder)
    state = State(paths.database, Seal.of(paths.node_key))
    bundle = Bundle(answering("one of many"))
    Bundles(paths.modules).store(bundle.files())
    slots = [
        Slot(
            desired=read_slot(Fields(slot(f"script-{number}", number + 1, bundle, None), "slot")),
            live=None,
            number=number,
            state=SlotState.LIVE,
            reason=None,
            reported=True,
        )
        for number in range(scripts)
    ]
    state.save((replace(one, live=one.desired.versions[0]) for one in slots), watermark=scripts)
    for one in slots:
        cell = state.add_cell(one.script_id, bundle.version_id, "", one.number or 0)
        state.save_phase(cell, Phase.SERVING)
    state.close()

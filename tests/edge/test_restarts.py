"""Whatever is killed, visitors are served: each test breaks a node of its own."""

import contextlib
import http.client
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from edge.paths import NodePaths
from edge.proc import Identity
from edge.runtime.binary import CHECKOUT
from tests.edge.bundles import Bundle, Json, answering
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge

SCRIPTS = ("one", "two", "three")


@pytest.fixture
def own_node(gateway: Gateway, folder: Path, request: pytest.FixtureRequest) -> Iterator[TestNode]:
    name = request.node.name.removeprefix("test_")[:20]
    with running_node(gateway, folder, name) as node:
        for script in SCRIPTS:
            node.deploy(script, Bundle(answering(script)))
        yield node


def assert_serves(node: TestNode) -> None:
    for script in SCRIPTS:
        assert node.visit(script).text == script


def test_agent_killed_and_started_again(own_node: TestNode) -> None:
    cells, front, keeper = (own_node.pids(role) for role in ("cell:", "front", "keeper"))
    assert (len(cells), len(front), len(keeper)) == (3, 1, 1)
    own_node.kill_agent()
    assert_serves(own_node)
    own_node.start()
    assert_serves(own_node)
    assert own_node.pids("cell:") == cells
    assert own_node.pids("front") == front
    assert own_node.pids("keeper") == keeper
    # What is adopted is watched and exchanged like one's own.
    killed = Identity.of(cells[0])
    assert killed
    os.kill(killed.pid, signal.SIGKILL)
    # Its memory goes first, with what tells whose it was, and its sockets after that.
    until(lambda: not killed.alive(), what="it is gone")
    assert_serves(own_node)
    assert len(own_node.pids("cell:")) == 3
    assert own_node.deploy("one", Bundle(answering("newer")))["state"] == "live"
    assert own_node.visit("one").text == "newer"


def test_a_cell_whose_agent_was_killed_before_it_took_it_down(own_node: TestNode) -> None:
    """It serves whoever had waited, and has to live on."""
    cells = own_node.pids("cell:")
    own_node.kill_agent()
    database = NodePaths.of(own_node.folder).database
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("UPDATE cells SET pid = NULL, started = NULL, boot = NULL")
    own_node.start()
    assert own_node.pids("cell:") == cells
    assert_serves(own_node)
    own_node.kill_agent()
    own_node.start()
    assert own_node.pids("cell:") == cells


def test_agent_stopped_leaves_the_rest(own_node: TestNode) -> None:
    before = own_node.pids("")
    own_node.stop_agent()
    assert own_node.pids("") == before
    assert_serves(own_node)


def test_cell_that_died_while_the_agent_was_away(own_node: TestNode) -> None:
    own_node.kill_agent()
    for pid in own_node.pids("cell:"):
        os.kill(pid, signal.SIGKILL)
    own_node.start()
    assert_serves(own_node)


def test_agent_killed_in_a_drain_ends_the_old_cell_later(own_node: TestNode) -> None:
    own_node.deploy("one", Bundle(answering("newer")))
    own_node.kill_agent()
    own_node.start()
    assert own_node.visit("one").text == "newer"
    until(lambda: len(own_node.pids("cell:")) == 3, what="the old cell is gone")


def test_agent_killed_in_the_middle_of_deploys_loses_no_request(own_node: TestNode) -> None:
    moments = random.Random(3)
    failures: list[object] = []
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            try:
                answer = own_node.visit("one")
                if answer.status != 200:
                    failures.append(answer)
            except OSError as error:
                failures.append(error)

    visitor = threading.Thread(target=visit)
    visitor.start()
    for turn in range(4):
        bundle = Bundle(answering(f"turn {turn}"))
        decided = own_node.gateway.decide(own_node.enrolled, "one", bundle)
        push = threading.Thread(target=push_in_vain, args=(own_node, decided, bundle))
        push.start()
        time.sleep(moments.uniform(0, 0.25))
        own_node.kill_agent()
        push.join()
        own_node.start()
        until(partial(serves, own_node, "one", f"turn {turn}"), what="the node converges")
        until(lambda: len(own_node.pids("cell:")) == 3, what="nothing is left over")
    over.set()
    visitor.join()
    assert failures == []


def push_in_vain(node: TestNode, decided: Json, bundle: Bundle) -> None:
    """The agent is killed while it works on this."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        node.gateway.push(node.enrolled, decided, files=bundle.files())


def serves(node: TestNode, name: str, text: str) -> bool:
    return node.visit(name).text == text


def test_front_ended_by_any_signal_is_rebuilt_from_its_files(
    gateway: Gateway, folder: Path
) -> None:
    with running_node(gateway, folder, "rebuilt", SKERRY_MAX_CELLS="2") as node:
        node.deploy("one", Bundle(answering("one")))
        node.deploy("crowded", Bundle(CROWDED))
        grow(node)
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1):
            (before,) = node.pids("front")
            os.kill(before, number)
            began = time.monotonic()
            # The listening socket is held, so a visitor waits instead of being refused.
            assert node.visit("one").text == "one"
            seconds = time.monotonic() - began
            assert seconds < 5, f"{number.name}: the first answer came after {seconds:.2f} s"
            seen = {node.visit("crowded").text for _ in range(8)}
            assert len(seen) == 2, "both of its cells are asked in turn"
            until(partial(front_is_not, node, before), what="the old one has ended")
        # All of it was in the files: nothing had to be told to the new one.
        assert node.events("front_repaired") == []
        assert node.deploy("one", Bundle(answering("newer")))["state"] == "live"
        assert node.visit("one").text == "newer"


CROWDED = """
let instance;
export default { fetch(request) {
  instance ??= crypto.randomUUID();
  if (request.url.endsWith("?busy")) for (let i = 0; i < 3_000_000; i++) Math.sqrt(i);
  return new Response(instance);
} };"""


def grow(node: TestNode) -> None:
    """Visit a script until it has two cells."""
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            node.visit("crowded", "/?busy")

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    until(lambda: node.events("script_scaled"), 30, "it has two cells")
    over.set()
    for visitor in visitors:
        visitor.join()


def front_is_not(node: TestNode, pid: int) -> bool:
    return len(node.pids("front")) == 1 and node.pids("front") != [pid]


SPINNER = """
export default { fetch(request) {
  console.log("spins");
  for (;;) {}
} };"""


def test_front_killed_while_a_cell_is_blocked(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "blocked", SKERRY_CELL_CPU_SECONDS="0.3") as node:
        node.deploy("spinner", Bundle(SPINNER))
        # The second block in a row lasts ten seconds.
        until(partial(spins_until_blocked, node, 2), 60, "it is blocked again")
        times = spun(node)
        (before,) = node.pids("front")
        os.kill(before, signal.SIGKILL)
        assert node.visit("spinner").status == 503
        assert node.pids("front") != [before]
        assert spun(node) == times, "nobody came to the cell"
        assert node.events("front_repaired") == []


def spins_until_blocked(node: TestNode, times: int) -> bool:
    if len(node.events("cell_blocked")) < times:
        node.visit("spinner")
    return len(node.events("cell_blocked")) == times


def spun(node: TestNode) -> int:
    return sum(line["line"] == "spins" for line in node.events("log_line"))


SLOW_STREAM = """
export default { fetch() {
  let i = 0;
  return new Response(new ReadableStream({ async pull(controller) {
    await new Promise((done) => setTimeout(done, 100));
    controller.enqueue(new TextEncoder().encode(`${i}\\n`));
    if (++i === 30) controller.close();
  } }));
} };"""


def test_front_that_is_asked_to_end_finishes_beside_the_next_one(
    gateway: Gateway, folder: Path
) -> None:
    with running_node(gateway, folder, "leaving", SKERRY_DRAIN_SECONDS="30") as node:
        node.deploy("one", Bundle(answering("one")))
        node.deploy("stream", Bundle(SLOW_STREAM))
        (before,) = node.pids("front")
        with ThreadPoolExecutor(1) as pool:
            visit = pool.submit(node.visit, "stream")
            until(lambda: node.open_sessions() == 1, what="the stream is open")
            os.kill(before, signal.SIGUSR1)
            assert node.visit("one").text == "one"
            assert before in node.pids("front")
            assert not visit.done()
            assert visit.result().text == "".join(f"{number}\n" for number in range(30))
        until(partial(front_is_not, node, before), what="the old one has ended")


def hang(pid: int) -> None:
    """Each of its threads is stopped, so that none accepts a visitor any more."""
    os.kill(pid, signal.SIGSTOP)
    tasks = list(Path(f"/proc/{pid}/task").glob("*/stat"))
    until(lambda: all(one.read_text().rpartition(")")[2].split()[0] == "T" for one in tasks))


def test_front_that_hangs_is_replaced(own_node: TestNode) -> None:
    (before,) = own_node.pids("front")
    hang(before)
    assert_serves(own_node)
    until(partial(front_is_not, own_node, before), what="the one that hung is gone")
    assert [event["health"] for event in own_node.events("front_lost")] == ["hangs"]
    assert own_node.deploy("one", Bundle(answering("newer")))["state"] == "live"
    assert own_node.visit("one").text == "newer"


def test_front_that_hung_while_the_agent_was_away(own_node: TestNode) -> None:
    (before,) = own_node.pids("front")
    own_node.kill_agent()
    hang(before)
    own_node.start()
    assert_serves(own_node)
    until(partial(front_is_not, own_node, before), what="the one that hung is gone")


def test_keeper_killed(own_node: TestNode) -> None:
    (before,) = own_node.pids("keeper")
    os.kill(before, signal.SIGKILL)
    until(lambda: own_node.events("keeper_started")[1:], what="another keeper runs")
    assert_serves(own_node)
    # Handing a socket over must not make it blocking: that is shared, and accept() would hang.
    assert [one for pid in own_node.pids("") for one in blocking_sockets(pid)] == []
    # It holds the same sockets: a front and an agent that start now find them.
    own_node.kill_agent()
    os.kill(own_node.pids("front")[0], signal.SIGKILL)
    own_node.start()
    assert_serves(own_node)


def blocking_sockets(pid: int) -> list[str]:
    """Sockets of a process whose calls wait."""
    found = []
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        flags = next(line for line in entry.read_text().splitlines() if line.startswith("flags"))
        target = os.readlink(f"/proc/{pid}/fd/{entry.name}")
        if target.startswith("socket:") and not int(flags.split()[1], 8) & os.O_NONBLOCK:
            found.append(target)
    return found


def test_keeper_and_agent_killed(own_node: TestNode) -> None:
    own_node.kill_agent()
    os.kill(own_node.pids("keeper")[0], signal.SIGKILL)
    assert_serves(own_node)
    own_node.start()
    assert_serves(own_node)
    assert len(own_node.pids("cell:")) == 3


def test_everything_killed_and_the_control_plane_away(own_node: TestNode) -> None:
    """As after a boot: no process, nothing in /tmp, scripts that were at rest and others."""
    rests = Bundle(answering("rested"), scaling={"idle_seconds": 1})
    own_node.deploy("rests", rests)
    own_node.deploy("one", None)
    own_node.deploy("two", Bundle("broken();"))
    until(lambda: own_node.events("script_rests"), 30, "one of them is at rest")
    own_node.kill_everything()
    assert not NodePaths.of(own_node.folder).doors.exists()
    own_node.gateway.stop()
    try:
        own_node.start()
        # The version that does not start is tried once more, which is over in a moment.
        until(lambda: own_node.pids("cell:") == [], what="no script has a process")
        assert own_node.visit("one").status == 404
        for script in ("two", "three"):
            assert own_node.visit(script).text == script
        assert own_node.visit("rests").text == "rested"
    finally:
        own_node.gateway.start()
    until(lambda: own_node.events("control_plane_found"), what="the node finds its way back")


def test_a_cleaner_of_tmp_while_the_node_runs(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "cleaned", SKERRY_EGRESS_ALLOW="127.0.0.0/8") as node:
        fetching = f"""
export default {{ async fetch() {{
  try {{
    const answer = await fetch("http://127.0.0.1:{node.http_port}/");
    return new Response(String(answer.status));
  }} catch (error) {{
    return new Response(String(error));
  }}
}} }};"""
        # The front's own page: this is nobody's hostname.
        reached = "404"
        node.deploy("old", Bundle(fetching))
        assert node.visit("old").text == reached
        (first,) = node.pids("cell:")
        paths = NodePaths.of(node.folder)

        paths.egress_socket.unlink()
        until(lambda: node.visit("old").text == reached, 30, "the way out is there again")
        assert node.pids("cell:") == [first]

        shutil.rmtree(paths.doors)
        assert node.deploy("new", Bundle(fetching))["state"] == "live"
        assert node.visit("new").text == reached
        until(lambda: node.visit("old").text == reached, 30, "it has a way out again")
        until(lambda: len(node.pids("cell:")) == 2, 30, "its old cell is gone")
        assert first not in node.pids("cell:")
        assert len(node.pids("egress")) == 2
        # A new agent takes this for what it is: nothing is exchanged once more.
        cells = node.pids("cell:")
        node.kill_agent()
        node.start()
        assert node.visit("old").text == reached
        assert node.pids("cell:") == cells


def test_a_node_that_was_away_pulls_what_it_missed(own_node: TestNode) -> None:
    own_node.kill_everything()
    for script, bundle in (("one", Bundle(answering("missed"))), ("two", None)):
        own_node.gateway.decide(own_node.enrolled, script, bundle)
    own_node.start()
    until(lambda: own_node.visit("one").text == "missed", what="the new version is there")
    until(lambda: own_node.visit("two").status == 404, what="the other is withdrawn")


def test_stop_ends_everything_and_start_brings_it_back(own_node: TestNode) -> None:
    done = own_node.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert own_node.pids("") == []
    own_node.start()
    assert_serves(own_node)


def test_strays_are_ended_and_strangers_are_not(own_node: TestNode) -> None:
    own_node.kill_agent()
    marked = {"SKERRY_NODE": str(own_node.folder.resolve()), "SKERRY_ROLE": "cell:c999"}
    stray = os.posix_spawn("/bin/sleep", ["sleep", "60"], marked)
    other = {"SKERRY_NODE": "/some/other/node", "SKERRY_ROLE": "cell:c999"}
    stranger = os.posix_spawn("/bin/sleep", ["sleep", "60"], other)
    try:
        own_node.start()
        assert os.waitstatus_to_exitcode(os.waitpid(stray, 0)[1]) == -signal.SIGKILL
        assert os.waitpid(stranger, os.WNOHANG) == (0, 0)
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)


def test_one_agent_per_node(own_node: TestNode) -> None:
    second = subprocess.run(own_node.command(), cwd=CHECKOUT, capture_output=True, timeout=20)
    assert second.returncode == 1
    assert b"An agent runs on" in second.stdout
    assert_serves(own_node)

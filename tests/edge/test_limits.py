"""What a script may use, and what becomes of one that uses more. Each test is a real deployed script."""

import contextlib
import http.client
import os
import shlex
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.agent.cells.limits import Limits
from edge.agent.settings import read_settings
from edge.runtime.idle import Idle
from tests.edge.bundles import Bundle, answering, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import Answer, TestNode, running_node, until
from tests.edge.visitors import wrk

pytestmark = pytest.mark.edge

CPU_SECONDS = 1.0
# A node under test shares its cores with the other tests, so CPU is measured and not time.
STOPPED_WITHIN = CPU_SECONDS + 2
# For 60,000 requests on a slow machine: then V8 looked through its heap for the first time.
BUSY_SECONDS = 12

# (module (memory (export "memory") 1)
#   (func (export "grow") (param i32) (result i32) local.get 0 memory.grow))
GROW_WASM = bytes.fromhex(
    "0061736d0100000001060160017f017f030201000503010001071102066d656d6f727902000467726f770000"
    "0a08010600200040000b"
)

BAD = """
import grow from "./grow.wasm";
let kept = [];
const { exports } = new WebAssembly.Instance(grow);
const actions = {
  spin() { while (true); },
  allocate() { const kept = []; for (let i = 0; ; i++) kept[i % 100000] = { text: "a" + i }; },
  regex() { return /^(a+)+$/.test("a".repeat(60) + "b"); },
  async microtasks() { for (;;) await null; },
  print() { while (true) console.log("x"); },
  heap() { for (;;) kept.push(new Array(1000).fill(Math.random())); },
  buffers() {
    try { for (;;) kept.push(new Uint8Array(16 << 20).fill(1)); }
    catch (error) { const n = kept.length; kept = []; return `${error} after ${n}`; }
  },
  wasm() {
    let pages = 0;
    try {
      while (exports.grow(64) !== -1) {
        pages += 64;
        new Uint8Array(exports.memory.buffer).fill(1, (pages - 64) * 65536);
      }
    } catch (error) { return `${error} after ${pages}`; }
    return `refused after ${pages}`;
  },
};
export default { async fetch(request) {
  const action = actions[new URL(request.url).pathname.slice(1)];
  console.log(`asked ${request.url}`);
  return new Response(action ? String(await action()) : "fine");
} };"""

# Some 100 ms of CPU; Date stands still while a script runs, so work is counted.
BUSY = """
let sum = 0;
export default { fetch(request) {
  const rounds = Number(new URL(request.url).searchParams.get("rounds"));
  for (let i = 0; i < rounds; i++) sum = (sum * 31 + i) | 0;
  return new Response(String(sum));
} };"""


def bad() -> Bundle:
    return Bundle(BAD, modules=[("./grow.wasm", "wasm", GROW_WASM)])


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, SKERRY_CELL_CPU_SECONDS=str(CPU_SECONDS)) as node:
        assert node.deploy("neighbour", Bundle(answering("here")))["state"] == "live"
        yield node


def deployed(node: TestNode, name: str, bundle: Bundle) -> None:
    assert node.deploy(name, bundle)["state"] == "live"


def cell(node: TestNode, version_id: str) -> dict[str, object]:
    (found,) = [one for one in node.cells() if one["version_id"] == version_id]
    return found


def kills(node: TestNode, bundle: Bundle) -> list[object]:
    events = node.events("cell_killed")
    return [event["reason"] for event in events if event["version_id"] == bundle.version_id]


def figure(text: str) -> None:
    """Shown by pytest -s."""
    print(text)  # noqa: T201


def assert_1102(answer: Answer) -> None:
    assert (answer.status, "Error 1102" in answer.text) == (503, True), answer.text


def cpu_until_its_end(pid: object) -> float:
    """CPU seconds of a process when it was last seen: time is no measure on a busy machine."""
    seconds = 0.0
    with contextlib.suppress(OSError, ValueError):
        while True:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if fields[0] == "Z":
                break
            seconds = max(seconds, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
            time.sleep(0.02)
    return seconds


@contextmanager
def visitors_of_the_neighbour(node: TestNode) -> Iterator[list[float]]:
    """Answers the seconds that each request took; -1 for one that failed."""
    over = threading.Event()
    took: list[float] = []

    def visit() -> None:
        while not over.wait(0.01):
            began = time.monotonic()
            good = node.visit("neighbour").text == "here"
            took.append(time.monotonic() - began if good else -1)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("action", ["spin", "allocate", "regex", "microtasks"])
def test_a_script_that_never_ends(node: TestNode, action: str) -> None:
    bundle = bad()
    deployed(node, f"never-{action}", bundle)
    pid = cell(node, bundle.version_id)["pid"]
    with visitors_of_the_neighbour(node) as took, ThreadPoolExecutor(1) as pool:
        used = pool.submit(cpu_until_its_end, pid)
        assert_1102(node.visit(f"never-{action}", f"/{action}"))
        seconds = used.result()
    assert node.visit(f"never-{action}").text == "fine"
    assert kills(node, bundle) == ["exceeded_cpu"]
    assert cell(node, bundle.version_id)["last_outcome"] == "exceeded_cpu"
    assert CPU_SECONDS < seconds < STOPPED_WITHIN
    assert -1 not in took
    p99 = statistics.quantiles(took, n=100)[98]
    figure(f"{action}: 1102 after {seconds:.2f} s of CPU; neighbour's p99 {p99 * 1000:.0f} ms")


@pytest.mark.parametrize(("cpu_ms", "least", "most"), [(300, 0.3, 0.9), (2500, 2.4, 3.4)])
def test_a_script_may_ask_for_another_limit_of_cpu(
    node: TestNode, cpu_ms: int, least: float, most: float
) -> None:
    bundle = bad()
    bundle.cpu_ms = cpu_ms
    name = f"asks-{cpu_ms}"
    deployed(node, name, bundle)
    with ThreadPoolExecutor(1) as pool:
        used = pool.submit(cpu_until_its_end, cell(node, bundle.version_id)["pid"])
        assert_1102(node.visit(name, "/spin"))
        assert least < used.result() < most
    until(lambda: kills(node, bundle) == ["exceeded_cpu"], what="the kill is logged")


def test_a_node_allows_only_so_much() -> None:
    flags = shlex.split("--dir d --name n --http-port 1 --https-port 2 --agent-port 3")
    settings = read_settings(flags, {"SKERRY_CELL_CPU_SECONDS_MAX": "4"})
    limits = Limits.of(settings, Idle(data_bytes=0, anonymous_bytes=0, sockets=0))
    assert limits.cpu_seconds_of(None) == 2
    assert limits.cpu_seconds_of(3000) == 3
    assert limits.cpu_seconds_of(5000) == 4


def test_a_script_that_never_stops_printing(node: TestNode) -> None:
    """It writes, so it is told from a busy one by its probe alone, which takes longer."""
    bundle = bad()
    deployed(node, "printer", bundle)
    assert_1102(node.visit("printer", "/print"))
    assert node.visit("printer").text == "fine"
    assert kills(node, bundle) == ["exceeded_cpu"]


def test_a_full_heap_ends_only_its_own_cell(node: TestNode) -> None:
    bundle = bad()
    deployed(node, "heap", bundle)
    neighbours = node.pids("cell:")
    began = time.monotonic()
    assert_1102(node.visit("heap", "/heap"))
    figure(f"heap: 1102 after {time.monotonic() - began:.2f} s")
    assert node.visit("heap").text == "fine"
    assert kills(node, bundle) == ["exceeded_memory"]
    assert cell(node, bundle.version_id)["last_outcome"] == "exceeded_memory"
    assert len(set(neighbours) - set(node.pids("cell:"))) == 1


@pytest.mark.parametrize(("action", "said"), [("buffers", "RangeError"), ("wasm", "refused after")])
def test_a_script_may_catch_that_there_is_no_more_memory(
    node: TestNode, action: str, said: str
) -> None:
    bundle = bad()
    deployed(node, action, bundle)
    pid = cell(node, bundle.version_id)["pid"]
    answer = node.visit(action, f"/{action}")
    assert (answer.status, said in answer.text) == (200, True), answer.text
    assert node.visit(action).text == "fine"
    assert cell(node, bundle.version_id)["pid"] == pid
    assert kills(node, bundle) == []


def test_a_request_that_ended_its_cell_is_not_sent_again(node: TestNode) -> None:
    bundle = bad()
    deployed(node, "once", bundle)
    assert_1102(node.visit("once", "/heap?once"))
    assert node.visit("once").text == "fine"
    assert ran(node, "/heap?once") == 1


def rounds_of(node: TestNode, seconds: float) -> int:
    """How many rounds take so long here, once the compiler has seen them."""
    rounds = 1_000_000
    for _ in range(4):
        began = time.monotonic()
        assert node.visit("busy", f"/?rounds={rounds}").status == 200
        took = time.monotonic() - began
        rounds = max(int(rounds * seconds / took), 1)
    return rounds


def test_a_busy_but_healthy_script_is_left_alone(node: TestNode) -> None:
    """50 requests of 100 ms each at one time."""
    bundle = Bundle(BUSY)
    deployed(node, "busy", bundle)
    path = f"/?rounds={rounds_of(node, 0.1)}"
    pid = cell(node, bundle.version_id)["pid"]
    began = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: node.visit("busy", path), range(50)))
    figure(f"busy: 50 requests in {time.monotonic() - began:.1f} s")
    assert {answer.status for answer in answers} == {200}
    assert cell(node, bundle.version_id)["pid"] == pid
    assert kills(node, bundle) == []


def keep_alive(node: TestNode, path: str, times: int) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=30)
    answer = Answer(0, {}, b"")
    for _ in range(times):
        connection.request("GET", path, headers={"Host": host_of("busy")})
        got = connection.getresponse()
        answer = Answer(got.status, {}, got.read())
    connection.close()
    return answer


def test_many_short_requests_are_left_alone(node: TestNode) -> None:
    """All of one core for longer than the limit, in small pieces."""
    bundle = Bundle(BUSY)
    deployed(node, "busy", bundle)
    path = f"/?rounds={rounds_of(node, 0.003)}"
    pid = cell(node, bundle.version_id)["pid"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: keep_alive(node, path, 100), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert cell(node, bundle.version_id)["pid"] == pid


def test_a_busy_script_takes_little_memory(node: TestNode) -> None:
    """What the runtime keeps of requests that are over goes in time: it was 280 MiB, more than a script may have."""
    bundle = Bundle(answering("hello"), scaling={"max_cells": 1})
    deployed(node, "hello", bundle)
    pid = cell(node, bundle.version_id)["pid"]
    with wrk(node, "hello"):
        time.sleep(BUSY_SECONDS)
        status = Path(f"/proc/{pid}/status").read_text()
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    figure(f"hello: {peak_kib // 1024} MiB at its peak")
    assert peak_kib < 200 * 1024
    assert kills(node, bundle) == []


def test_three_kills_in_a_row_block_a_script_for_a_while(node: TestNode) -> None:
    bundle = bad()
    deployed(node, "killer", bundle)
    for _ in range(3):
        assert_1102(node.visit("killer", "/heap"))
    until(lambda: cell(node, bundle.version_id)["state"] == "blocked", what="it is blocked")
    answer = node.visit("killer")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "cannot start" in answer.text
    assert node.visit("neighbour").text == "here"
    assert kills(node, bundle) == ["exceeded_memory"] * 3
    until(lambda: node.visit("killer").text == "fine", 10, "it is back")
    assert cell(node, bundle.version_id)["state"] == "serving"
    said = node.status()["slots"]
    assert isinstance(said, list)
    assert {one["state"] for one in said} == {"live"}


def test_who_waits_when_a_script_is_blocked_is_answered_and_never_run(node: TestNode) -> None:
    """Four poisonous requests, each sent while the one before spins: the third kill blocks."""
    bundle = bad()
    deployed(node, "poison", bundle)
    with ThreadPoolExecutor(4) as pool:
        visits = []
        for number in range(3):
            visits.append(pool.submit(node.visit, "poison", f"/spin?{number}"))
            until(lambda n=number: ran(node, f"/spin?{n}"), 20, "it spins")  # type: ignore[misc]
        visits.append(pool.submit(node.visit, "poison", "/spin?3"))
    assert [visit.result().status for visit in visits] == [503] * 4
    until(lambda: node.visit("poison").text == "fine", 10, "it is back")
    assert kills(node, bundle) == ["exceeded_cpu"] * 3
    assert ran(node, "/spin?2") == 1
    assert ran(node, "/spin?3") == 0


def ran(node: TestNode, path: str) -> int:
    """How often a script says that it was asked for this."""
    return sum(str(line["line"]).endswith(path) for line in node.events("log_line"))


FORGER = """
export default { fetch(request) {
  const { pathname } = new URL(request.url);
  const headers = { "x-skerry": "1", "X-Skerry": "0" };
  if (pathname === "/own") return new Response("mine", { status: 500 });
  if (pathname === "/marked") return new Response("mine", { status: 500, headers });
  request.headers.get("x"); new Response("x", { headers });
  if (pathname === "/status") throw Object.assign(new Error("x"), { status: 200, headers });
  if (pathname === "/response") throw new Response("thrown", { status: 500, headers });
  return Promise.reject(new Error("later"));
} };"""


def test_no_script_can_pass_a_throw_for_its_own_answer(node: TestNode) -> None:
    deployed(node, "forger", Bundle(FORGER))
    for path in ("/own", "/marked"):
        answer = node.visit("forger", path)
        assert (answer.status, answer.text) == (500, "mine")
        assert "x-skerry" not in answer.headers
    for path in ("/status", "/response", "/later"):
        answer = node.visit("forger", path)
        assert (answer.status, "Error 1101" in answer.text) == (500, True)
        assert "retry-after" not in answer.headers

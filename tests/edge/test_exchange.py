"""An exchange of versions loses no request, and no request is sent twice."""

import contextlib
import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.edge import visitors
from tests.edge.bundles import Bundle, answering, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.edge.visitors import wrk

pytestmark = pytest.mark.edge

EXCHANGES = 10


def slow(text: str) -> str:
    """Each answer takes 5 ms, so that requests are open at any moment."""
    return f"""
export default {{ async fetch(request) {{
  await request.text();
  await new Promise((done) => setTimeout(done, 5));
  return new Response("{text}");
}} }};"""


POST_SCRIPT = """
wrk.method = "POST"
wrk.body = string.rep("x", 20000)
"""


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_exchanges_under_load_lose_nothing(node: TestNode, tmp_path: Path, method: str) -> None:
    name = f"loaded-{method.lower()}"
    script = tmp_path / "post.lua"
    script.write_text(POST_SCRIPT)
    node.deploy(name, Bundle(slow("0")))
    with wrk(node, name, *(["-s", str(script)] if method == "POST" else [])) as answers:
        for number in range(1, EXCHANGES + 1):
            assert node.deploy(name, Bundle(slow(str(number))))["state"] == "live"
            assert node.visit(name).text == str(number)
    assert answers[0] > 500
    until(lambda: len(serving(node, name)) == 1, what="only the newest cell is left")


REDEPLOYS = 50
CROWD = {
    "POST": 2,
    "download": 3,
    "upload": 1,
    "slow upload": 1,
    "events": 3,
    "WebSocket": 3,
}


def test_fifty_redeploys_while_everybody_visits(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "visited", SKERRY_DRAIN_SECONDS="60") as visited:
        visited.deploy("everything", Bundle(visitors.script(0)))
        with (
            wrk(visited, "everything") as answers,
            visitors.crowd(visited, "everything", CROWD) as crowd,
        ):
            for version in range(1, REDEPLOYS + 1):
                said = visited.deploy("everything", Bundle(visitors.script(version)))
                assert said["state"] == "live", said
                crowd.deployed(version)
                assert visited.visit("everything").text == str(version)
        assert crowd.failures == []
        assert answers[0] > 500
        few = {kind: crowd.finished[kind] for kind in CROWD if crowd.finished[kind] < 2}
        assert few == {}
        # Whatever takes longer than an exchange was finished by the cell that had begun with it.
        untested = [kind for kind in CROWD if kind != "POST" and crowd.outlived[kind] == 0]
        assert untested == []
        assert visited.events("sessions_cut") == []
        until(lambda: len(visited.cells()) == 1, 30, "every old cell has ended")


def serving(node: TestNode, name: str) -> list[object]:
    slots = node.status()["slots"]
    assert isinstance(slots, list)
    script_id = next(one["script_id"] for one in slots if one["generation"] == newest(node, name))
    return [cell for one in slots if one["script_id"] == script_id for cell in one["cells"]]


def newest(node: TestNode, name: str) -> object:
    return next(one for one in node.enrolled.slots.values() if one["name"] == name)["generation"]


def test_who_waits_for_the_old_cell_to_start_is_answered_by_it(node: TestNode) -> None:
    """It died so often that it pauses before its next start, and is exchanged meanwhile."""
    old = Bundle(answering("old"))
    node.deploy("pausing", old)
    for _ in range(6):
        assert node.visit("pausing").text == "old"
        pid = pid_of(node, old)
        assert pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid_of(node, old) is None, what="it is dead")
    with ThreadPoolExecutor(1) as pool:
        visit = pool.submit(node.visit, "pausing")
        until(lambda: node.open_sessions() == 1, what="the visitor waits for the old cell")
        node.deploy("pausing", Bundle(answering("new")))
        assert node.visit("pausing").text == "new"
        answer = visit.result()
    assert (answer.status, answer.text) == (200, "old")


WAITING = """
export default { async fetch(request, env, context) {
  context.waitUntil((async () => {
    await new Promise((done) => setTimeout(done, 800));
    console.log("late work is done");
  })());
  return new Response("answered");
} };"""


def test_work_after_the_answer_is_finished_too(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "lingering", SKERRY_LINGER_SECONDS="2") as lingering:
        lingering.deploy("late", Bundle(WAITING))
        assert lingering.visit("late").text == "answered"
        lingering.deploy("late", Bundle(slow("new")))
        assert lingering.visit("late").text == "new"
        until(
            lambda: [
                line for line in lingering.events("log_line") if line["line"] == "late work is done"
            ],
            what="the old cell lived on for it",
        )


def pid_of(node: TestNode, bundle: Bundle) -> int | None:
    (cell,) = [cell for cell in node.cells() if cell["version_id"] == bundle.version_id]
    return int(str(cell["pid"])) if cell["pid"] else None


BUSY_AFTERWARDS = """
const turn = () => new Promise((done) => setTimeout(done, 1));
export default { async fetch(request, env, context) {
  context.waitUntil((async () => {
    for (let i = 0; i < 150; i++) {
      for (let j = 0; j < 3_000_000; j++) Math.sqrt(j);
      await turn();
    }
    console.log("late work is done");
  })());
  return new Response("answered");
} };"""


@pytest.fixture(scope="module")
def patient(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    """Its old cells have time, and linger for no more than a moment when their work is done."""
    settings = {
        "SKERRY_DRAIN_SECONDS": "60",
        "SKERRY_LINGER_SECONDS": "0.1",
        "SKERRY_EGRESS_ALLOW": "127.0.0.0/8",
    }
    with running_node(gateway, folder, "patient", **settings) as node:
        yield node


def test_work_that_computes_after_the_answer_goes_on(patient: TestNode) -> None:
    old = Bundle(BUSY_AFTERWARDS)
    patient.deploy("busy", old)
    assert patient.visit("busy").text == "answered"
    patient.deploy("busy", Bundle(slow("new")))
    until(lambda: not has_cell(patient, old), 50, "the old cell ends")
    assert late_work(patient, old)


def test_work_that_waits_for_somebody_after_the_answer_goes_on(patient: TestNode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        old = Bundle(
            f"""
export default {{ async fetch(request, env, context) {{
  context.waitUntil((async () => {{
    await fetch("http://127.0.0.1:{server.getsockname()[1]}/");
    console.log("late work is done");
  }})());
  return new Response("answered");
}} }};"""
        )
        patient.deploy("asks", old)
        beside = Bundle(slow("beside"))
        patient.deploy("beside", beside)
        assert patient.visit("asks").text == "answered"
        waiting, _ = server.accept()
        with waiting:
            for name in ("asks", "beside"):
                patient.deploy(name, Bundle(slow("new")))
            until(lambda: not has_cell(patient, beside), 30, "what has nothing to do has ended")
            assert has_cell(patient, old)
            waiting.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        until(lambda: late_work(patient, old), 30, "it is done")


def has_cell(node: TestNode, bundle: Bundle) -> bool:
    return any(cell["version_id"] == bundle.version_id for cell in node.cells())


def late_work(node: TestNode, bundle: Bundle) -> bool:
    lines = [line for line in node.events("log_line") if line["line"] == "late work is done"]
    return any(line["version_id"] == bundle.version_id for line in lines)


def test_an_answer_that_only_an_older_front_has_open_is_finished(
    gateway: Gateway, folder: Path
) -> None:
    with running_node(gateway, folder, "fronts", SKERRY_DRAIN_SECONDS="20") as fronts:
        old = Bundle(STREAM)
        fronts.deploy("stream", old)
        with ThreadPoolExecutor(1) as pool:
            visit = pool.submit(fronts.visit, "stream")
            until(lambda: fronts.open_sessions() == 1, what="it is open")
            os.kill(fronts.pids("front")[0], signal.SIGUSR1)
            assert fronts.deploy("stream", Bundle(slow("new")))["state"] == "live"
            # A front that starts this moment may have read the files of the moment before.
            until(lambda: fronts.visit("stream").text == "new", 30, "the new version answers")
            assert visit.result().text == "".join(f"{number}\n" for number in range(10))
        until(lambda: not has_cell(fronts, old), 30, "the old cell ends")


STREAM = """
export default { async fetch() {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  (async () => {
    for (let i = 0; i < 10; i++) {
      await writer.write(new TextEncoder().encode(`${i}\\n`));
      await new Promise((done) => setTimeout(done, 150));
    }
    await writer.close();
  })();
  return new Response(readable);
} };"""


def test_an_open_answer_finishes_on_the_old_cell(node: TestNode) -> None:
    old = Bundle(STREAM)
    node.deploy("stream", old)
    answers: list[str] = []
    visitor = threading.Thread(target=lambda: answers.append(node.visit("stream").text))
    visitor.start()
    time.sleep(0.3)
    node.deploy("stream", Bundle(slow("new")))
    assert node.visit("stream").text == "new"
    assert [cell["state"] for cell in node.cells() if cell["version_id"] == old.version_id] == [
        "draining"
    ]
    visitor.join()
    assert answers == ["".join(f"{number}\n" for number in range(10))]
    until(lambda: not has_cell(node, old), what="the old cell ends once nothing is open")


ENDLESS = """
const later = (ms) => new Promise((done) => setTimeout(done, ms));

function events() {
  let i = 0;
  const body = new ReadableStream({ async pull(controller) {
    await later(100);
    controller.enqueue(new TextEncoder().encode(`id: ${i++}\\n\\n`));
  } });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

function socket() {
  const [client, server] = Object.values(new WebSocketPair());
  server.accept();
  server.addEventListener("message", (event) => server.send(event.data));
  return new Response(null, { status: 101, webSocket: client });
}

export default { fetch: (request) => request.headers.has("upgrade") ? socket() : events() };
"""


def test_what_never_ends_is_cut_at_the_deadline(node: TestNode) -> None:
    old = Bundle(ENDLESS)
    node.deploy("endless", old)
    raw = socket.create_connection(("127.0.0.1", node.http_port), 30)
    stream = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=30)
    url = f"ws://{host_of('endless')}/"
    with contextlib.closing(stream), connect(url, sock=raw, proxy=None) as echo:
        stream.request("GET", "/", headers={"Host": host_of("endless")})
        answer = stream.getresponse()
        assert answer.readline() == b"id: 0\n"
        began = time.monotonic()
        node.deploy("endless", Bundle(slow("new")))
        echo.send("still there")
        assert echo.recv(30) == "still there"
        assert node.visit("endless").text == "new"
        with pytest.raises(ConnectionClosed):
            echo.recv(30)
        # SKERRY_DRAIN_SECONDS is 3 here, and began when the new cell was up.
        assert time.monotonic() - began > 3
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    until(lambda: not has_cell(node, old), what="the old cell is gone")


FRAGILE = """
export default { async fetch(request) {
  console.log("got", request.method);
  if (request.method === "GET") return new Response("alive");
  await request.text();
  const body = new TransformStream();
  const writer = body.writable.getWriter();
  if (request.headers.has("x-half")) writer.write(new TextEncoder().encode("half"));
  const answer = new Response(body.readable, { headers: { "x-begun": "yes" } });
  const forever = new Promise((done) => setTimeout(done, 600_000));
  if (!request.headers.has("x-half")) await forever;
  return answer;
} };"""


@pytest.mark.parametrize("moment", ["half the body", "no answer yet", "half the answer"])
def test_a_request_at_a_cell_that_dies_is_not_sent_again(node: TestNode, moment: str) -> None:
    bundle = Bundle(FRAGILE)
    name = moment.replace(" ", "-")
    node.deploy(name, bundle)

    def said(method: str) -> int:
        lines = node.events("log_line")
        mine = [line["line"] for line in lines if line["version_id"] == bundle.version_id]
        return mine.count(f"got {method}")

    pid = pid_of(node, bundle)
    assert pid
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/", skip_host=True)
        for header, value in (("Host", host_of(name)), ("Content-Length", "200000")):
            connection.putheader(header, value)
        if moment == "half the answer":
            connection.putheader("x-half", "1")
        connection.endheaders(bytes(100_000 if moment == "half the body" else 200_000))
        until(lambda: said("POST") == 1, 30, "the script has the request")
        if moment == "half the answer":
            answer = connection.getresponse()
            assert answer.read(4) == b"half"
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
        else:
            os.kill(pid, signal.SIGKILL)
            assert connection.getresponse().status == 503
    # Whatever was sent again would wait before this one.
    assert node.visit(name).text == "alive"
    until(lambda: said("GET") == 1, 30, "its line is there")
    assert said("POST") == 1

"""What a node writes down about requests, and that it loses and doubles nothing on the way."""

import os
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from edge.agent.front.log import LineError, read_line
from edge.agent.records.journal import Journal
from edge.agent.records.spool import Spool
from tests.edge.bundles import Bundle, Json, answering, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.edge.visitors import wrk

pytestmark = pytest.mark.edge

SCRIPT = """
export default { async fetch(request) {
  const { pathname } = new URL(request.url);
  if (pathname === "/ok") await request.text();
  if (pathname === "/throw") throw new Error("boom");
  if (pathname === "/own") return new Response("mine", { status: 500 });
  if (pathname === "/endless") {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    (async () => { while (true) { await writer.write(new Uint8Array(100)); await scheduler.wait(20); } })();
    return new Response(readable);
  }
  if (pathname === "/slow") await scheduler.wait(300);
  if (pathname === "/spin") while (true);
  return new Response("x".repeat(1000));
} };
"""
LEAVES = b"GET /endless HTTP/1.1\r\nHost: %s\r\n\r\n"


@pytest.fixture(scope="module")
def script() -> Bundle:
    return Bundle(SCRIPT)


@pytest.fixture(scope="module", autouse=True)
def deployed(node: TestNode, script: Bundle) -> None:
    assert node.deploy("seen", script)["state"] == "live"


def _record(node: TestNode, path: str) -> Json:
    def found() -> list[Json]:
        return [one for one in node.enrolled.requests() if one["path"] == path]

    until(found, 15, f"a record of {path}")
    (record,) = found()
    return record


def test_a_request_is_recorded(node: TestNode, script: Bundle) -> None:
    began = time.time()
    answer = node.visit("seen", "/ok?secret=1", "POST", b"12345")
    record = _record(node, "/ok")
    assert record["ray"] == answer.headers["cf-ray"].partition("-")[0]
    assert record["version_id"] == script.version_id
    assert record["account_id"] == "a" * 32
    assert (record["host"], record["method"], record["status"]) == (host_of("seen"), "POST", 200)
    assert record["outcome"] == "ok"
    assert record["cold"] is False
    assert began - 1 < int(str(record["at_us"])) / 1e6 < time.time()
    assert 0 <= int(str(record["duration_us"])) < 5_000_000
    assert int(str(record["bytes_in"])) >= 5
    assert int(str(record["bytes_out"])) >= 1000


def test_how_requests_went(node: TestNode) -> None:
    node.visit("seen", "/throw")
    node.visit("seen", "/own")
    node.visit("seen", "/slow")
    with socket.create_connection(("127.0.0.1", node.http_port)) as visitor:
        visitor.sendall(LEAVES % host_of("seen").encode())
        assert visitor.recv(100)
    went = {
        path: (record["status"], record["outcome"])
        for path in ("/throw", "/own", "/slow", "/endless")
        for record in [_record(node, path)]
    }
    assert went["/throw"] == (500, "exception")
    assert went["/own"] == (500, "ok")
    assert went["/slow"] == (200, "ok")
    assert went["/endless"][1] == "canceled"
    slow, thrown = _record(node, "/slow"), _record(node, "/throw")
    assert int(str(slow["duration_us"])) > 290_000
    assert int(str(slow["cell_us"])) > 280_000
    # The front answers in its place, so the rest of the time was the cell's.
    rest = int(str(thrown["duration_us"])) - int(str(thrown["front_us"]))
    assert int(str(thrown["cell_us"])) == rest


def test_who_does_not_read_a_body_leaves_records_that_are_taken(node: TestNode) -> None:
    """HAProxy 2.6 knows no status of some answers to a request whose body came after its head."""
    head = f"POST /unread HTTP/1.1\r\nHost: {host_of('seen')}\r\nContent-Length: 5\r\n\r\n".encode()
    for _ in range(150):
        with socket.create_connection(("127.0.0.1", node.http_port)) as visitor:
            visitor.sendall(head)
            visitor.sendall(b"12345")
            visitor.recv(100)

    def unread() -> list[Json]:
        return [one for one in node.enrolled.requests() if one["path"] == "/unread"]

    until(lambda: len(unread()) == 150, 20, "each is recorded, and taken: see gateway.py")
    assert {one["status"] for one in unread()} <= {0, 200}


def test_a_killed_script_is_told_from_one_that_died(node: TestNode) -> None:
    node.deploy("spins", Bundle(SCRIPT))
    assert node.visit("spins", "/spin").status == 503
    record = _record(node, "/spin")
    assert (record["status"], record["outcome"]) == (503, "exceeded_cpu")


def test_the_first_request_after_a_rest_is_cold(node: TestNode) -> None:
    resting = Bundle(answering("back"), scaling={"idle_seconds": 1, "max_cells": None})
    node.deploy("rests", resting)
    assert node.visit("rests", "/warm").text == "back"

    def rests() -> bool:
        return any(
            cell["version_id"] == resting.version_id and cell["state"] == "idle"
            for cell in node.cells()
        )

    until(rests, 20, "the script is at rest")
    assert node.visit("rests", "/cold").text == "back"
    warm, cold = _record(node, "/warm"), _record(node, "/cold")
    assert (warm["cold"], warm["start_us"]) == (False, 0)
    assert cold["cold"] is True
    # The start is a part of what the cell took, and that of the whole.
    started, answered = int(str(cold["start_us"])), int(str(cold["cell_us"]))
    assert 0 < started < 20_000_000
    assert 0 < answered <= int(str(cold["duration_us"])) + 2000


def test_nothing_is_recorded_of_hostnames_nobody_has(node: TestNode) -> None:
    node.visit("nobody", "/scan")
    node.visit("seen", "/after-scan")
    _record(node, "/after-scan")
    assert "/scan" not in {one["path"] for one in node.enrolled.requests()}


def test_what_the_front_cannot_write_is_counted(node: TestNode) -> None:
    """Threads of the front that write at once collide, and the line of one is gone."""

    def known() -> int:
        batches = list(node.enrolled.batches.values())
        lost = [batch["lost"].get("front", 0) for batch in batches]  # type: ignore[attr-defined]
        told = len(node.enrolled.requests()) + node.enrolled.added_up()
        return told + sum(lost)  # type: ignore[arg-type]

    time.sleep(3)  # what others asked for is told by then
    before = known()
    with wrk(node, "seen") as answers:
        time.sleep(5)
    assert answers[0] > 100
    until(lambda: known() - before >= answers[0], 30, "each is recorded, or counted as lost")
    time.sleep(3)
    # What was on its way when they left is a record, too.
    assert known() - before <= answers[0] + 16


def test_the_processes_are_metered(node: TestNode, script: Bundle) -> None:
    def cpu_ms() -> float:
        return sum(
            measure[3]
            for batch in list(node.enrolled.batches.values())
            for measure in batch["measures"]  # type: ignore[attr-defined]
            if measure[2] == script.version_id and measure[4] > 0
        )

    before = cpu_ms()
    for _ in range(400):
        node.visit("seen", "/meter")
    until(lambda: cpu_ms() > before, 15, "CPU was measured")


def test_an_answer_that_is_lost_sends_the_same_batch_again(
    node: TestNode, gateway: Gateway
) -> None:
    def most_often() -> int:
        return max(Counter(node.enrolled.sent[before:]).values(), default=0)

    before = len(node.enrolled.sent)
    gateway.forgetful = True
    try:
        node.visit("seen", "/twice")
        # Whichever it is: none that is younger comes before the oldest is taken.
        until(lambda: most_often() > 1, 15, "the same batch came again")
    finally:
        gateway.forgetful = False
    _record(node, "/twice")  # in one batch only


def test_records_wait_on_the_disk_while_the_control_plane_is_away(
    gateway: Gateway, folder: Path
) -> None:
    with running_node(gateway, folder, "lonely") as node:
        node.deploy("seen", Bundle(SCRIPT))
        gateway.database_away = True
        node.visit("seen", "/alone")
        until(
            lambda: any((node.folder / "spool").glob("*-1.json.gz")),
            20,
            "a batch with one request on the disk",
        )
        node.kill_agent()
        gateway.database_away = False
        node.start()
        _record(node, "/alone")


def test_a_killed_agent_costs_no_records(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "mortal") as node:
        node.deploy("seen", Bundle(SCRIPT))
        visited: dict[str, float] = {}
        done = threading.Event()

        def visit() -> None:
            while not done.is_set():
                path = f"/{len(visited)}"
                node.visit("seen", path)
                visited[path] = time.time()
                time.sleep(0.01)

        visitor = threading.Thread(target=visit)
        visitor.start()
        try:
            until(lambda: node.enrolled.batches, 15, "the first batch")
            time.sleep(0.6)  # into the middle of a second
            node.kill_agent()
            node.start()
        finally:
            time.sleep(0.3)
            done.set()
            visitor.join()
        last = list(visited)[-1]
        _record(node, last)
        recorded = Counter(str(one["path"]) for one in node.enrolled.requests())
        assert set(recorded.values()) == {1}
        lost = [path for path in visited if path not in recorded]
        # One may have been on its way from the pipe into the journal.
        assert len(lost) <= 1, lost
        assert node.events("lines_recovered")
        # Nor does the front's death while there is no agent: the keeper has the pipe.
        front = int(str(node.status()["front_pid"]))
        node.kill_agent()
        node.visit("seen", "/between")
        os.kill(front, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{front}").exists(), 10, "the front is gone")
        node.start()
        _record(node, "/between")
        journals = (node.folder / "spool").glob
        until(lambda: len(list(journals("*.lines"))) <= 1, 10, "only this second has a journal")


def test_a_journal_is_a_batch_until_that_is_spooled(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.turn() != journal.turn()  # nothing was said
    journal.add(["one", "b\xfc"])
    journal.add(["two"])
    first = journal.turn()
    journal.add(["three"])
    assert journal._file
    journal._file.close()  # as the end of a process does
    # Another agent, after this one was killed.
    later = Journal(tmp_path)
    left = dict(later.left())
    assert left.pop(first) == ["one", "b\xfc", "two"]
    assert list(left.values()) == [["three"]]
    spool = Spool(tmp_path, limit_bytes=1000)
    spool.put(b"a", 3, first)
    assert Spool(tmp_path, limit_bytes=1000).holds(first)
    later.done(first)
    later.done(first)
    assert dict(later.left()) == left


def test_a_full_spool_drops_the_oldest_and_says_how_many(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=250)
    assert spool.put(b"a" * 100, 3) == 0
    assert spool.put(b"b" * 100, 4) == 0
    assert spool.put(b"c" * 100, 5) == 3
    again = Spool(tmp_path, limit_bytes=250)
    oldest = again.oldest()
    assert oldest
    assert (len(again), oldest.path.read_bytes()[:1], oldest.requests) == (2, b"b", 4)


def test_a_connection_without_a_request_is_no_record() -> None:
    no_request = "- 2 - <NOSRV> - 127.0.0.1 0 CR - -1 -1 -1 0 0 - - - <BADREQ> <BADREQ>"
    assert read_line(no_request) is None
    asked = "1 2 - c7 - - 204 LR - 0 -1 -1 40 90 41:9 - - GET /c7"
    assert read_line(asked) is None
    assert read_line("Proxy front stopped (cumulated conns: FE: 3, BE: 0).") is None


@pytest.mark.parametrize("text", ["", "1 2 3", "x " * 18 + "/path"])
def test_half_a_line_is_refused(text: str) -> None:
    with pytest.raises(LineError):
        read_line(text)

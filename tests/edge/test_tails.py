"""What a node tells of a script that somebody looks at."""

import hashlib
import socket
import time
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.edge.bundles import Bundle, Json, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, until

pytestmark = pytest.mark.edge

TALKS = """
export default { async fetch(request) {
  const { pathname } = new URL(request.url);
  console.log("asked", { pathname });
  if (pathname === "/throw") throw new TypeError("boom");
  if (pathname === "/spin") while (true);
  if (pathname === "/flood") for (let turn = 0; turn < 40; turn++) {
    console.log("x".repeat(10000));
    await new Promise((done) => setTimeout(done, 10));  // the node has to read along
  }
  if (request.headers.get("upgrade") === "websocket") {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener("message", (event) => server.send(event.data));
    return new Response(null, { status: 101, webSocket: client });
  }
  return new Response("said");
} };
"""


def _script_id(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()  # noqa: S324 as tests/edge/bundles.py does


def _events(node: TestNode, name: str) -> list[Json]:
    return [
        one["event"]  # type: ignore[misc]
        for one in list(node.enrolled.shown)
        if one["script_id"] == _script_id(name) and one.get("event")
    ]


def _event(node: TestNode, name: str, path: str) -> Json:
    """The event of the only request for a path."""

    def found() -> list[Json]:
        return [
            one
            for one in _events(node, name)
            if path in str((one["event"] or {}).get("request", {}).get("url"))  # type: ignore[attr-defined]
        ]

    until(found, 20, f"{path} is shown")
    (event,) = found()
    return event


def _pids(node: TestNode, bundle: Bundle) -> set[object]:
    return {
        cell["pid"]
        for cell in node.cells()
        if cell["version_id"] == bundle.version_id and cell["state"] == "serving"
    }


@pytest.fixture
def tailed(gateway: Gateway) -> Iterator[set[str]]:
    yield gateway.tailed
    gateway.tailed.clear()


def test_a_tailed_script_tells_everything_and_is_left_alone_afterwards(
    node: TestNode, tailed: set[str]
) -> None:
    bundle = Bundle(TALKS)
    node.deploy("talks", bundle)
    before = _pids(node, bundle)
    tailed.add(_script_id("talks"))
    until(lambda: _pids(node, bundle) and not _pids(node, bundle) & before, 20, "another cell")
    answer = node.visit("talks", "/told", headers={"authorization": "Bearer mine"})
    event = _event(node, "talks", "/told")
    assert event["outcome"] == "ok"
    assert event["logs"][0]["message"] == ["asked", {"pathname": "/told"}]  # type: ignore[index]
    request = event["event"]["request"]  # type: ignore[index]
    assert request["headers"]["cf-ray"] == answer.headers["cf-ray"]
    assert "mine" not in str(event)
    assert event["event"]["response"]["status"] == 200  # type: ignore[index]
    node.visit("talks", "/throw")
    thrown = _event(node, "talks", "/throw")
    assert thrown["outcome"] == "exception"
    assert thrown["exceptions"][0]["message"] == "boom"  # type: ignore[index]
    node.visit("talks", "/flood")
    assert _event(node, "talks", "/flood")["truncated"] is True
    telling = _pids(node, bundle)
    tailed.clear()
    until(lambda: _pids(node, bundle) and not _pids(node, bundle) & telling, 20, "the cell is back")
    node.visit("talks", "/unseen")
    node.visit("talks", "/unseen")
    time.sleep(1.5)  # the front's line comes a second later
    assert not [one for one in _events(node, "talks") if "/unseen" in str(one)]


def test_both_versions_of_a_script_tell(node: TestNode, tailed: set[str]) -> None:
    old, new = Bundle(TALKS, number=1), Bundle(TALKS, number=2)
    node.deploy("both", old, beside=(new, 50))
    before = _pids(node, old) | _pids(node, new)
    tailed.add(_script_id("both"))
    for bundle in (old, new):
        until(lambda: _pids(node, bundle) and not _pids(node, bundle) & before, 20, "another cell")  # noqa: B023
        asked = {"Cloudflare-Workers-Version-Overrides": f'both="{bundle.version_id}"'}
        node.visit("both", f"/{bundle.number}", headers=asked)
        assert _event(node, "both", f"/{bundle.number}")["logs"], "its cell told it"
    shown = {one["version_id"] for one in node.enrolled.shown if one.get("event")}
    assert {old.version_id, new.version_id} <= shown


def test_what_a_killed_cell_cannot_tell_comes_from_the_front(
    node: TestNode, tailed: set[str]
) -> None:
    bundle = Bundle(TALKS)
    node.deploy("spins", bundle)
    before = _pids(node, bundle)
    tailed.add(_script_id("spins"))
    until(lambda: _pids(node, bundle) and not _pids(node, bundle) & before, 20, "another cell")
    assert node.visit("spins", "/spin").status == 503
    assert _event(node, "spins", "/spin")["outcome"] == "exceededCpu"


def test_nobodys_websocket_ends_because_somebody_looks(node: TestNode, tailed: set[str]) -> None:
    bundle = Bundle(TALKS)
    node.deploy("socket", bundle)
    before = _pids(node, bundle)
    raw = socket.create_connection(("127.0.0.1", node.http_port))
    with connect(f"ws://{host_of('socket')}/", sock=raw, proxy=None) as visitor:
        visitor.send("before")
        assert visitor.recv() == "before"
        tailed.add(_script_id("socket"))
        until(lambda: _pids(node, bundle) and not _pids(node, bundle) & before, 20, "another cell")
        time.sleep(4)  # longer than a deploy would let it live (SKERRY_DRAIN_SECONDS)
        visitor.send("after")
        assert visitor.recv() == "after"

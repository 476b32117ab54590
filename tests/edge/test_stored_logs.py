"""What a node stores of scripts with `observability`: on its way with version, Ray id and outcome."""

import hashlib
import json

import pytest

from tests.edge.bundles import Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, until

pytestmark = pytest.mark.edge

TALKS = """
export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    console.log("asked", { pathname, user: { id: 7 } });
    if (pathname === "/throw") throw new TypeError("boom");
    if (pathname === "/spin") while (true);
    if (pathname === "/long") for (let turn = 0; turn < 10; turn++) console.log("\\u{1f600}\\u00e4".repeat(3000));
    if (pathname === "/flood") for (let turn = 0; turn < 40; turn++) {
      console.log("x".repeat(10000));
      await new Promise((done) => setTimeout(done, 10));  // the node has to read along
    }
    return new Response("said");
  },
  async scheduled() { console.warn("by the clock"); },
};
"""
EVERYTHING: Json = {"rate": 1.0, "invocations": True}


def _script_id(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()  # noqa: S324 as tests/edge/bundles.py does


def _stored(node: TestNode, name: str) -> list[Json]:
    return [
        one
        for batch in list(node.enrolled.logs.values())
        for one in batch["events"]  # type: ignore[attr-defined]
        if one["script_id"] == _script_id(name)
    ]


def _told(node: TestNode, name: str, words: str) -> Json:
    """The only invocation that has these words."""

    def found() -> list[Json]:
        return [one for one in _stored(node, name) if words in json.dumps(one["event"]["event"])]  # type: ignore[index]

    until(found, 30, f"{words} is stored")
    (told,) = found()
    return told


def test_lines_exceptions_and_runs_arrive_with_version_and_ray(
    node: TestNode, gateway: Gateway
) -> None:
    bundle = Bundle(TALKS, observability=EVERYTHING)
    node.deploy("stores", bundle)
    answer = node.visit("stores", "/told", headers={"authorization": "Bearer mine"})
    told = _told(node, "stores", "/told")
    assert told["version_id"] == bundle.version_id
    assert told["rate"] == 1
    front = told["front"]
    assert front["status"] == 200  # type: ignore[index]
    assert front["duration_us"] > 0  # type: ignore[index]
    event = told["event"]
    assert event["outcome"] == "ok"  # type: ignore[index]
    assert event["logs"][0]["message"] == ["asked", {"pathname": "/told", "user": {"id": 7}}]  # type: ignore[index]
    request = event["event"]["request"]  # type: ignore[index]
    assert request["headers"]["cf-ray"] == answer.headers["cf-ray"]
    assert "mine" not in json.dumps(told)

    node.visit("stores", "/throw")
    thrown = _told(node, "stores", "/throw")["event"]
    assert thrown["outcome"] == "exception"  # type: ignore[index]
    (exception,) = thrown["exceptions"]  # type: ignore[index]
    assert exception["message"] == "boom"
    assert "index.js:6:" in exception["stack"]

    body = {"run_id": "r1", "script_id": _script_id("stores"), "cron": "* * * * *"}
    sent = json.dumps({**body, "scheduled_ms": 1_700_000_000_000}).encode()
    assert gateway.call(node.enrolled, "POST", "/scheduled", sent)[0] == 202
    run = _told(node, "stores", "* * * * *")
    assert run["version_id"] == bundle.version_id
    assert run["event"]["logs"][0]["message"] == ["by the clock"]  # type: ignore[index]


def test_what_is_long_comes_in_parts_and_what_is_longer_is_cut_off(node: TestNode) -> None:
    node.deploy("long", Bundle(TALKS, observability=EVERYTHING))
    node.visit("long", "/long")
    event = _told(node, "long", "/long")["event"]
    assert [one["message"] for one in event["logs"][1:]] == [["😀ä" * 3000]] * 10  # type: ignore[index]
    assert not event["truncated"]  # type: ignore[index]
    node.visit("long", "/flood")
    event = _told(node, "long", "/flood")["event"]
    assert event["truncated"]  # type: ignore[index]
    assert 20 < len(event["logs"]) < 40  # type: ignore[index]


def test_a_killed_invocation_comes_from_the_front(node: TestNode) -> None:
    node.deploy("killed", Bundle(TALKS, observability=EVERYTHING))
    node.visit("killed", "/told")
    assert node.visit("killed", "/spin").status == 503
    told = _told(node, "killed", "/spin")
    assert told["event"]["outcome"] == "exceededCpu"  # type: ignore[index]


def test_a_share_is_stored_and_says_which(node: TestNode) -> None:
    """A change of the share exchanges no cell; without `observability` nothing is told at all."""
    bundle = Bundle(TALKS, observability={"rate": 0.5, "invocations": False})
    node.deploy("share", bundle)
    for number in range(60):
        node.visit("share", f"/{number}")
    before = node.cells()
    bundle.observability = EVERYTHING
    node.deploy("share", bundle)
    assert node.cells() == before
    node.visit("share", "/last")
    _told(node, "share", "/last")
    shared = [one for one in _stored(node, "share") if one["rate"] == 0.5]
    assert 10 <= len(shared) <= 50
    assert not any(one["invocation"] for one in shared)
    # What it asks of others is told by another cell, which costs more.
    bundle.observability = {**EVERYTHING, "subrequests": True}
    node.deploy("share", bundle)
    assert node.cells() != before
    before = node.cells()
    bundle.observability = None
    node.deploy("share", bundle)
    assert node.cells() != before

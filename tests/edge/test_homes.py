"""A script whose Durable Objects are on one node is reached through every node."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.paths import NodePaths
from tests.edge.bundles import Bundle, Json, answering, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.edge.test_objects import connected, ledger, namespace

pytestmark = pytest.mark.edge

TELLING = """
export default {
  fetch(request) {
    if (request.url.endsWith("/throw")) throw new Error("not today");
    return Response.json({ url: request.url, headers: Object.fromEntries(request.headers) });
  },
};
"""


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    """The home."""
    with running_node(gateway, folder) as node:
        yield node


@pytest.fixture(scope="module")
def other(gateway: Gateway, folder: Path, node: TestNode) -> Iterator[TestNode]:
    with running_node(gateway, folder, "edge-2") as other:
        until(lambda: knows(other, node), what="the other knows the home")
        until(lambda: knows(node, other), what="the home knows the other")
        yield other


def knows(node: TestNode, other: TestNode) -> bool:
    homes = node.folder / "front" / "homes.map"
    return homes.exists() and other.enrolled.node_id in homes.read_text()


def forward(other: TestNode, home: TestNode, name: str) -> Json:
    """Decide that `other` leaves a script to `home`; its word on the slot."""
    decided = other.gateway.decide(other.enrolled, name, None, [host_of(name)])
    decided["home"] = {"node_id": home.enrolled.node_id, "name": home.name}
    decided["deployment_id"] = "of the home"
    slots = other.gateway.push(other.enrolled, decided)["slots"]
    assert isinstance(slots, list)
    said: Json = slots[0]
    return said


def test_every_node_leads_to_the_same_object(node: TestNode, other: TestNode) -> None:
    assert node.deploy("ledger", ledger("v1", namespace()))["state"] == "live"
    assert forward(other, node, "ledger")["state"] == "live"
    assert other.visit("ledger", "/book/add/there").text == '"v1"'
    assert node.visit("ledger", "/book/add/here").text == '"v1"'
    assert json.loads(other.visit("ledger", "/book/all").body) == ["there", "here"]
    with connected(other, "ledger") as visitor:
        visitor.send("hello")
        assert visitor.recv(timeout=5) == "v1 hello"
    assert other.cells() == []


def test_the_home_believes_what_the_front_says_and_the_visitor_may_not(
    node: TestNode, other: TestNode
) -> None:
    node.deploy("telling", Bundle(TELLING))
    forward(other, node, "telling")
    sent = {"CF-Connecting-IP": "9.9.9.9", "X-Forwarded-Proto": "https", "X-Skerry-Proto": "https"}
    answer = other.visit("telling", "/where?a=b", headers=sent)
    told = answer.json()
    assert told["url"] == f"http://{host_of('telling')}/where?a=b"
    headers = told["headers"]
    assert isinstance(headers, dict)
    assert headers["cf-connecting-ip"] == "127.0.0.1"
    assert not [name for name in headers if name.startswith("x-skerry")]
    assert headers["cf-ray"] == answer.headers["cf-ray"]
    assert not [name for name in answer.headers if name.startswith("x-skerry")]
    thrown = other.visit("telling", "/throw")
    assert thrown.status == 500
    assert "1101" in thrown.text

    def recorded() -> list[Json]:
        rays = {answer.headers["cf-ray"].partition("-")[0]}
        return [one for one in node.enrolled.requests() if one["ray"] in rays]

    until(recorded, what="the home records the request")
    (one,) = recorded()
    assert (one["path"], one["outcome"]) == ("/where", "ok")
    assert not other.enrolled.requests()


def test_the_home_divides_visitors_between_two_versions(node: TestNode, other: TestNode) -> None:
    versions = [Bundle(answering(text), number=number) for number, text in enumerate(("a", "b"), 1)]
    assert node.deploy("divided", versions[0], beside=(versions[1], 50))["state"] == "live"
    forward(other, node, "divided")
    keys = [{"Cloudflare-Workers-Version-Key": str(number)} for number in range(20)]
    seen = [other.visit("divided", headers=key).text for key in keys]
    assert set(seen) == {"a", "b"}
    assert seen == [node.visit("divided", headers=key).text for key in keys]


def test_who_is_no_node_does_not_come_in(node: TestNode, other: TestNode) -> None:
    port = node.enrolled.door_port
    paths = NodePaths.of(other.folder)
    with pytest.raises(ssl.SSLError):
        through_the_door(port, None)
    shown = paths.root / "front" / "door.pem"
    assert through_the_door(port, shown) == 200
    # A node that the control plane has forgotten: its certificate is still one of the authority's.
    removed = node.gateway.nodes.pop(other.name)
    try:
        until(lambda: removed.node_id not in (node.folder / "front" / "homes.map").read_text())
        assert through_the_door(port, shown) == 503
    finally:
        node.gateway.nodes[other.name] = removed
    until(lambda: knows(node, other))


def through_the_door(port: int, certificate: Path | None) -> int:
    """The status of a request to a script that the home runs."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    if certificate:
        trust.load_cert_chain(certificate)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10)
    connection.sock = trust.wrap_socket(socket.create_connection(("127.0.0.1", port), 10))
    try:
        connection.request("GET", "/book/all", headers={"Host": host_of("ledger")})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_home_that_is_away_is_said_and_comes_back(node: TestNode, other: TestNode) -> None:
    kept = other.visit("ledger", "/book/all").json()
    node.kill_everything()
    answer = other.visit("ledger", "/book/all")
    assert answer.status == 503
    assert "another node" in answer.text
    assert answer.headers["retry-after"] == "5"
    node.start()
    until(lambda: other.visit("ledger", "/book/all").status == 200, 20, "the home is back")
    assert other.visit("ledger", "/book/all").json() == kept


def test_a_script_moves_in_with_its_objects(node: TestNode, other: TestNode) -> None:
    """It ran on both, and gets Durable Objects: the other one lets go of its cell."""
    for one in (node, other):
        one.deploy("grows", Bundle(TELLING))
        assert one.visit("grows").status == 200
    assert node.deploy("grows", ledger("v2", namespace()))["state"] == "live"
    assert forward(other, node, "grows")["state"] == "live"
    assert other.visit("grows", "/book/add/entry").text == '"v2"'
    until(lambda: not other.cells(), what="the other one's cell has ended")
    # Deleted: nobody answers any more.
    for one in (node, other):
        assert one.deploy("grows", None)["state"] == "withdrawn"
        assert one.visit("grows").status == 404


def test_what_is_no_node_in_the_desired_state_is_refused(other: TestNode) -> None:
    decided = other.gateway.decide(other.enrolled, "wrong", None, ["wrong.test"])
    decided["home"] = {"node_id": "x\nevil", "name": "edge-9"}
    body = {"generation": other.enrolled.generation, "slots": [decided], "modules": {}}
    status, answer = other.gateway.call(other.enrolled, "POST", "/push", json.dumps(body).encode())
    assert status == 400
    assert "home.node_id must be 32 hex digits" in json.dumps(answer)
    del other.enrolled.slots[str(decided["script_id"])]

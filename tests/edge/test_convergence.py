"""Whatever happens to pushes on their way, the node ends in the state the control plane decided."""

import json
import random
from functools import partial

import pytest

from tests.edge.bundles import Bundle, Json, answering, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge


def said_about(answer: Json) -> Json:
    slots = answer["slots"]
    assert isinstance(slots, list)
    assert len(slots) == 1
    found: Json = slots[0]
    return found


def test_duplicates_and_late_pushes_change_nothing(node: TestNode) -> None:
    first = node.gateway.decide(node.enrolled, "ordered", Bundle(answering("first")))
    second = node.gateway.decide(node.enrolled, "ordered", Bundle(answering("second")))
    assert said_about(node.gateway.push(node.enrolled, second))["state"] == "live"
    pid = serving_pid(node, second)
    for late in (first, second, first):
        said = said_about(node.gateway.push(node.enrolled, late))
        assert (said["generation"], said["state"]) == (second["generation"], "live")
    assert node.visit("ordered").text == "second"
    assert serving_pid(node, second) == pid


def serving_pid(node: TestNode, slot: Json) -> object:
    slots = node.status()["slots"]
    assert isinstance(slots, list)
    return next(one for one in slots if one["script_id"] == slot["script_id"])["cells"][0]["pid"]


def test_a_late_push_does_not_bring_a_withdrawn_script_back(node: TestNode) -> None:
    deployed = node.gateway.decide(node.enrolled, "ghost", Bundle(answering("ghost")))
    withdrawn = node.gateway.decide(node.enrolled, "ghost", None)
    node.gateway.push(node.enrolled, withdrawn)
    assert said_about(node.gateway.push(node.enrolled, deployed))["state"] == "withdrawn"
    assert node.visit("ghost").status == 404


def test_a_lost_push_is_pulled_with_its_modules(node: TestNode) -> None:
    bundle = Bundle(answering("came by pull"))
    decided = node.gateway.decide(node.enrolled, "pulled", bundle)
    until(lambda: node.visit("pulled").status == 200, what="the node pulls")
    assert node.visit("pulled").text == "came by pull"
    until(lambda: reported(node, decided).get("state") == "live", what="the node reports")
    assert node.status()["generation"] == node.enrolled.generation


def test_modules_that_a_push_lacks_are_fetched(node: TestNode) -> None:
    bundle = Bundle(answering("fetched"))
    (digest,) = bundle.files()
    decided = node.gateway.decide(node.enrolled, "lean", bundle)
    assert said_about(node.gateway.push(node.enrolled, decided))["state"] == "live"
    assert f"GET /edge/v1/modules/{digest}" in node.gateway.asked


def test_failures_are_reported_with_their_reason(node: TestNode) -> None:
    decided = node.gateway.decide(node.enrolled, "faulty", Bundle("broken();"))
    until(lambda: reported(node, decided).get("state") == "failed", what="it is reported")
    assert "broken is not defined" in str(reported(node, decided)["reason"])


def reported(node: TestNode, slot: Json) -> Json:
    return node.enrolled.reported().get(str(slot["script_id"]), {})


def test_many_changes_in_any_order_end_in_the_last_decision(node: TestNode) -> None:
    order = random.Random(7)
    names = [f"many-{number}" for number in range(4)]
    decided = [
        (name, node.gateway.decide(node.enrolled, name, Bundle(answering(f"{name} {turn}"))))
        for turn in range(3)
        for name in names
    ]
    pushes = [slot for _, slot in decided for _ in range(2) if order.random() < 0.6]
    order.shuffle(pushes)
    for slot in pushes:
        node.gateway.push(node.enrolled, slot)
    for name in names:
        until(partial(answers, node, name, f"{name} 2"), what=f"{name} is right")
    until(lambda: node.status()["generation"] == node.enrolled.generation, what="no gap is left")


def answers(node: TestNode, name: str, text: str) -> bool:
    return node.visit(name).text == text


def test_two_nodes_serve_the_same(gateway: Gateway, node: TestNode) -> None:
    settings = {"SKERRY_PULL_SECONDS": "60"}
    with running_node(gateway, node.folder.parent, "edge-2", **settings) as other:
        bundle = Bundle(answering("on both"))
        until(lambda: other.enrolled.reports, what="its first pull is over")
        assert other.deploy("twins", bundle)["state"] == "live"
        (digest,) = bundle.files()
        assert f"GET /edge/v1/modules/{digest}" not in gateway.asked  # the push brought it
        assert node.deploy("twins", bundle)["state"] == "live"
        assert node.visit("twins").text == other.visit("twins").text == "on both"
        other.deploy("twins", None)
        assert other.visit("twins").status == 404
        assert node.visit("twins").text == "on both"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"[]", "push must be a JSON object"),
        (b"{}", "push.generation"),
        (b'{"generation": 1, "slots": {}}', "push.slots must be a list"),
        (b'{"generation": -1, "slots": []}', "push.generation"),
        (b'{"generation": 1, "slots": [{}]}', "push.slots[0].script_id"),
        (b'{"generation": 1, "slots": [], "modules": {"sha256:00": "aa"}}', "push.modules"),
        (b'{"generation": 1, "slots": [], "modules": [1]}', "push.modules"),
        (b'\xff\xfe{"', "not JSON"),
    ],
)
def test_malformed_pushes_are_refused_and_change_nothing(
    node: TestNode, body: bytes, complaint: str
) -> None:
    before = node.status()
    code, answer = node.gateway.call(node.enrolled, "POST", "/push", body)
    assert code == 400
    assert complaint in str(answer["error"])
    after = node.status()
    assert (after["slots"], after["generation"]) == (before["slots"], before["generation"])


def test_a_hostname_cannot_smuggle_lines_into_the_front(node: TestNode) -> None:
    bundle = Bundle(answering("x"))
    decided = node.gateway.decide(node.enrolled, "smuggler", bundle)
    decided["hostnames"] = ["a.test s0\nb.test"]
    body = {"generation": node.enrolled.generation, "slots": [decided], "modules": {}}
    code, answer = node.gateway.call(node.enrolled, "POST", "/push", json.dumps(body).encode())
    assert (code, "no hostname" in str(answer["error"])) == (400, True)
    # An unreadable slot in a pull keeps the node from nothing else.
    node.gateway.decide(node.enrolled, "innocent", Bundle(answering("innocent")))
    until(lambda: node.visit("innocent").status == 200, what="the other slot is applied")
    assert node.events("slot_refused")
    decided["hostnames"] = [host_of("smuggler")]
    until(lambda: node.visit("smuggler").status == 200, what="the corrected slot is applied")


def test_only_the_control_plane_may_push(node: TestNode) -> None:
    for method, path in (("POST", "/push"), ("GET", "/status")):
        code, answer = node.gateway.call(node.enrolled, method, path, b"{}", push_key="wrong")
        assert code == 401
        assert answer["error"]

"""A push makes a script answer, an exchange replaces it, a withdrawal takes it away."""

import os

import pytest

from edge.proc import Identity
from tests.edge.bundles import Bundle, Json, answering
from tests.edge.nodes import SLOTS, TestNode, until

pytestmark = pytest.mark.edge


def cell_of(node: TestNode, bundle: Bundle) -> Json | None:
    """The cell of this version, if there is one."""
    found = [cell for cell in node.cells() if cell["version_id"] == bundle.version_id]
    return found[0] if found else None


def pid_of(node: TestNode, bundle: Bundle) -> int:
    cell = cell_of(node, bundle)
    assert cell
    return int(str(cell["pid"]))


def test_a_pushed_script_answers(node: TestNode) -> None:
    said = node.deploy("hello", Bundle(answering("hello from a cell")))
    assert (said["state"], said["reason"]) == ("live", None)
    assert node.visit("hello").text == "hello from a cell"


def test_a_new_version_replaces_the_old_one_which_then_ends(node: TestNode) -> None:
    one, two = Bundle(answering("one")), Bundle(answering("two"))
    node.deploy("replaced", one)
    before = Identity.of(pid_of(node, one))
    assert before
    node.deploy("replaced", two)
    assert node.visit("replaced").text == "two"
    until(lambda: cell_of(node, one) is None, what="the old cell is gone")
    assert not before.alive()


def test_an_equal_version_keeps_its_cell_while_hostnames_change(node: TestNode) -> None:
    bundle = Bundle(answering("same"))
    node.deploy("subdomain", bundle)
    pid = pid_of(node, bundle)
    node.deploy("subdomain", bundle, hostnames=[])
    assert node.visit("subdomain").status == 404
    node.deploy("subdomain", bundle, hostnames=["a.test", "b.test"])
    assert node.visit("", host="a.test").text == node.visit("", host="b.test").text == "same"
    assert node.visit("subdomain").status == 404
    assert pid_of(node, bundle) == pid


def test_a_script_that_does_not_start_leaves_the_old_version(node: TestNode) -> None:
    node.deploy("careful", Bundle(answering("good")))
    said = node.deploy("careful", Bundle("\n  broken();"))
    assert said["state"] == "failed"
    assert said["reason"] == "Uncaught ReferenceError: broken is not defined\n  at index.js:2:3"
    assert node.visit("careful").text == "good"
    fixed = Bundle(answering("fixed"))
    assert node.deploy("careful", fixed)["state"] == "live"
    assert node.visit("careful").text == "fixed"


def test_a_first_version_that_does_not_start_answers_503(node: TestNode) -> None:
    assert node.deploy("stillborn", Bundle("broken();"))["state"] == "failed"
    answer = node.visit("stillborn")
    assert answer.status == 503
    assert answer.headers["retry-after"]


def test_specs_this_node_cannot_run_fail_with_their_reason(node: TestNode) -> None:
    unknown = Bundle(answering("x"), bindings=[{"name": "KV", "type": "vectorize"}])
    assert 'Binding "KV"' in str(node.deploy("unsupported", unknown)["reason"])
    three = node.gateway.decide(node.enrolled, "unsupported", Bundle(answering("x")))
    three["versions"] = [*three["versions"]] * 3  # type: ignore[misc]
    assert "split traffic" in str(node.gateway.push(node.enrolled, three)["slots"])


def test_a_withdrawn_script_leaves_nothing_behind(node: TestNode) -> None:
    bundle = Bundle(answering("short life"))
    node.deploy("withdrawn", bundle)
    process = Identity.of(pid_of(node, bundle))
    digest = next(iter(bundle.files())).removeprefix("sha256:")
    assert digest in os.listdir(node.folder / "modules")
    (folder,) = (
        entry for entry in os.listdir(node.folder / "sockets") if entry in cell_names(node)[-1:]
    )
    assert node.deploy("withdrawn", None)["state"] == "withdrawn"
    assert node.visit("withdrawn").status == 404
    until(lambda: folder not in os.listdir(node.folder / "sockets"), what="sockets are closed")
    assert process
    assert not process.alive()
    assert folder not in node.admin("show servers state")
    modules = node.folder / "modules"
    until(lambda: digest not in os.listdir(modules), what="its modules are pruned")
    again = Bundle(answering("second life"))
    assert node.deploy("withdrawn", again)["state"] == "live"
    assert node.visit("withdrawn").text == "second life"


def cell_names(node: TestNode) -> list[str]:
    """Names of all cells, oldest first."""
    roles = [role.removeprefix("cell:") for _, role in node.processes("cell:")]
    return sorted(roles, key=lambda name: int(name[1:]))


def test_a_hostname_moves_from_one_script_to_another(node: TestNode) -> None:
    node.deploy("first-owner", Bundle(answering("first")), hostnames=["moving.test"])
    node.deploy("second-owner", Bundle(answering("second")), hostnames=["moving.test"])
    assert node.visit("", host="moving.test").text == "second"
    node.deploy("first-owner", None)
    assert node.visit("", host="moving.test").text == "second"


def test_a_full_node_says_so(node: TestNode) -> None:
    names = [f"filler-{number}" for number in range(SLOTS + 1)]
    slots = [node.gateway.decide(node.enrolled, name, Bundle("bad(")) for name in names]
    answers = node.gateway.push(node.enrolled, *slots)["slots"]
    assert isinstance(answers, list)
    assert any("no free slot" in answer["reason"] for answer in answers)
    gone = [node.gateway.decide(node.enrolled, name, None) for name in names]
    node.gateway.push(node.enrolled, *gone)
    assert node.deploy("after-the-crowd", Bundle(answering("room again")))["state"] == "live"

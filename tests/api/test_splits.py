"""Gradual deployments: which versions may share the requests, and what happens meanwhile."""

import json
from typing import Any

import pytest
from sqlalchemy.orm import Session

from api.deployments import revisions, rollouts
from api.errors import SettingsNotChangeable
from api.nodes.models import Node
from api.nodes.service import Enrolment
from tests.cast import Tenant, upload_parts

SCRIPT = "workers/scripts/my-app"
OBJECTS = (
    "import { DurableObject } from 'cloudflare:workers'\n"
    "export class Room extends DurableObject {}\n"
    "export default { fetch: () => new Response(String(%d)) }"
)
WORKFLOW = (
    "import { WorkflowEntrypoint } from 'cloudflare:workers'\n"
    "export class Orders extends WorkflowEntrypoint { async run() {} }\n"
    "export default { fetch: () => new Response(String(%d)) }"
)


def answering(text: str) -> str:
    return f"export default {{ fetch: () => new Response('{text}') }}"


def upload(alice: Tenant, text: str, **metadata: Any) -> str:
    """Another version of the script, which gets no requests."""
    made = alice.result("POST", f"{SCRIPT}/versions", **upload_parts(answering(text), **metadata))
    return str(made["id"])


def live(alice: Tenant) -> list[tuple[str, float]]:
    newest = alice.result("GET", f"{SCRIPT}/deployments")["deployments"][0]
    return [(one["version_id"], one["percentage"]) for one in newest["versions"]]


def body(*shares: tuple[str, float]) -> dict[str, Any]:
    named = [{"version_id": version, "percentage": share} for version, share in shares]
    return {"strategy": "percentage", "versions": named}


def deploy(alice: Tenant, *shares: tuple[str, float]) -> Any:
    return alice.result("POST", f"{SCRIPT}/deployments", json=body(*shares))


def refusal(alice: Tenant, *shares: tuple[str, float]) -> tuple[int, int, str]:
    before = live(alice)
    refused = alice.refusal("POST", f"{SCRIPT}/deployments", json=body(*shares))
    assert live(alice) == before
    return refused


@pytest.fixture
def one(alice: Tenant) -> str:
    alice.result("PUT", SCRIPT, **upload_parts(answering("one")))
    return str(alice.result("GET", f"{SCRIPT}/versions")["items"][0]["id"])


@pytest.fixture
def two(alice: Tenant, one: str) -> str:
    return upload(alice, "two")


def test_a_split_is_moved_on_and_rolled_back(
    alice: Tenant, node: Enrolment, session: Session, one: str, two: str
) -> None:
    made = deploy(alice, (two, 10), (one, 90))
    # The larger share first, however they were named.
    assert [share["version_id"] for share in made["versions"]] == [one, two]
    assert live(alice) == [(one, 90), (two, 10)]
    deploy(alice, (one, 50), (two, 50))
    assert live(alice) == [(two, 50), (one, 50)], "of equal shares the newer version"
    deploy(alice, (two, 100), (one, 0))
    assert live(alice) == [(two, 100), (one, 0)]
    deploy(alice, (one, 100))
    assert live(alice) == [(one, 100)]
    assert len(alice.result("GET", f"{SCRIPT}/deployments")["deployments"]) == 5


def test_nodes_are_told_both_versions(
    alice: Tenant, node: Enrolment, session: Session, one: str, two: str
) -> None:
    deploy(alice, (one, 90), (two, 10))
    (slot,) = rollouts.desired(session, session.get_one(Node, node.node.id), 0)
    told = [(version["version_id"], version["percentage"]) for version in slot["versions"]]
    assert told == [(one, 90), (two, 10)]
    assert [version["spec"]["version_id"] for version in slot["versions"]] == [one, two]


def test_an_upload_takes_all_requests(alice: Tenant, one: str, two: str) -> None:
    deploy(alice, (one, 90), (two, 10))
    alice.result("PUT", SCRIPT, **upload_parts(answering("three")))
    ((three, share),) = live(alice)
    assert (three not in (one, two), share) == (True, 100)


def test_who_may_not_share(alice: Tenant, mallory: Tenant, one: str, two: str) -> None:
    three = upload(alice, "three")
    status, code, message = refusal(alice, (one, 50), (two, 25), (three, 25))
    assert (status, code) == (400, 10083)
    assert "at most 2 versions, and this one names 3" in message
    assert "named twice" in refusal(alice, (one, 50), (one, 50))[2]
    assert "whole numbers" in refusal(alice, (one, 33.3), (two, 66.7))[2]
    assert "add up to 100" in refusal(alice, (one, 90), (two, 20))[2]
    mallory.result("PUT", SCRIPT, **upload_parts())
    theirs = mallory.result("GET", f"{SCRIPT}/versions")["items"][0]["id"]
    for unknown in (theirs, "no such version", "\0"):
        assert refusal(alice, (one, 90), (unknown, 10))[0] in (400, 404)
    assert refusal(alice, (one, 90), (theirs, 10))[:2] == (404, 10224)


def test_who_owns_storage_has_one_version(alice: Tenant) -> None:
    metadata = {"migrations": {"new_tag": "v1", "new_sqlite_classes": ["Room"]}}
    alice.result("PUT", SCRIPT, **upload_parts(OBJECTS % 1, **metadata))
    alice.result("PUT", SCRIPT, **upload_parts(OBJECTS % 2))
    two, one = [found["id"] for found in alice.result("GET", f"{SCRIPT}/versions")["items"]]
    status, code, message = refusal(alice, (one, 90), (two, 10))
    assert (status, code) == (400, 10400)
    assert message.startswith("my-app has Durable Objects, and what they store")
    deploy(alice, (one, 100))


def test_who_has_workflows_has_one_version(alice: Tenant) -> None:
    bound = {"type": "workflow", "name": "ORDERS", "workflow_name": "o", "class_name": "Orders"}
    for number in (1, 2):
        alice.result("PUT", SCRIPT, **upload_parts(WORKFLOW % number, bindings=[bound]))
    two, one = [found["id"] for found in alice.result("GET", f"{SCRIPT}/versions")["items"]]
    assert refusal(alice, (one, 90), (two, 10))[2].startswith("my-app has workflows")


def test_versions_on_both_sides_of_a_migration_do_not_share(alice: Tenant, one: str) -> None:
    made = {"migrations": {"new_tag": "v1", "new_sqlite_classes": ["Room"]}}
    gone = {"migrations": {"old_tag": "v1", "new_tag": "v2", "deleted_classes": ["Room"]}}
    alice.result("PUT", SCRIPT, **upload_parts(OBJECTS % 1, **made))
    alice.result("PUT", SCRIPT, **upload_parts(answering("after"), **gone))
    newest = alice.result("GET", f"{SCRIPT}/versions")["items"][0]["id"]
    status, code, message = refusal(alice, (newest, 90), (one, 10))
    assert (status, code) == (400, 10212)
    assert "Version 1 of my-app was uploaded before its Durable Objects were migrated" in message


def test_what_either_version_binds_stays(alice: Tenant, one: str) -> None:
    space = alice.result("POST", "storage/kv/namespaces", json={"title": "kept"})["id"]
    bound = [{"type": "kv_namespace", "name": "KV", "namespace_id": space}]
    two = upload(alice, "two", bindings=bound)
    deploy(alice, (one, 100), (two, 0))
    status, code, message = alice.refusal("DELETE", f"storage/kv/namespaces/{space}")
    assert (status, code) == (400, 10051)
    assert "my-app" in message
    deploy(alice, (one, 100))
    alice.result("DELETE", f"storage/kv/namespaces/{space}")


def test_a_secret_and_a_setting_do_not_end_a_split(alice: Tenant, one: str, two: str) -> None:
    deploy(alice, (one, 10), (two, 90))
    secret = {"name": "KEY", "text": "s3cret", "type": "secret_text"}
    status, code, message = alice.refusal("PUT", f"{SCRIPT}/secrets", json=secret)
    assert (status, code) == (400, 10215)
    assert "split between version 2 (90 %) and version 1 (10 %)" in message
    variables = {"bindings": [{"name": "REGION", "type": "plain_text", "text": "north"}]}
    settings = {"settings": (None, json.dumps(variables), "application/json")}
    assert alice.refusal("PATCH", f"{SCRIPT}/settings", files=settings)[:2] == (400, 10214)
    with pytest.raises(SettingsNotChangeable, match="Nothing was changed"):
        revisions.set_cpu_limit(alice.id, "my-app", 50, by=alice.actor)
    assert live(alice) == [(two, 90), (one, 10)]
    assert len(alice.result("GET", f"{SCRIPT}/versions")["items"]) == 2
    # What belongs to the script and not to a version changes as ever.
    alice.result("PATCH", f"{SCRIPT}/script-settings", json={"scaling": {"idle_seconds": 300}})
    alice.result("PATCH", "workers/workers/my-app/versions/latest", json={"env": {"KEY": secret}})
    assert live(alice) == [(two, 90), (one, 10)]
    deploy(alice, (two, 100), (one, 0))
    assert alice.refusal("PUT", f"{SCRIPT}/secrets", json=secret)[1] == 10215, "a newer one waits"


def test_a_secret_is_set_once_the_latest_has_all(alice: Tenant, one: str, two: str) -> None:
    deploy(alice, (two, 100), (one, 0))
    secret = {"name": "KEY", "text": "s3cret", "type": "secret_text"}
    alice.result("PUT", f"{SCRIPT}/secrets", json=secret)
    assert [share for _, share in live(alice)] == [100]


def test_a_consumer_needs_its_handler_in_both(alice: Tenant, one: str) -> None:
    queue = alice.result("POST", "queues", json={"queue_name": "jobs"})["queue_id"]
    source = "export default { fetch: () => new Response(''), queue() {} }"
    made = alice.result("POST", f"{SCRIPT}/versions", **upload_parts(source))
    consumer = {"type": "worker", "script_name": "my-app", "settings": {}}
    deploy(alice, (made["id"], 90), (one, 10))
    refused = alice.refusal("POST", f"queues/{queue}/consumers", json=consumer)
    assert refused[:2] == (400, 11001)
    deploy(alice, (made["id"], 100))
    alice.result("POST", f"queues/{queue}/consumers", json=consumer)

"""Queues in the API: Cloudflare's codes, and nobody else's. What is in them: tests/wrangler/test_queues.py."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from api.queues import service
from tests.cast import Tenant, upload_parts

HANDLER = "export default { fetch() { return new Response('hi') }, async queue() {} }"


def make(tenant: Tenant, name: str, **settings: Any) -> str:
    body = {"queue_name": name, "settings": settings}
    made: str = tenant.result("POST", "queues", json=body)["queue_id"]
    return made


def names(tenant: Tenant, query: str = "") -> list[str]:
    return [one["queue_name"] for one in tenant.result("GET", f"queues{query}")]


def bound(queue: object, **more: Any) -> dict[str, Any]:
    binding = {"name": "Q", "type": "queue", "queue_name": queue, **more}
    return upload_parts(HANDLER, bindings=[binding])


def test_made_listed_and_changed(alice: Tenant, mallory: Tenant) -> None:
    jobs = make(alice, "jobs")
    make(alice, "mail", delivery_delay=5, message_retention_period=60)
    assert names(alice) == ["jobs", "mail"]
    assert names(alice, "?name=mail&page=1") == ["mail"]
    assert names(alice, "?name=mail&name=jobs&name=none") == ["jobs", "mail"]
    found = alice.result("GET", f"queues/{jobs}")
    kept = {"delivery_delay": 0, "message_retention_period": 345_600, "delivery_paused": False}
    assert found["settings"] == kept
    assert (found["producers_total_count"], found["consumers_total_count"]) == (0, 0)
    changes = {"queue_name": "jobs", "settings": {"delivery_paused": True}}
    changed = alice.result("PATCH", f"queues/{jobs}", json=changes)
    assert changed["settings"] == {**kept, "delivery_paused": True}
    assert alice.refusal("POST", "queues", json={"queue_name": "jobs"})[:2] == (409, 11009)
    renamed = {"queue_name": "work"}
    assert alice.refusal("PATCH", f"queues/{jobs}", json=renamed)[:2] == (400, 10400)
    make(mallory, "jobs")


@pytest.mark.parametrize("name", ["", "x" * 64, "-ab", "ab-", "a b", "a/b", "ä", "."])
def test_names_that_will_not_do(alice: Tenant, name: str) -> None:
    assert alice.refusal("POST", "queues", json={"queue_name": name})[:2] == (400, 11003)
    assert names(alice) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"delivery_delay": -1},
        {"delivery_delay": 86_401},
        {"message_retention_period": 59},
        {"message_retention_period": 1_209_601, "delivery_paused": True},
    ],
)
def test_settings_that_will_not_do(alice: Tenant, settings: dict[str, Any]) -> None:
    jobs = make(alice, "jobs")
    before = alice.result("GET", f"queues/{jobs}")
    body = {"settings": settings}
    assert alice.refusal("PATCH", f"queues/{jobs}", json=body)[:2] == (400, 100128)
    assert alice.refusal("POST", "queues", json={"queue_name": "b", **body})[:2] == (400, 100128)
    assert alice.result("GET", f"queues/{jobs}") == before
    assert names(alice) == ["jobs"]


def test_a_strangers_queue_is_not_there(alice: Tenant, mallory: Tenant) -> None:
    jobs = make(alice, "jobs")
    consumer = alice.result("POST", f"queues/{jobs}/consumers", json={"type": "http_pull"})
    one = f"/consumers/{consumer['consumer_id']}"
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("PUT", "", {}),
        ("DELETE", "", None),
        ("GET", "/consumers", None),
        ("POST", "/consumers", {}),
        ("GET", one, None),
        ("PUT", one, {}),
        ("DELETE", one, None),
        ("POST", "/messages", {"body": "x"}),
        ("POST", "/messages/batch", {"messages": [{"body": "x"}]}),
        ("POST", "/messages/pull", {}),
        ("POST", "/messages/ack", {}),
        ("GET", "/metrics", None),
        ("POST", "/purge", {"delete_messages_permanently": True}),
    ):
        refused = mallory.refusal(method, f"queues/{jobs}{path}", json=body)
        assert refused[:2] == (404, 11000), (method, path)
    assert names(alice) == ["jobs"]


def test_a_binding_needs_a_queue_that_is_there(alice: Tenant, mallory: Tenant) -> None:
    make(mallory, "jobs")
    script = "workers/scripts/my-app"
    assert alice.refusal("PUT", script, **bound("jobs"))[:2] == (400, 11000)
    assert alice.refusal("PUT", script, **bound(""))[:2] == (400, 10021)
    jobs = make(alice, "jobs")
    assert alice.refusal("PUT", script, **bound("jobs", delivery_delay=-1))[:2] == (400, 10021)
    assert alice.refusal("GET", "workers/services/my-app")[:2] == (404, 10007)
    alice.result("PUT", script, **bound("jobs", delivery_delay=3))
    found = alice.result("GET", f"queues/{jobs}")
    assert found["producers"] == [{"type": "worker", "script": "my-app"}]
    assert alice.refusal("DELETE", f"queues/{jobs}")[:2] == (409, 11005)


def test_consumers(alice: Tenant) -> None:
    jobs, dead = make(alice, "jobs"), make(alice, "dead")
    consumers = f"queues/{jobs}/consumers"
    wanted = {"type": "worker", "script_name": "worker", "dead_letter_queue": "dead"}
    assert alice.refusal("POST", consumers, json=wanted)[:2] == (404, 10007)
    alice.result("PUT", "workers/scripts/worker", **upload_parts())
    assert alice.refusal("POST", consumers, json=wanted)[:2] == (400, 11001)
    alice.result("PUT", "workers/scripts/worker", **upload_parts(HANDLER))
    for wrong in (
        {"dead_letter_queue": "none"},
        {"dead_letter_queue": "jobs"},
        {"type": "ftp"},
        {"settings": {"batch_size": 101}},
        {"settings": {"max_retries": -1}},
        {"settings": {"max_wait_time_ms": 60_001}},
        {"settings": {"max_concurrency": 0}},
        {"settings": {"retry_delay": 86_401}},
    ):
        body = {**wanted, **wrong}
        assert alice.refusal("POST", consumers, json=body)[:2] == (400, 100127), wrong
    assert alice.result("GET", consumers) == []
    made = alice.result("POST", consumers, json={**wanted, "settings": {"batch_size": 50}})
    assert (made["script"], made["dead_letter_queue"]) == ("worker", "dead")
    assert made["settings"]["batch_size"] == 50
    assert made["settings"]["max_retries"] == 3
    assert "service" not in made
    assert alice.refusal("POST", consumers, json=wanted)[:2] == (409, 11004)
    one = f"{consumers}/{made['consumer_id']}"
    changed = alice.result("PUT", one, json={**wanted, "settings": {"max_retries": 9}})
    assert (changed["settings"]["batch_size"], changed["settings"]["max_retries"]) == (10, 9)
    assert alice.refusal("DELETE", f"queues/{jobs}")[:2] == (409, 11005)
    assert alice.refusal("DELETE", f"queues/{dead}")[:2] == (409, 11005)
    assert alice.refusal("DELETE", "workers/services/worker")[:2] == (400, 10064)
    assert alice.refusal("DELETE", f"{consumers}/none")[:2] == (404, 11002)
    alice.result("DELETE", one)
    assert alice.result("GET", f"queues/{jobs}")["consumers"] == []


def test_a_script_that_is_deleted_by_force_consumes_no_more(alice: Tenant) -> None:
    jobs = make(alice, "jobs")
    alice.result("PUT", "workers/scripts/worker", **upload_parts(HANDLER))
    alice.result("POST", f"queues/{jobs}/consumers", json={"script_name": "worker"})
    alice.result("DELETE", "workers/services/worker?force=true")
    assert alice.result("GET", f"queues/{jobs}")["consumers"] == []


def test_every_change_is_told_to_the_store(alice: Tenant, session: Session) -> None:
    jobs = make(alice, "jobs")
    assert service.unconfigured(session) == [jobs]
    queue = service.get(session, alice.id, jobs)
    first = queue.revision
    service.configured(session, jobs, first)
    assert service.unconfigured(session) == []
    alice.result("POST", f"queues/{jobs}/consumers", json={"type": "http_pull"})
    session.expire_all()
    assert queue.revision > first
    assert service.unconfigured(session) == [jobs]
    # One that overtook it says nothing about the newest.
    service.configured(session, jobs, first)
    assert service.unconfigured(session) == [jobs]

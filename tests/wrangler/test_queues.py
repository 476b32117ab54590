"""Queues as wrangler, REST and deployed scripts use them: one sees what the other sent."""

import base64
import json
import time
from typing import Any

import pytest

from tests.cast import Tenant
from tests.platform import Platform
from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

SCRIPT = """
const got = [];
export default {
  async fetch(request, env) {
    if (request.method === "GET") return Response.json(got);
    const { metadata } = (await env.JOBS.send(await request.json())) ?? {};
    return Response.json(metadata ?? null);
  },
  async queue(batch) {
    for (const { body, attempts } of batch.messages) {
      if (body === "bad") throw new Error("on purpose");
      got.push([batch.queue, body, attempts]);
    }
  },
};
"""


def got(project: Project) -> list[Any]:
    found: list[Any] = project.platform.get(project.hostname).json()
    return found


def wait_for(project: Project, message: list[Any]) -> None:
    deadline = time.monotonic() + 30
    while message not in got(project):
        assert time.monotonic() < deadline, f"{message} never came, only {got(project)}"
        time.sleep(0.1)


def send(project: Project, body: Any) -> None:
    answer = project.platform.put(project.hostname, "/", json.dumps(body).encode())
    assert answer.status_code == 200, answer.text


def queue_id(project: Project, name: str) -> str:
    (found,) = project.platform.api.result("GET", f"queues?name={name}")
    return str(found["queue_id"])


def test_producing_and_consuming(wrangler: Wrangler, project: Project) -> None:
    jobs = f"jobs-{wrangler.version.replace('.', '-')}"
    dead = f"dead-{jobs}"
    project.write({"index.js": SCRIPT})
    consumer = {
        "max_batch_size": 2,
        "max_batch_timeout": 0,
        "max_retries": 1,
        "dead_letter_queue": dead,
        "max_concurrency": 5,
        "retry_delay": 0,
    }
    project.configure(
        queues={
            "producers": [{"binding": "JOBS", "queue": jobs}],
            "consumers": [{"queue": jobs, **consumer}],
        }
    )
    wrangler("queues", "create", jobs)
    assert dead in wrangler("queues", "create", dead)
    assert f"Consumer for {jobs}" in wrangler("deploy")
    # A second time the consumers are there already.
    wrangler("deploy")
    send(project, "good")
    wait_for(project, [jobs, "good", 1])
    send(project, "bad")
    api = project.platform.api
    deadline = time.monotonic() + 60
    while api.result("GET", f"queues/{queue_id(project, dead)}/metrics")["backlog_count"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)

    said = wrangler("queues", "info", jobs)
    assert project.name in said
    assert jobs in wrangler("queues", "list")
    wrangler("queues", "pause-delivery", jobs)
    waiting = paused(project, jobs)
    wrangler("queues", "resume-delivery", jobs)
    wait_for(project, [jobs, waiting, 1])

    assert "11005" in wrangler.refused("queues", "delete", jobs)
    wrangler("queues", "consumer", "remove", jobs, project.name)
    wrangler("delete", "--force")
    wrangler("queues", "delete", jobs)
    wrangler("queues", "delete", dead)
    assert api.result("GET", f"queues?name={jobs}") == []


def paused(project: Project, jobs: str) -> str:
    """Wait until a message that is sent stays where it is, and answer which."""
    for number in range(60):
        send(project, f"waits {number}")
        time.sleep(0.5)
        if [jobs, f"waits {number}", 1] not in got(project):
            return f"waits {number}"
    raise AssertionError("delivery never paused")


def test_consumers_that_pull(newest: Wrangler, project: Project) -> None:
    api = project.platform.api
    newest("queues", "create", "pulled", "--delivery-delay-secs=0")
    newest("queues", "consumer", "http", "add", "pulled", "--batch-size=10", "--message-retries=5")
    one = f"queues/{queue_id(project, 'pulled')}"
    assert api.refusal("POST", f"queues/{'0' * 32}/messages/pull", json={})[:2] == (404, 11000)
    sent = api.result("POST", f"{one}/messages", json={"body": "text"})
    assert sent["metadata"]["metrics"]["backlog_count"] == 1
    messages = [
        {"body": {"a": 1}, "content_type": "json"},
        {"body": "AP8=", "content_type": "bytes"},
    ]
    api.result("POST", f"{one}/messages/batch", json={"messages": messages})
    pulled = api.result("POST", f"{one}/messages/pull", json={"batch_size": 10})
    assert pulled["message_backlog_count"] == 3
    found = {entry["metadata"]["CF-Content-Type"]: entry for entry in pulled["messages"]}
    assert found["text"]["body"] == "text"
    assert json.loads(base64.b64decode(found["json"]["body"])) == {"a": 1}
    assert base64.b64decode(found["bytes"]["body"]) == b"\0\xff"
    answer = api.result(
        "POST",
        f"{one}/messages/ack",
        json={
            "acks": [{"lease_id": found["text"]["lease_id"]}],
            "retries": [{"lease_id": found["json"]["lease_id"], "delay_seconds": 0}],
        },
    )
    assert (answer["ackCount"], answer["retryCount"]) == (1, 1)
    (again,) = api.result("POST", f"{one}/messages/pull", json={})["messages"]
    assert (again["id"], again["attempts"]) == (found["json"]["id"], 2)
    newest("queues", "purge", "pulled", "--force")
    assert api.result("GET", f"{one}/metrics")["backlog_count"] == 0
    newest("queues", "update", "pulled", "--delivery-delay-secs=7")
    assert api.result("GET", one)["settings"]["delivery_delay"] == 7
    newest("queues", "consumer", "http", "remove", "pulled")
    assert api.refusal("POST", f"{one}/messages/pull", json={})[0] == 400
    newest("queues", "delete", "pulled")


def test_bad_input_changes_nothing(newest: Wrangler, project: Project) -> None:
    del newest
    api = project.platform.api
    made = api.result("POST", "queues", json={"queue_name": "strict"})
    one = f"queues/{made['queue_id']}"
    large = {"body": "x" * 128_001}
    assert api.refusal("POST", f"{one}/messages", json=large)[:2] == (413, 10204)
    many = {"messages": [{"body": "x"}] * 101}
    assert api.refusal("POST", f"{one}/messages/batch", json=many)[:2] == (413, 10206)
    heavy = {"messages": [{"body": "x" * 100_000}] * 3}
    assert api.refusal("POST", f"{one}/messages/batch", json=heavy)[:2] == (413, 10205)
    late = {"body": "x", "delay_seconds": 86_401}
    assert api.refusal("POST", f"{one}/messages", json=late)[:2] == (400, 10203)
    odd = {"body": "x", "content_type": "v8"}
    assert api.refusal("POST", f"{one}/messages", json=odd)[:2] == (400, 10203)
    assert api.result("GET", f"{one}/metrics")["backlog_count"] == 0
    api.result("DELETE", one)


def test_a_queue_that_is_not_there(newest: Wrangler, project: Project) -> None:
    project.write({"index.js": SCRIPT})
    project.configure(queues={"producers": [{"binding": "JOBS", "queue": "never-made"}]})
    assert 'Queue "never-made" does not exist' in newest.refused("deploy", "--no-x-provision")
    project.is_not_there()
    # The same without being told so makes it.
    newest("deploy")
    send(project, "kept")
    path = f"queues/{queue_id(project, 'never-made')}/metrics"
    assert project.platform.api.result("GET", path)["backlog_count"] == 1


def test_a_queue_that_fills_up_is_told(platform: Platform) -> None:
    """Its store is asked by the running worker; what waits there fires, what is purged is resolved."""
    api = platform.api
    one = f"queues/{api.result('POST', 'queues', json={'queue_name': 'filling'})['queue_id']}"
    api.result("POST", "queues", json={"queue_name": "calm"})
    rules = [
        api.result(
            "POST",
            "skerry/alerts/rules",
            json={"name": f"{kind} {queue}", "kind": kind, "threshold": limit, "queue": queue},
        )["id"]
        for kind, limit in (("queue_backlog", 3), ("queue_age", 0.001))
        for queue in ("filling", None)
    ]
    for body in ("a", "b", "c"):
        api.result("POST", f"{one}/messages", json={"body": body})
    told = _alerts_of(api, rules, "firing")
    assert {alert["subject"] for alert in told} == {"filling"}
    assert any("3 messages wait in the queue filling" in alert["summary"] for alert in told)
    api.result("POST", f"{one}/purge", json={"delete_messages_permanently": True})
    _alerts_of(api, rules, "resolved")
    api.result("DELETE", one)
    # What was about this queue alone went with it.
    left = [one["id"] for one in api.result("GET", "skerry/alerts/rules") if one["id"] in rules]
    assert sorted(left) == sorted([rules[1], rules[3]])
    for rule in left:
        api.result("DELETE", f"skerry/alerts/rules/{rule}")


def _alerts_of(api: Tenant, rules: list[str], state: str) -> list[dict[str, Any]]:
    """One of each of these rules about this queue, as soon as beat and worker made it so. Other tests
    leave queues behind, which the rules about all of them find, too."""
    deadline = time.monotonic() + 90
    while True:
        listed = api.result("GET", "skerry/alerts?per_page=50")
        found = [one for one in listed if one["rule_id"] in rules and one["subject"] == "filling"]
        if [one["state"] for one in found] == [state] * len(rules):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.5)

"""Deployments and rollouts: decided once, brought to every node, in order and without gaps."""

import base64
import json
import time
from datetime import timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import create_engine, select, update
from sqlalchemy.orm import Session

from api.clock import now
from api.db import SessionFactory
from api.deployments import rollouts, service
from api.deployments.models import Deployment, Rollout, RolloutState
from api.deployments.rollouts import SlotReport
from api.errors import Unavailable
from api.nodes.models import Node
from api.nodes.service import Enrolment
from api.settings import settings
from tests.cast import Tenant, upload_parts

SCRIPT = "workers/scripts/my-app"


def _rollouts(session: Session) -> list[Rollout]:
    session.expire_all()
    return list(session.scalars(select(Rollout).order_by(Rollout.generation)))


def _deploy(alice: Tenant, version_id: str, **body: Any) -> Any:
    versions = [{"version_id": version_id, "percentage": 100}]
    return alice.result(
        "POST",
        f"{SCRIPT}/deployments",
        json={"strategy": "percentage", "versions": versions, **body},
    )


def _two_versions(alice: Tenant) -> tuple[str, str]:
    alice.result("PUT", SCRIPT, **upload_parts())
    alice.result("PUT", SCRIPT, **upload_parts("export default { fetch: () => new Response('2') }"))
    newer, older = alice.result("GET", f"{SCRIPT}/versions")["items"]
    return older["id"], newer["id"]


def test_a_rollback_is_a_deployment_of_an_older_version(alice: Tenant) -> None:
    older, newer = _two_versions(alice)
    _deploy(alice, older, annotations={"workers/message": "back"})
    listed = alice.result("GET", f"{SCRIPT}/deployments")["deployments"]
    assert [entry["versions"][0]["version_id"] for entry in listed] == [older, newer, older]
    assert listed[0]["annotations"]["workers/message"] == "back"
    assert [entry["state"] for entry in listed] == ["pending", "superseded", "superseded"]


@pytest.mark.parametrize(
    ("shares", "code"),
    [
        ([60], 10083),
        ([60, 50], 10083),
        ([33.3, 66.7], 10083),
        ([0, 0], 10083),
        ([-1, 101], 10004),
        ([], 10004),
        ([100, 100], 10083),
    ],
)
def test_shares_that_cannot_be_deployed_are_refused(
    alice: Tenant, shares: list[float], code: int
) -> None:
    ids = _two_versions(alice)
    versions = [
        {"version_id": version, "percentage": share}
        for version, share in zip(ids, shares, strict=False)
    ]
    body = {"strategy": "percentage", "versions": versions}
    before = alice.result("GET", f"{SCRIPT}/deployments")
    assert alice.refusal("POST", f"{SCRIPT}/deployments", json=body)[1] == code
    assert alice.result("GET", f"{SCRIPT}/deployments") == before


def test_an_unknown_version_cannot_be_deployed(alice: Tenant, mallory: Tenant) -> None:
    older, _ = _two_versions(alice)
    mallory.result("PUT", SCRIPT, **upload_parts())
    body = {"versions": [{"version_id": older, "percentage": 100}]}
    status, code, _ = mallory.refusal("POST", f"{SCRIPT}/deployments", json=body)
    assert (status, code) == (404, 10224)


def test_generations_count_without_gaps_and_a_newer_rollout_supersedes(
    alice: Tenant, node: Enrolment, session: Session
) -> None:
    _two_versions(alice)
    first, second = _rollouts(session)
    assert (first.generation, second.generation) == (1, 2)
    assert (first.state, second.state) == (RolloutState.SUPERSEDED, RolloutState.QUEUED)
    assert session.get_one(Node, node.node.id).generation == 2


def test_a_deployment_enqueues_one_push_per_node_after_the_commit(
    alice: Tenant, node: Enrolment, session: Session, broker: redis.Redis
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    assert broker.llen("push") == 1
    message = json.loads(broker.lindex("push", 0))
    _, arguments, _ = json.loads(base64.b64decode(message["body"]))
    assert arguments == {"rollout_id": _rollouts(session)[0].id}


def test_a_refused_deploy_enqueues_nothing(
    alice: Tenant, node: Enrolment, broker: redis.Redis
) -> None:
    alice.refusal("PUT", SCRIPT, **upload_parts("throw new Error('no')"))
    assert broker.llen("push") == 0


def test_desired_gives_what_changed_since_and_the_newest_only(
    alice: Tenant, node: Enrolment, session: Session
) -> None:
    _two_versions(alice)
    alice.result("PUT", "workers/scripts/other", **upload_parts())
    enrolled = session.get_one(Node, node.node.id)
    assert [slot["name"] for slot in rollouts.desired(session, enrolled, 0)] == ["my-app", "other"]
    assert [slot["generation"] for slot in rollouts.desired(session, enrolled, 0)] == [2, 3]
    assert [slot["name"] for slot in rollouts.desired(session, enrolled, 2)] == ["other"]
    assert rollouts.desired(session, enrolled, 3) == []


def test_a_deleted_script_is_withdrawn_and_its_secrets_are_gone(
    alice: Tenant, node: Enrolment, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    alice.result("DELETE", "workers/services/my-app?force=true")
    enrolled = session.get_one(Node, node.node.id)
    slots = rollouts.desired(session, enrolled, 0)
    assert [(slot["versions"], slot["hostnames"]) for slot in slots] == [([], [])]
    assert alice.refusal("GET", f"{SCRIPT}/versions")[1] == 10007
    alice.result("PUT", SCRIPT, **upload_parts())
    assert len(rollouts.desired(session, enrolled, 0)) == 2


def test_a_slot_carries_revealed_secrets_and_hostnames(
    alice: Tenant, node: Enrolment, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    body = {"name": "KEY", "text": "s3cret", "type": "secret_text"}
    alice.result("PUT", f"{SCRIPT}/secrets", json=body)
    alice.result("POST", f"{SCRIPT}/subdomain", json={"enabled": True})
    (slot,) = rollouts.desired(session, session.get_one(Node, node.node.id), 0)
    assert slot["hostnames"] == ["my-app.alice.localhost"]
    assert slot["versions"][0]["spec"]["bindings"] == [
        {"name": "KEY", "type": "secret_text", "text": "s3cret"}
    ]


def test_a_claimed_rollout_is_nobody_elses_until_its_push_is_lost(
    alice: Tenant, node: Enrolment, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    rollout = _rollouts(session)[0]
    assert rollouts.claim(session, rollout.id) is not None
    assert rollouts.claim(session, rollout.id) is None
    assert rollouts.waiting_too_long(session) == []
    session.execute(update(Rollout).values(due_at=now()))
    assert rollouts.waiting_too_long(session) == [rollout.id]
    assert rollouts.claim(session, rollout.id) is not None


def test_a_push_that_did_not_arrive_is_put_back_with_a_growing_pause(
    alice: Tenant, node: Enrolment, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    rollout = _rollouts(session)[0]
    pauses = []
    for _ in range(8):
        assert rollouts.claim(session, rollout.id)
        session.commit()
        rollouts.put_back(session, rollout.id, "Refused.")
        session.commit()
        session.refresh(rollout)
        pauses.append(round((rollout.due_at - now()).total_seconds()))
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    assert rollout.reason == "Refused. It is tried again in 60 s."


@pytest.mark.parametrize(
    ("state", "rollout_state", "deployment_state"),
    [("live", "acknowledged", "live"), ("failed", "failed", "failed")],
)
def test_a_report_settles_rollout_and_deployment_however_often_it_comes(
    alice: Tenant,
    node: Enrolment,
    session: Session,
    state: str,
    rollout_state: str,
    deployment_state: str,
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    rollout = _rollouts(session)[0]
    report = SlotReport(rollout.script_id, rollout.generation, state, "because")
    for _ in range(2):
        rollouts.record(node.node.id, [report])
    session.expire_all()
    assert rollout.state == rollout_state
    assert session.get_one(Deployment, rollout.deployment_id).state == deployment_state


def test_a_late_report_on_a_superseded_rollout_changes_nothing(
    alice: Tenant, node: Enrolment, session: Session
) -> None:
    _two_versions(alice)
    first, second = _rollouts(session)
    rollouts.record(node.node.id, [SlotReport(first.script_id, 1, "failed", "old")])
    assert [rollout.state for rollout in _rollouts(session)] == ["superseded", "queued"]
    assert second.deployment_id is not None
    assert session.get_one(Deployment, second.deployment_id).state == "pending"


def test_the_answer_says_what_the_nodes_said(alice: Tenant, node: Enrolment) -> None:
    answer = alice.call("PUT", SCRIPT, **upload_parts()).json()
    assert [message["message"].split(";")[0] for message in answer["messages"]] == [
        "edge-1 has not answered yet"
    ]


def test_a_node_that_is_away_is_not_waited_for(
    alice: Tenant, node: Enrolment, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings(), "deploy_wait_seconds", 30.0)
    session.execute(update(Node).values(seen_at=now() - timedelta(minutes=1)))
    session.commit()
    started = time.monotonic()
    answer = alice.call("PUT", SCRIPT, **upload_parts()).json()
    assert time.monotonic() - started < 20
    assert "as soon as it can be reached" in answer["messages"][0]["message"]


def test_without_a_node_the_answer_says_so(alice: Tenant) -> None:
    answer = alice.call("PUT", SCRIPT, **upload_parts()).json()
    assert "No node is enrolled" in answer["messages"][0]["message"]


def test_switching_the_subdomain_rolls_the_same_deployment_out_again(
    alice: Tenant, node: Enrolment, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    alice.result("POST", f"{SCRIPT}/subdomain", json={"enabled": True})
    alice.result("POST", f"{SCRIPT}/subdomain", json={"enabled": True})
    first, second = _rollouts(session)
    assert first.deployment_id == second.deployment_id
    worker = alice.result("GET", "workers/workers/my-app")
    assert worker["subdomain"]["url"] == "http://my-app.alice.localhost:8080"
    alice.result("POST", f"{SCRIPT}/subdomain", json={"enabled": False})
    assert alice.result("GET", "workers/workers/my-app")["subdomain"]["enabled"] is False


def test_renaming_the_subdomain_moves_every_live_script(
    alice: Tenant, mallory: Tenant, node: Enrolment, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    alice.result("POST", f"{SCRIPT}/subdomain", json={"enabled": True})
    alice.result("PUT", "workers/subdomain", json={"subdomain": "wonderland"})
    (slot,) = rollouts.desired(session, session.get_one(Node, node.node.id), 0)
    assert slot["hostnames"] == ["my-app.wonderland.localhost"]
    body = {"subdomain": "mallory"}
    assert alice.refusal("PUT", "workers/subdomain", json=body)[1] == 10031
    assert alice.refusal("PUT", "workers/subdomain", json={"subdomain": "-no"})[1] == 10030


def test_a_database_that_goes_away_after_the_decision_does_not_undo_it(alice: Tenant) -> None:
    nowhere = create_engine("postgresql+psycopg://127.0.0.1:9/none")
    SessionFactory.configure(bind=nowhere)
    with pytest.raises(Unavailable, match="The change is stored"):
        service.await_rollouts("any", timeout_s=0)

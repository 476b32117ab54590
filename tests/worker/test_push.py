"""A push: claimed in one transaction, sent in none, recorded in another; it may run twice."""

import base64
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deployments.models import Deployment, Rollout
from api.nodes.authority import node_name
from api.nodes.models import Node
from tests.cast import Tenant, upload_parts
from tests.worker.agent import Agent
from worker.deployments import push
from worker.sweep import sweep
from worker.targets import edge_node

SCRIPT = "workers/scripts/my-app"


@pytest.fixture
def agent(session: Session, alice: Tenant, tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(session, "edge-1", tmp_path)
    yield agent
    _hang_up(agent)
    edge_node._client.cache_clear()
    agent.stop()


def _hang_up(agent: Agent) -> None:
    edge_node._client(agent.enrolment.ca, node_name(agent.enrolment.node.id)).close()


def _rollout(session: Session) -> Rollout:
    session.expire_all()
    return session.scalars(select(Rollout).order_by(Rollout.generation.desc()).limit(1)).one()


def test_a_push_brings_slot_and_modules_and_is_acknowledged(
    alice: Tenant, agent: Agent, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    push(_rollout(session).id)
    (sent,) = agent.pushes
    (slot,) = sent["slots"]
    (module,) = slot["versions"][0]["spec"]["modules"]
    assert base64.b64decode(sent["modules"][module["digest"]]).startswith(b"export default")
    assert (sent["generation"], slot["generation"]) == (1, 1)
    rollout = _rollout(session)
    assert rollout.state == "acknowledged"
    assert session.get_one(Deployment, rollout.deployment_id).state == "live"
    node = session.get_one(Node, agent.enrolment.node.id)
    assert node.reported_generation == 1
    assert node.seen_at is not None


def test_a_push_that_runs_twice_sends_once(alice: Tenant, agent: Agent, session: Session) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    push(_rollout(session).id)
    push(_rollout(session).id)
    assert len(agent.pushes) == 1


def test_a_refusal_is_recorded_with_its_reason(
    alice: Tenant, agent: Agent, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    agent.state, agent.reason = "failed", "does not start"
    push(_rollout(session).id)
    assert (_rollout(session).state, _rollout(session).reason) == ("failed", "does not start")
    deployments = alice.result("GET", f"{SCRIPT}/deployments")["deployments"]
    assert deployments[0]["state"] == "failed"


def test_a_node_that_is_away_makes_the_rollout_wait(
    alice: Tenant, agent: Agent, session: Session
) -> None:
    agent.stop()
    alice.result("PUT", SCRIPT, **upload_parts())
    push(_rollout(session).id)
    rollout = _rollout(session)
    assert rollout.state == "queued"
    assert rollout.reason == (
        "The node did not answer: its machine, its agent or the network between may be down. "
        "It is tried again in 2 s."
    )


REQUEST = httpx2.Request("POST", "https://127.0.0.1:9/push")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx2.ReadTimeout("x"), "did not answer within 30 s"),
        (httpx2.ConnectTimeout("x"), "did not answer within 30 s"),
        (httpx2.ConnectError("[Errno 111] Connection refused"), "did not answer: its machine"),
        (httpx2.ReadError("x"), "broke off"),
        (httpx2.RemoteProtocolError("x"), "broke off"),
        (ssl.SSLError("x"), "broke off"),
        (
            httpx2.HTTPStatusError("x", request=REQUEST, response=httpx2.Response(500)),
            "answered with status 500 instead",
        ),
    ],
    ids=repr,
)
def test_whatever_happens_is_told_in_words(error: Exception, said: str) -> None:
    words = edge_node._words(error, 30.0)
    assert said in words
    assert words.endswith(".")
    assert not re.search(r"Errno|Error|\[", words)


def test_a_node_with_a_certificate_of_somebody_else_gets_nothing(
    alice: Tenant, agent: Agent, session: Session, tmp_path: Path
) -> None:
    """A second node answers at the first one's address: its certificate bears another name."""
    other = Agent(session, "edge-2", tmp_path)
    agent.enrolment.node.agent_url = other.enrolment.node.agent_url
    session.merge(agent.enrolment.node)
    session.commit()
    alice.result("PUT", SCRIPT, **upload_parts())
    for rollout in session.scalars(select(Rollout)).all():
        push(rollout.id)
    assert "cannot prove to be this node" in " ".join(
        rollout.reason
        for rollout in session.scalars(select(Rollout).execution_options(populate_existing=True))
    )
    assert len(other.pushes) == 1  # its own
    assert agent.pushes == []
    assert other.refused == 0  # not even asked: the kept connection is for its own pushes
    _hang_up(other)
    other.stop()


def test_the_sweep_takes_up_what_is_due(
    alice: Tenant, agent: Agent, session: Session, broker: object
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    rollout = _rollout(session)
    broker.flushdb()  # type: ignore[attr-defined]
    sweep()
    assert broker.llen("push") == 0  # type: ignore[attr-defined]
    rollout.due_at = rollout.created_at
    session.commit()
    sweep()
    assert broker.llen("push") == 1  # type: ignore[attr-defined]

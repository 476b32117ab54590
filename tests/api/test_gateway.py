"""The node gateway: enrolment, and what a node may ask."""

import base64
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.deployments import rollouts
from api.errors import NotFound
from api.gateway import create_gateway
from api.nodes import authority, service
from api.nodes.models import Node
from api.nodes.service import Enrolment
from tests.cast import Tenant, upload_parts
from tests.certificates import request_certificate


@pytest.fixture
def gateway(connection: Connection) -> Iterator[TestClient]:
    with TestClient(create_gateway(), raise_server_exceptions=False) as client:
        yield client


def _ask(gateway: TestClient, node: Enrolment, method: str, path: str, **arguments: object):  # type: ignore[no-untyped-def]
    headers = {"Authorization": f"Bearer {node.token}"}
    return gateway.request(method, f"/edge/v1/{path}", headers=headers, **arguments)  # type: ignore[arg-type]


def _enrol(gateway: TestClient, token: str, name: str = "edge-1", **body: str) -> tuple[int, dict]:  # type: ignore[type-arg]
    asked = {
        "join_token": token,
        "name": name,
        "agent_url": "https://127.0.0.1:8710",
        "csr": request_certificate(),
        **body,
    }
    answer = gateway.post("/edge/v1/enrolments", json=asked)
    return answer.status_code, answer.json()


def test_a_node_enrols_once_per_token(gateway: TestClient, session: Session) -> None:
    token = service.issue_join_token(session)
    session.commit()
    status, enrolled = _enrol(gateway, token)
    assert status == 201
    assert enrolled["generation"] == 0
    assert "BEGIN CERTIFICATE" in enrolled["certificate"]
    assert _enrol(gateway, token, "edge-2")[0] == 401


def test_the_join_token_carries_the_fingerprint_of_the_ca(
    gateway: TestClient, session: Session
) -> None:
    token = service.issue_join_token(session)
    ca = authority.ensure(session)
    session.commit()
    assert token.split(".")[1] == authority.fingerprint(ca)
    assert gateway.get("/edge/v1/ca").text == ca.certificate


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"join_token": "skj1.x.y"}, 401),
        ({"csr": "no pem"}, 400),
        ({"agent_url": "http://127.0.0.1:1"}, 400),
        ({"name": ""}, 400),
    ],
)
def test_a_refused_enrolment_keeps_the_token_good(
    gateway: TestClient, session: Session, body: dict[str, str], status: int
) -> None:
    token = service.issue_join_token(session)
    session.commit()
    assert _enrol(gateway, token, **body)[0] == status
    assert _enrol(gateway, token)[0] == 201


def test_a_new_node_gets_what_is_deployed(
    gateway: TestClient, session: Session, alice: Tenant
) -> None:
    alice.result("PUT", "workers/scripts/my-app", **upload_parts())
    alice.result("PUT", "workers/scripts/gone", **upload_parts())
    alice.result("DELETE", "workers/services/gone")
    token = service.issue_join_token(session)
    session.commit()
    _, enrolled = _enrol(gateway, token)
    headers = {"Authorization": f"Bearer {enrolled['token']}"}
    desired = gateway.get("/edge/v1/desired?since=0", headers=headers).json()
    assert desired["generation"] == 1
    assert [slot["name"] for slot in desired["slots"]] == ["my-app"]
    digest = desired["slots"][0]["versions"][0]["spec"]["modules"][0]["digest"]
    assert b"export default" in gateway.get(f"/edge/v1/modules/{digest}", headers=headers).content
    asked = {"digests": [digest]}
    many = gateway.post("/edge/v1/modules", headers=headers, json=asked).json()["modules"]
    assert b"export default" in base64.b64decode(many[digest])
    unknown = {"digests": [digest, "sha256:" + "0" * 64]}
    assert gateway.post("/edge/v1/modules", headers=headers, json=unknown).status_code == 404
    assert gateway.post("/edge/v1/modules", json=asked).status_code == 401


def test_a_stranger_is_refused(gateway: TestClient, node: Enrolment) -> None:
    assert gateway.get("/edge/v1/desired?since=0").status_code == 401
    node_token, wrong = node.token, Enrolment(node.node, "wrong", "", "", "")
    assert _ask(gateway, wrong, "GET", "desired?since=0").status_code == 401
    assert node_token
    assert _ask(gateway, node, "GET", "desired?since=0").status_code == 200


def test_bad_questions_are_answered_400(gateway: TestClient, node: Enrolment) -> None:
    assert _ask(gateway, node, "GET", "desired?since=-1").status_code == 400
    assert _ask(gateway, node, "GET", "desired?since=x").status_code == 400
    assert _ask(gateway, node, "POST", "reports", json={"generation": "x"}).status_code == 400
    assert _ask(gateway, node, "GET", "modules/sha256:nothing").status_code == 404


def test_a_report_is_a_sign_of_life_and_settles_rollouts(
    gateway: TestClient, node: Enrolment, session: Session, alice: Tenant
) -> None:
    alice.result("PUT", "workers/scripts/my-app", **upload_parts())
    (slot,) = _ask(gateway, node, "GET", "desired?since=0").json()["slots"]
    slots = [{"script_id": slot["script_id"], "generation": 1, "state": "live", "reason": None}]
    report = {"generation": 1, "runtime_version": "2026-11-17", "slots": slots}
    assert _ask(gateway, node, "POST", "reports", json=report).json() == {"generation": 1}
    session.expire_all()
    known = session.get_one(Node, node.node.id)
    assert known.reported_generation == 1
    assert known.seen_at is not None
    deployments = alice.result("GET", "workers/scripts/my-app/deployments")["deployments"]
    assert deployments[0]["state"] == "live"
    shown = alice.result("GET", f"workers/scripts/my-app/deployments/{deployments[0]['id']}")
    assert shown["rollouts"] == [
        {"target": "edge-1", "state": "acknowledged", "reason": "", "generation": 1}
    ]


def test_a_node_that_is_ahead_is_told_everything_again(
    gateway: TestClient, node: Enrolment, session: Session, alice: Tenant
) -> None:
    alice.result("PUT", "workers/scripts/my-app", **upload_parts())
    answer = _ask(gateway, node, "POST", "reports", json={"generation": 40})
    assert answer.json() == {"generation": 41}
    desired = _ask(gateway, node, "GET", "desired?since=40").json()
    assert (desired["generation"], desired["base"]) == (41, 40)
    assert [(slot["name"], slot["generation"]) for slot in desired["slots"]] == [("my-app", 41)]
    # Once only: the next report finds both in step.
    assert _ask(gateway, node, "POST", "reports", json={"generation": 41}).json() == {
        "generation": 41
    }
    too_far = _ask(gateway, node, "POST", "reports", json={"generation": 2**40})
    assert too_far.status_code == 400


def test_a_report_may_carry_a_new_address(
    gateway: TestClient, node: Enrolment, session: Session
) -> None:
    report = {"generation": 0, "agent_url": "https://127.0.0.1:9999/"}
    assert _ask(gateway, node, "POST", "reports", json=report).status_code == 200
    session.expire_all()
    assert session.get_one(Node, node.node.id).agent_url == "https://127.0.0.1:9999"
    bad = _ask(gateway, node, "POST", "reports", json={**report, "agent_url": "ftp://x"})
    assert bad.status_code == 400


def test_a_removed_node_is_a_stranger(
    gateway: TestClient, node: Enrolment, session: Session, alice: Tenant
) -> None:
    alice.result("PUT", "workers/scripts/my-app", **upload_parts())
    rollouts.forget_node(session, service.locked(session, "edge-1"), abandon=False)
    session.commit()
    assert _ask(gateway, node, "GET", "desired?since=0").status_code == 401
    answer = alice.call("PUT", "workers/scripts/my-app", **upload_parts()).json()
    assert "No node is enrolled" in answer["messages"][0]["message"]
    with pytest.raises(NotFound):
        service.locked(session, "edge-1")

"""The credential with which a function reaches its storage: given by a push, narrow, and soon another one."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.clock import now
from api.deployments import lambdas
from api.deployments.models import Rollout
from api.settings import settings
from api.targets import credentials
from api.targets.models import FunctionCredential, LambdaFunction, LambdaTarget
from api.targets.remote import PREFIX
from edge.lambda_zip import CREDENTIAL_VARIABLE, URL_VARIABLE
from tests.aws.cloud import Cloud
from tests.cast import Tenant, upload_parts
from worker.deployments import push

pytestmark = pytest.mark.edge

SCRIPT = "workers/scripts/my-app"
ADDRESS = "https://skerry.example.org"
# What comes of a request that is let in while no node has enrolled.
LET_IN = 503


@pytest.fixture(autouse=True)
def https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "bindings_url", ADDRESS)


@pytest.fixture
def pushed(alice: Tenant, target: LambdaTarget, session: Session) -> None:
    """A script with KV, a queue, another script and a variable, on Lambda."""
    kv = alice.result("POST", "storage/kv/namespaces", json={"title": "kv"})["id"]
    alice.result("POST", "queues", json={"queue_name": "jobs"})
    alice.result("PUT", "workers/scripts/callee", **upload_parts())
    bindings = [
        {"name": "KV", "type": "kv_namespace", "namespace_id": kv},
        {"name": "CALLEE", "type": "service", "service": "callee"},
        {"name": "JOBS", "type": "queue", "queue_name": "jobs", "delivery_delay": 5},
        {"name": "VAR", "type": "plain_text", "text": "v"},
    ]
    alice.result("PUT", SCRIPT, **upload_parts(bindings=bindings))
    lambdas.choose_target(alice.id, "my-app", target.id, by=alice.actor)
    settle(session)


def settle(session: Session) -> None:
    session.expire_all()
    newest = session.scalars(select(Rollout).order_by(Rollout.generation.desc()).limit(1)).one()
    push(newest.id)
    session.expire_all()
    assert (newest.state, newest.reason) == ("acknowledged", "")


def variables(session: Session, cloud: Cloud) -> dict[str, str]:
    return cloud.live(session.scalars(select(LambdaFunction.name)).one())[1]


def test_each_of_two_versions_has_its_own(
    pushed: None, alice: Tenant, session: Session, cloud: Cloud
) -> None:
    one = alice.result("GET", f"{SCRIPT}/versions")["items"][0]["id"]
    kept = {"bindings": [{"name": "KV", "type": "inherit"}]}
    source = "export default { fetch: () => new Response('two') }"
    two = alice.result("POST", f"{SCRIPT}/versions", **upload_parts(source, **kept))["id"]
    shares = [{"version_id": one, "percentage": 60}, {"version_id": two, "percentage": 40}]
    alice.result("POST", f"{SCRIPT}/deployments", json={"versions": shares})
    settle(session)
    found = session.scalars(select(FunctionCredential)).all()
    assert {one.version_id for one in found} == {one, two}
    assert [one.replaced_at for one in found] == [None, None]


def ask(tenant: Tenant, secret: str, what: str) -> Any:
    """As the adapter does."""
    method, path = what.split()
    headers = {"Authorization": f"Bearer {secret}"}
    return tenant.client.request(method, f"{PREFIX}/{path}", headers=headers)


def test_a_push_gives_the_function_one_and_keeps_it_hashed_and_sealed(
    pushed: None, session: Session, cloud: Cloud
) -> None:
    found = variables(session, cloud)
    assert found[URL_VARIABLE] == f"{ADDRESS}{PREFIX}"
    secret = found[CREDENTIAL_VARIABLE]
    assert secret.startswith("skb_")
    stored = session.scalars(select(FunctionCredential)).one()
    assert secret.encode() not in stored.sealed_secret
    assert secret not in stored.digest
    cloud.calls.clear()
    session.scalars(select(Rollout)).one().state = "queued"
    session.commit()
    settle(session)
    assert cloud.changes() == [], "the same version again has the same credential"


# What is asked, the status of the answer, and words of it.
ASKED = [
    ("GET KV/a%2Fkey?urlencoded=true", LET_IN, "No node has enrolled"),
    ("GET KV/", LET_IN, ""),
    ("POST KV/bulk/get", LET_IN, ""),
    ("POST JOBS/message", LET_IN, ""),
    ("POST CALLEE/call", LET_IN, "No node has enrolled"),
    ("GET CALLEE/call", 403, "may not ask GET /call"),
    ("POST callee/call", 403, ""),
    ("POST KV/bulk/put", 403, "may not ask POST /bulk/put"),
    ("POST KV/destroy", 403, "may not ask POST /destroy"),
    ("POST JOBS/purge", 403, "may not ask POST /purge"),
    ("POST JOBS/pull", 403, ""),
    ("GET JOBS/peek", 403, ""),
    ("GET KV", 403, ""),
    ("GET KV/a/b", 403, ""),
    ("GET VAR/a", 403, "Version 1 binds no storage and no Worker as VAR"),
    ("GET OTHER/a", 403, "Version 1 binds no storage and no Worker as OTHER"),
]


def test_it_opens_the_bindings_of_its_version_and_nothing_else(
    pushed: None, alice: Tenant, session: Session, cloud: Cloud
) -> None:
    secret = variables(session, cloud)[CREDENTIAL_VARIABLE]
    for what, status, words in ASKED:
        answer = ask(alice, secret, what)
        assert answer.status_code == status, what
        assert words in answer.headers["x-skerry-refused"]
        assert answer.json()["success"] is False
    for wrong in ("", "skb_guessed", alice.token):
        assert ask(alice, wrong, "GET KV/a").status_code == 403
    assert alice.client.get(f"{PREFIX}/KV/a").status_code == 403
    alice.result("DELETE", "workers/scripts/callee?force=true")
    gone = ask(alice, secret, "POST CALLEE/call")
    assert (gone.status_code, "does not exist" in gone.headers["x-skerry-refused"]) == (404, True)


def test_another_version_of_the_script_has_its_own(
    pushed: None, alice: Tenant, session: Session, cloud: Cloud
) -> None:
    first = variables(session, cloud)[CREDENTIAL_VARIABLE]
    alice.result("PUT", SCRIPT, **upload_parts())
    settle(session)
    assert CREDENTIAL_VARIABLE not in variables(session, cloud), "it binds no storage"
    assert ask(alice, first, "GET KV/a").status_code == LET_IN, "invocations are still under way"
    ended(session)
    assert ask(alice, first, "GET KV/a").status_code == 403


def ended(session: Session) -> None:
    """The time passes for which one that was replaced is still let in."""
    session.expire_all()
    for one in session.scalars(select(FunctionCredential)):
        if one.replaced_at:
            one.replaced_at -= credentials.OVERLAP
    session.commit()


def test_a_week_later_the_function_gets_another_one(
    pushed: None, alice: Tenant, session: Session, cloud: Cloud
) -> None:
    assert lambdas.renew_credentials() == 0
    old = variables(session, cloud)[CREDENTIAL_VARIABLE]
    session.scalars(select(FunctionCredential)).one().issued_at = now() - timedelta(days=7)
    session.commit()
    assert lambdas.renew_credentials() == 1
    settle(session)
    new = variables(session, cloud)[CREDENTIAL_VARIABLE]
    assert new != old
    assert "UpdateFunctionCode" not in cloud.calls
    for secret in (old, new):
        assert ask(alice, secret, "GET KV/a").status_code == LET_IN
    ended(session)
    assert [ask(alice, secret, "GET KV/a").status_code for secret in (old, new)] == [403, LET_IN]
    assert lambdas.renew_credentials() == 0


def test_a_script_that_leaves_is_refused_at_once(
    pushed: None, alice: Tenant, session: Session, cloud: Cloud, target: LambdaTarget
) -> None:
    secret = variables(session, cloud)[CREDENTIAL_VARIABLE]
    lambdas.leave_target(alice.id, "my-app", target.id)
    assert ask(alice, secret, "GET KV/a").status_code == 403
    settle(session)
    assert session.scalars(select(FunctionCredential)).all() == []


def test_without_https_such_a_script_is_refused(
    alice: Tenant, target: LambdaTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv = alice.result("POST", "storage/kv/namespaces", json={"title": "kv"})["id"]
    alice.result("PUT", "workers/scripts/callee", **upload_parts())
    bindings = [
        {"name": "KV", "type": "kv_namespace", "namespace_id": kv},
        {"name": "CALLEE", "type": "service", "service": "callee"},
        {"name": "ITSELF", "type": "service", "service": "my-app"},
    ]
    alice.result("PUT", SCRIPT, **upload_parts(bindings=bindings))
    lines = alice.result("GET", f"{SCRIPT}/skerry-targets")["lines"]
    verdicts = {line["name"]: line["verdict"] for line in lines}
    assert [verdicts[one["name"]] for one in bindings] == ["different"] * 3
    monkeypatch.setattr(settings(), "bindings_url", "")
    refused = alice.refusal("PUT", f"{SCRIPT}/skerry-targets/{target.id}")
    assert "KV: A function reaches the storage over HTTPS" in refused[2]
    assert "CALLEE: A function reaches another Worker over HTTPS" in refused[2]
    assert "ITSELF" not in refused[2]

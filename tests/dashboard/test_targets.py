"""Lambda targets in the dashboard: added, refused, chosen, left, removed."""

import re
from collections.abc import Callable

import pytest
from botocore.config import Config
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.deployments.models import Rollout
from api.scripts.models import Script
from api.settings import settings
from api.targets import access, service as targets
from api.targets.models import LambdaFunction, LambdaTarget
from tests.edge.nodes import free_port

ROLE = "arn:aws:iam::123456789012:role/worker"
FORM = {"name": "aws", "region": "eu-central-1", "role_arn": ROLE}


def added(ada: TestClient, session: Session, **fields: str) -> LambdaTarget:
    assert ada.post("/targets", data={**FORM, **fields}).status_code == 303
    return session.scalars(select(LambdaTarget)).one()


def test_without_targets_the_page_says_what_they_are(ada: TestClient) -> None:
    page = ada.get("/targets").text
    assert "There is no Lambda target." in page


def test_each_mistake_is_told_beside_its_field(ada: TestClient, session: Session) -> None:
    wrong = {"name": "", "region": "Frankfurt", "role_arn": "admin", "memory_mib": "much"}
    answer = ada.post("/targets", data=wrong)
    assert answer.status_code == 422
    assert 'id="memory_mib-error"' in answer.text
    answer = ada.post("/targets", data={**wrong, "memory_mib": "1"})
    for field in ("name", "region", "role_arn", "memory_mib"):
        assert f'id="{field}-error"' in answer.text
    assert session.scalars(select(LambdaTarget)).all() == []


def test_a_secret_is_stored_sealed_and_never_shown(ada: TestClient, session: Session) -> None:
    key = {"access_key_id": "AKIAAAAAAAAAAAAAAAAA", "secret_access_key": "very-secret"}
    target = added(ada, session, **key)
    assert target.sealed_secret
    assert b"very-secret" not in target.sealed_secret
    page = ada.get(f"/targets/{target.id}").text
    assert key["access_key_id"] in page
    assert "very-secret" not in page


def test_a_role_shows_its_external_id(ada: TestClient, session: Session) -> None:
    target = added(ada, session, access_role_arn=ROLE)
    assert target.external_id in ada.get(f"/targets/{target.id}").text


def test_a_worker_chooses_a_target_and_leaves_it(
    ada: TestClient, session: Session, deploy: Callable[..., str]
) -> None:
    target = added(ada, session)
    deploy("shop")
    page = ada.get("/workers/shop/targets").text
    assert "Not chosen" in page
    assert re.search(r"0\.00 USD", page)
    assert ada.post(f"/workers/shop/targets/{target.id}/choose").status_code == 303
    page = ada.get("/workers/shop/targets").text
    assert "Leave aws" in page
    (rollout,) = session.scalars(select(Rollout)).all()
    assert rollout.deployment_id is not None
    refused = ada.post(f"/targets/{target.id}/delete")
    assert refused.status_code == 422
    assert "aws still has shop" in refused.text
    ada.post(f"/workers/shop/targets/{target.id}/leave")
    rollouts = session.scalars(select(Rollout).order_by(Rollout.generation)).all()
    assert [one.deployment_id is None for one in rollouts] == [False, True]
    assert ada.post(f"/targets/{target.id}/delete").status_code == 303
    assert session.scalars(select(LambdaTarget)).all() == []


def test_what_cannot_run_there_is_refused_before_a_push(
    ada: TestClient, session: Session, deploy: Callable[..., str]
) -> None:
    target = added(ada, session)
    deploy("shop", "new HTMLRewriter()")
    assert "Impossible" in ada.get("/workers/shop/targets").text
    refused = ada.post(f"/workers/shop/targets/{target.id}/choose")
    assert refused.status_code == 422
    assert "HTMLRewriter: Lambda" in refused.text
    assert session.scalars(select(Rollout)).all() == []


def test_the_tab_stays_marked_and_logs_that_aws_refuses_are_told(
    ada: TestClient,
    session: Session,
    deploy: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = added(ada, session, access_key_id="AKIAAAAAAAAAAAAAAAAA", secret_access_key="s")
    deploy("shop", "new HTMLRewriter()")
    refused = ada.post(f"/workers/shop/targets/{target.id}/choose").text
    current = '<a href="/workers/shop/{}" aria-current="page">'
    assert current.format("targets") in refused
    address = f"/workers/shop/logs/on/{target.id}"
    assert ada.get(address).status_code == 404, "it has no function yet"
    assert address not in ada.get("/workers/shop/logs").text
    script_id = session.scalars(select(Script.id)).one()
    targets.placed(session, target.id, script_id, "skerry-shop", "https://x.lambda-url.eu.on.aws/")
    session.commit()
    assert address in ada.get("/workers/shop/logs").text
    monkeypatch.setattr(settings(), "aws_endpoint_url", f"http://127.0.0.1:{free_port()}")
    once = access._patience().merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    monkeypatch.setattr(access, "_patience", lambda: once)
    page = ada.get(address).text
    assert "AWS could not be reached from the control plane." in page
    assert current.format("logs") in page


def test_drift_is_shown(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    target = added(ada, session)
    deploy("shop")
    ada.post(f"/workers/shop/targets/{target.id}/choose")
    script_id = session.scalars(select(Rollout.script_id)).one()
    targets.placed(session, target.id, script_id, "skerry-shop", "https://x.lambda-url.eu.on.aws/")
    targets.looked(session, target.id, script_id, ["The function is gone."])
    session.commit()
    page = ada.get("/workers/shop/targets").text
    assert "The function is gone." in page
    assert "https://x.lambda-url.eu.on.aws/" in page
    assert session.scalars(select(LambdaFunction.drift)).one() == "The function is gone."

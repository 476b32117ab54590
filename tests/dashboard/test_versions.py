from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.deployments import rollouts, service as deployments
from api.pagination import Page
from api.scripts import service as scripts

FRAGMENT = {"HX-Request": "true"}


def test_an_older_version_is_rolled_back_to_and_forward_again(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    first, second = deploy("shop", "one"), deploy("shop", "two")
    assert "Roll back to version 1" in ada.get("/workers/shop").text

    answer = ada.post("/workers/shop/deployments", data={"version_id": first})
    assert (answer.status_code, answer.headers["location"]) == (303, "/workers/shop")
    page = ada.get("/workers/shop").text
    assert "Rolling back to version 1." in page
    assert "Deploy version 2" in page
    script = scripts.get(session, account, "shop")
    live = deployments.current(session, script)
    assert live is not None
    assert [version.id for version, _ in live.shares] == [first]

    ada.post("/workers/shop/deployments", data={"version_id": second})
    assert "Deploying version 2." in ada.get("/workers/shop").text
    assert deployments.page_of_deployments(session, script, Page()).total == 4


def test_another_workers_version_cannot_be_deployed(
    ada: TestClient, deploy: Callable[..., str]
) -> None:
    deploy("shop")
    other = deploy("blog")

    assert ada.post("/workers/shop/deployments", data={"version_id": other}).status_code == 404
    assert ada.get(f"/workers/shop/versions/{other}").status_code == 404
    assert ada.post("/workers/shop/deployments", data={"version_id": "x"}).status_code == 400


def test_a_version_shows_its_modules_and_bindings_but_no_secret(
    ada: TestClient, deploy: Callable[..., str]
) -> None:
    version = deploy(
        "shop",
        bindings=[
            {"name": "REGION", "type": "plain_text", "text": "north"},
            {"name": "SETTINGS", "type": "json", "json": {"depth": 3}},
            {"name": "KEY", "type": "secret_text", "text": "do not tell"},
        ],
    )
    page = ada.get(f"/workers/shop/versions/{version}").text

    assert "index.js" in page
    assert "north" in page
    assert "KEY" in page
    assert "do not tell" not in page
    assert version in page


def test_both_histories_are_paged(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    version = deploy("shop")
    for _ in range(25):
        ada.post("/workers/shop/deployments", data={"version_id": version})

    page = ada.get("/workers/shop/deployments").text
    assert "1 to 25 of 26 deployments" in page
    assert 'href="/workers/shop/deployments?page=2"' in page
    assert "26 to 26 of 26 deployments" in ada.get("/workers/shop/deployments?page=2").text


@pytest.mark.parametrize("state", ["live", "failed"])
def test_the_progress_asks_for_itself_until_it_is_final(
    ada: TestClient,
    session: Session,
    account: Account,
    node: Any,
    deploy: Callable[..., str],
    state: str,
) -> None:
    deploy("shop")
    script = scripts.get(session, account, "shop")
    deployment = deployments.current(session, script)
    assert deployment is not None
    address = f"/workers/shop/deployments/{deployment.id}/progress"

    moving = ada.get(address, headers=FRAGMENT).text
    assert f'hx-get="{address}"' in moving
    assert "live on 0 of 1 node" in moving
    assert '<noscript><meta http-equiv="refresh"' in ada.get("/workers/shop").text

    (rollout,) = deployments.rollouts(session, deployment)
    report = rollouts.SlotReport(script.id, rollout.generation, state, "Error: at index.js:3")
    rollouts.record(node.node.id, [report])
    session.commit()
    final = ada.get(address, headers=FRAGMENT).text
    assert "hx-get" not in final
    assert 'hx-swap-oob="innerHTML:#announcer"' in final
    assert ("Live on 1 node" if state == "live" else "Error: at index.js:3") in final
    assert "http-equiv" not in ada.get("/workers/shop").text


def test_the_progress_alone_is_no_page(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    deploy("shop")
    deployment = deployments.current(session, scripts.get(session, account, "shop"))
    assert deployment is not None

    answer = ada.get(f"/workers/shop/deployments/{deployment.id}/progress")
    assert answer.headers["location"] == "/workers/shop"

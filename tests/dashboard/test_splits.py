"""A gradual deployment in the dashboard: begun, moved on, ended, and what it says meanwhile."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.deployments import service as deployments
from api.scripts import service as scripts

DEPLOYMENTS = "/workers/shop/deployments"


@pytest.fixture
def two(deploy: Callable[..., str]) -> tuple[str, str]:
    """Versions 1 and 2, of which the second has all requests."""
    return deploy("shop", "one"), deploy("shop", "two")


def live(session: Session, account: Account) -> list[tuple[int, int]]:
    session.expire_all()
    deployment = deployments.current(session, scripts.get(session, account, "shop"))
    assert deployment is not None
    return [(version.number, share) for version, share in deployment.shares]


def test_from_a_first_step_to_all_and_back(
    ada: TestClient, session: Session, account: Account, two: tuple[str, str]
) -> None:
    one, second = two
    ada.post(DEPLOYMENTS, data={"version_id": one})
    form = f"{DEPLOYMENTS}/new?version_id={second}"
    assert form in ada.get("/workers/shop/versions").text
    page = ada.get(form).text
    assert 'value="10"' in page
    assert "Version 1</option>" in page
    assert 'value="25"' in ada.get(f"{form}&percentage=25").text

    sent = {"version_id": second, "percentage": " 25 ", "rest_id": one}
    answer = ada.post(DEPLOYMENTS, data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, DEPLOYMENTS)
    assert live(session, account) == [(1, 75), (2, 25)]
    page = ada.get(DEPLOYMENTS).text
    assert "Sending 75 % to version 1 and 25 % to version 2." in page
    assert f"/workers/shop/metrics?version={second[:8]}" in page
    assert "Roll back to version 1" in page
    assert "Deploy version 2 at 100 %" in page
    assert 'value="25"' in ada.get(form).text, "what it has now"
    overview = ada.get("/workers/shop").text
    assert all(words in overview for words in ("75 %", "25 %"))
    assert "Gets 25 %" in ada.get(f"/workers/shop/versions/{second}").text

    ada.post(DEPLOYMENTS, data={"version_id": second})
    assert live(session, account) == [(2, 100)]
    ada.post(DEPLOYMENTS, data={**sent, "percentage": "0"})
    assert live(session, account) == [(1, 100), (2, 0)]
    ada.post(DEPLOYMENTS, data={"version_id": one})
    assert live(session, account) == [(1, 100)]


@pytest.mark.parametrize("percentage", ["101", "-1", "3.5", "ten", "", "²", "1" * 400])
def test_a_percentage_that_is_none_is_kept_and_named(
    ada: TestClient,
    session: Session,
    account: Account,
    two: tuple[str, str],
    percentage: str,
) -> None:
    one, second = two
    sent = {"version_id": one, "percentage": percentage, "rest_id": second}
    answer = ada.post(DEPLOYMENTS, data=sent)
    assert answer.status_code == 422
    assert 'href="#percentage"' in answer.text
    assert f'value="{percentage}"' in answer.text
    assert live(session, account) == [(2, 100)]


def test_who_gets_the_others_is_another_version_of_the_worker(
    ada: TestClient,
    session: Session,
    account: Account,
    two: tuple[str, str],
    deploy: Callable[..., str],
) -> None:
    one, second = two
    for rest in (one, deploy("blog"), "", "\0", "x" * 900):
        sent = {"version_id": one, "percentage": "40", "rest_id": rest}
        answer = ada.post(DEPLOYMENTS, data=sent)
        assert answer.status_code == 422, rest
        assert 'href="#rest_id"' in answer.text
        assert 'value="40"' in answer.text
    assert live(session, account) == [(2, 100)]
    assert ada.get(f"{DEPLOYMENTS}/new?version_id=x").status_code == 404
    assert ada.get(f"{DEPLOYMENTS}/new?version_id={second}&percentage=101").status_code == 404


def test_the_editor_says_what_save_and_deploy_ends(ada: TestClient, two: tuple[str, str]) -> None:
    one, second = two
    ends = "Save and deploy sends all of them to what you save."
    assert ends not in ada.get("/workers/shop/edit").text
    ada.post(DEPLOYMENTS, data={"version_id": second, "percentage": "10", "rest_id": one})
    page = ada.get("/workers/shop/edit").text
    assert "version 1 (90 %) and version 2 (10 %)" in page
    assert ends in page
    assert "Most requests get version 1." in page
    assert "which most requests get now" in ada.get(f"/workers/shop/edit?version={one}").text


def test_settings_say_why_they_stay_as_they_are(
    ada: TestClient, session: Session, account: Account, two: tuple[str, str]
) -> None:
    one, second = two
    settings = ada.get("/workers/shop/settings").text
    assert "Two versions share the requests" not in settings
    ada.post(DEPLOYMENTS, data={"version_id": one, "percentage": "40", "rest_id": second})
    assert (
        "split between version 2 (60 %) and version 1 (40 %)"
        in ada.get("/workers/shop/settings").text
    )
    answer = ada.post("/workers/shop/limits", data={"cpu_ms": "77"})
    assert answer.status_code == 422
    assert "The requests are split between" in answer.text
    assert 'value="77"' in answer.text
    variable = {"kind": "plain_text", "name": "REGION", "text": "north"}
    answer = ada.post("/workers/shop/variables", data=variable)
    assert answer.status_code == 422
    assert "north" in answer.text
    assert live(session, account) == [(2, 60), (1, 40)]

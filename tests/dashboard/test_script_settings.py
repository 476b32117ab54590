"""The settings of a Worker: its scaling. Its live URL is in test_workers.py."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.deployments import flows, revisions
from api.scripts import service as scripts
from api.scripts.scaling import Scaling


def _stored(session: Session, account: Account) -> Scaling:
    session.expire_all()
    return scripts.get(session, account, "shop").scaling


def _chosen(page: str) -> list[str]:
    """What the select has chosen: its words."""
    return re.findall(r"<option value=\"\d*\" selected>([^<]+)</option>", page)


def test_a_worker_starts_with_the_nodes_defaults(
    ada: TestClient, make_script: Callable[..., None]
) -> None:
    make_script("shop")
    page = ada.get("/workers/shop/settings").text

    assert _chosen(page) == ["The node&#39;s default"]
    assert re.search(r'name="max_cells"[^>]* value=""', page)


def test_scaling_is_saved_and_told(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    deploy("shop")
    answer = ada.post("/workers/shop/settings", data={"idle_seconds": "60", "max_cells": " 4 "})

    assert (answer.status_code, answer.headers["location"]) == (303, "/workers/shop/settings")
    assert _stored(session, account) == Scaling(idle_seconds=60, max_cells=4)
    page = ada.get("/workers/shop/settings").text
    assert "Saved. Every node scales shop like this" in page
    assert _chosen(page) == ["1 minute"]
    assert re.search(r'name="max_cells"[^>]* value="4"', page)


def test_empty_fields_give_the_nodes_defaults_back(
    ada: TestClient, session: Session, account: Account, make_script: Callable[..., None]
) -> None:
    make_script("shop")
    ada.post("/workers/shop/settings", data={"idle_seconds": "0", "max_cells": "2"})
    assert _stored(session, account) == Scaling(idle_seconds=0, max_cells=2)
    ada.post("/workers/shop/settings", data={"idle_seconds": "", "max_cells": ""})
    assert _stored(session, account) == Scaling()


def test_a_value_that_is_no_choice_is_shown_and_kept(
    ada: TestClient, session: Session, account: Account, make_script: Callable[..., None]
) -> None:
    make_script("shop")
    flows.change_settings(account.id, "shop", {"scaling": {"idle_seconds": 90}})

    assert _chosen(ada.get("/workers/shop/settings").text) == ["90 seconds"]
    ada.post("/workers/shop/settings", data={"idle_seconds": "90", "max_cells": "3"})
    assert _stored(session, account) == Scaling(idle_seconds=90, max_cells=3)


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("max_cells", "0", "Use 1 to 32 processes."),
        ("max_cells", "33", "Use 1 to 32 processes."),
        ("max_cells", "-1", "Enter a whole number"),
        ("max_cells", "many", "Enter a whole number"),
        ("max_cells", "²", "Enter a whole number"),
        ("max_cells", "9" * 5000, "Enter a whole number"),
        ("idle_seconds", "3", "Use 30 to 86,400 seconds, or 0"),
        ("idle_seconds", "\0", "Enter a whole number"),
    ],
)
def test_what_will_not_do_is_explained_beside_its_field(
    ada: TestClient,
    session: Session,
    account: Account,
    make_script: Callable[..., None],
    field: str,
    typed: str,
    said: str,
) -> None:
    make_script("shop")
    typed_form = {"idle_seconds": "60", "max_cells": "4", field: typed}
    refused = ada.post("/workers/shop/settings", data=typed_form)

    assert refused.status_code == 422
    assert f'id="{field}-error"' in refused.text
    assert f'<a href="#{field}">{said}' in refused.text
    assert typed in refused.text
    assert _stored(session, account) == Scaling()


def test_a_limit_of_cpu_is_saved_as_a_version(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    deploy("shop")
    refused = ada.post("/workers/shop/limits", data={"cpu_ms": "900000"})
    assert refused.status_code == 422
    assert "CPU time is 1 to 300,000 ms." in refused.text
    assert 'value="900000"' in refused.text

    saved = ada.post("/workers/shop/limits", data={"cpu_ms": "1500"})
    assert saved.headers["location"] == "/workers/shop/settings"
    page = ada.get("/workers/shop/settings").text
    assert "Saved. Version 2 goes to every node now." in page
    assert re.search(r'name="cpu_ms"[^>]* value="1500"', page)

    ada.post("/workers/shop/limits", data={"cpu_ms": ""})
    session.expire_all()
    assert revisions.running(session, scripts.get(session, account, "shop")).options == {
        "limits": {}
    }

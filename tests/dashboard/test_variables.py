"""Variables, secrets and compatibility of a Worker: each change is a version with the same code, live."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.actor import Actor
from api.accounts.models import Account
from api.deployments import flows, revisions
from api.errors import NewerVersion, ScriptNotFound
from api.scripts import service as scripts
from api.versions.bundle import Upload
from api.versions.models import Version

PATH = "/workers/shop/variables"


def _running(session: Session, account: Account) -> Version:
    session.expire_all()
    return revisions.running(session, scripts.get(session, account, "shop"))


def _bindings(session: Session, account: Account) -> list[dict[str, Any]]:
    return [binding.revealed() for binding in _running(session, account).bindings]


def _add(ada: TestClient, name: str, text: str, kind: str = "plain_text", **more: str) -> Any:
    return ada.post(PATH, data={"name": name, "kind": kind, "text": text, **more})


def test_a_variable_makes_a_version_with_the_same_code(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    deploy("shop")
    digest = _running(session, account).digest
    answer = _add(ada, "GREETING", "good\r\nmorning")

    assert (answer.status_code, answer.headers["location"]) == (303, "/workers/shop/settings")
    version = _running(session, account)
    assert (version.number, version.digest) == (2, digest)
    assert _bindings(session, account) == [
        {"name": "GREETING", "type": "plain_text", "text": "good\nmorning"}
    ]
    page = ada.get("/workers/shop/settings").text
    assert "GREETING is saved. Version 2 goes to every node now." in page
    assert '<code class="lines">good\nmorning</code>' in page
    assert "Settings changed" not in ada.get("/workers/shop/deployments").text
    assert "GREETING added" in ada.get("/workers/shop/deployments").text


def test_json_is_read_and_shown(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    deploy("shop")
    assert _add(ada, "PRICES", '{"tea": [1, 2]}', "json").status_code == 303
    assert _bindings(session, account)[0]["json"] == {"tea": [1, 2]}
    shown = ada.get(f"{PATH}/edit?variable=PRICES").text
    assert "&#34;tea&#34;: [" in shown


def test_a_secret_is_never_shown_and_kept_when_left_empty(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    deploy("shop")
    assert _add(ada, "KEY", "needle", "secret_text").status_code == 303
    for path in ("/workers/shop/settings", f"{PATH}/edit?variable=KEY"):
        assert "needle" not in ada.get(path).text
    refused = _add(ada, "", "needle", "secret_text")
    assert refused.status_code == 422
    assert "needle" not in refused.text

    _add(ada, "API_KEY", "", "secret_text", replacing="KEY")
    assert _bindings(session, account) == [
        {"name": "API_KEY", "type": "secret_text", "text": "needle"}
    ]


def test_editing_keeps_the_order_and_removing_takes_one(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    deploy("shop")
    for name in ("A", "B", "C"):
        _add(ada, name, name.lower())
    _add(ada, "B2", "new", replacing="B")
    names = [binding["name"] for binding in _bindings(session, account)]
    assert names == ["A", "B2", "C"]
    assert ada.post(f"{PATH}/remove", data={"variable": "A"}).status_code == 303
    assert [binding["name"] for binding in _bindings(session, account)] == ["B2", "C"]
    assert ada.post(f"{PATH}/remove", data={"variable": "A"}).status_code == 404


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"name": " "}, "name", "Give it a name."),
        ({"name": "TAKEN"}, "name", "There is a binding called TAKEN already."),
        ({"name": "A\tB"}, "name", "A binding needs a `name`"),
        ({"kind": "json", "text": "{1}"}, "text", "This is not JSON: "),
        ({"kind": "json", "text": "[" * 9999}, "text", "This is not JSON: "),
        ({"text": "a\0b"}, "text", "holds a NUL character"),
        ({"text": "x" * 6000}, "text", "at most 5,120"),
        ({"kind": "kv_namespace"}, "kind", "Choose text, JSON or secret."),
        ({"kind": "secret_text", "text": ""}, "text", "Enter the secret."),
    ],
)
def test_what_will_not_do_is_explained_beside_its_field(
    ada: TestClient,
    session: Session,
    account: Account,
    deploy: Callable[..., str],
    typed: dict[str, str],
    field: str,
    said: str,
) -> None:
    deploy("shop", bindings=[{"name": "TAKEN", "type": "plain_text", "text": "1"}])
    refused = ada.post(PATH, data={"name": "NEW", "kind": "plain_text", "text": "t", **typed})

    assert refused.status_code == 422
    beside = re.search(rf'id="{field}-error">.*?</svg>([^<]*)<', refused.text)
    assert beside
    assert said in beside[1]
    assert _running(session, account).number == 1
    if "name" not in typed:
        assert 'value="NEW"' in refused.text


def test_after_a_roll_back_the_version_that_runs_is_changed(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    first = deploy("shop", "one")
    deploy("shop", "two")
    digest = _running(session, account).digest
    ada.post("/workers/shop/deployments", data={"version_id": first})
    _add(ada, "A", "1")
    version = _running(session, account)
    assert version.number == 3
    assert version.digest != digest


def test_compatibility_is_changed(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    deploy("shop")
    form = {
        "compatibility_date": "2026-02-02",
        "compatibility_flags": "nodejs_compat, no_nodejs_als",
    }
    assert ada.post("/workers/shop/compatibility", data=form).status_code == 303
    version = _running(session, account)
    assert version.compatibility_date == "2026-02-02"
    assert version.compatibility_flags == ["nodejs_compat", "no_nodejs_als"]
    page = ada.get("/workers/shop/settings").text
    assert 'value="nodejs_compat no_nodejs_als"' in page


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("compatibility_date", "", "Enter a date."),
        ("compatibility_date", "2999-01-01", "in the future"),
        ("compatibility_date", "banana", "is not a date"),
        ("compatibility_flags", "no_such_flag", "No such compatibility flag: no_such_flag"),
    ],
)
def test_compatibility_that_the_runtime_refuses_is_told_beside_its_field(
    ada: TestClient,
    session: Session,
    account: Account,
    deploy: Callable[..., str],
    field: str,
    typed: str,
    said: str,
) -> None:
    deploy("shop")
    form = {
        "compatibility_date": "2026-02-02",
        "compatibility_flags": "nodejs_compat",
        field: typed,
    }
    refused = ada.post("/workers/shop/compatibility", data=form)
    assert refused.status_code == 422
    beside = re.search(rf'id="{field}-error">.*?</svg>([^<]*)<', refused.text)
    assert beside
    assert said in beside[1]
    assert f'value="{typed}"' in refused.text
    assert _running(session, account).number == 1


def test_a_deploy_meanwhile_is_not_undone(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str]
) -> None:
    """Somebody deploys between the moment the version was read and the moment it is written."""
    deploy("shop", "one")
    ada_herself = Actor(account.id, "ada@example.org", "0" * 32, "dash")
    deployed: list[str] = []

    def edit(upload: Upload) -> Upload:
        deployed.append(deploy("shop", "two") if not deployed else "")
        return upload

    with pytest.raises(NewerVersion, match="Nothing was changed"):
        revisions.revise(account.id, "shop", edit, by=ada_herself, message="")
    assert _running(session, account).id == deployed[0]


def test_a_worker_without_a_version_has_nothing_to_change(
    ada: TestClient, make_script: Callable[..., None]
) -> None:
    make_script("shop")
    assert "Variables and secrets" not in ada.get("/workers/shop/settings").text
    assert _add(ada, "A", "1").status_code == 404


def test_a_stranger_reaches_nothing(account: Account, deploy: Callable[..., str]) -> None:
    deploy("shop")
    mallory = Actor("f" * 32, "mallory@example.org", "1" * 32, "dash")
    with pytest.raises(ScriptNotFound):
        revisions.remove_binding(mallory.account_id, "shop", "A", by=mallory)
    with pytest.raises(ScriptNotFound):
        flows.roll_back(mallory.account_id, "shop", "x", by=mallory)

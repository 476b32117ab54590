from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.deployments import service as deployments
from api.pagination import Page
from api.scripts import service as scripts
from api.versions import service as versions
from gallery import build, templates


@pytest.fixture(scope="module", autouse=True)
def _built_gallery() -> None:
    for template in templates.load_all():
        build.build(template)


def test_the_gallery_says_what_each_template_creates(ada: TestClient) -> None:
    page = ada.get("/workers/new").text

    for template in templates.load_all():
        assert f'href="/workers/new/{template.name}"' in page
        assert template.description in page
    assert "with the variable <code>GREETING</code>" in page


def test_the_gallery_is_searched(ada: TestClient) -> None:
    page = ada.get("/workers/new?search=hono").text
    assert "Hono API" in page
    assert ">Hello World<" not in page

    fragment = ada.get("/workers/new?search=zebra", headers={"HX-Request": "true"}).text
    assert "No template fits" in fragment
    assert "<html" not in fragment


def test_the_form_begins_with_a_name_that_is_free(
    ada: TestClient, make_script: Callable[..., None]
) -> None:
    assert 'value="hello-world"' in ada.get("/workers/new/hello-world").text

    make_script("hello-world")
    page = ada.get("/workers/new/hello-world").text
    assert 'value="hello-world"' not in page
    assert 'value="hello-world-' in page
    assert ".dev.localhost:8080" in page
    assert "Hello World!" in page


@pytest.mark.parametrize("template", [template.name for template in templates.load_all()])
def test_deploying_a_template(
    ada: TestClient, session: Session, account: Account, template: str
) -> None:
    answer = ada.post(f"/workers/new/{template}", data={"name": " mine "})
    assert (answer.status_code, answer.headers["location"]) == (303, "/workers/mine?created")

    script = scripts.get(session, account, "mine")
    assert script.subdomain_enabled
    deployment = deployments.current(session, script)
    assert deployment is not None
    assert deployment.source == "dash"
    page = ada.get("/workers/mine?created").text
    assert "mine is created" in page
    assert "curl http://mine.dev.localhost:8080" in page
    assert ">you " in ada.get("/workers/mine/deployments").text


def test_a_template_brings_its_variables(
    ada: TestClient, session: Session, account: Account
) -> None:
    ada.post("/workers/new/hono-api", data={"name": "api"})
    version = versions.latest(session, scripts.get(session, account, "api"))

    assert version is not None
    assert [b.public() for b in version.bindings] == [
        {"name": "GREETING", "type": "plain_text", "text": "Hello"}
    ]


def test_sending_the_form_twice_opens_what_is_there(
    ada: TestClient, session: Session, account: Account
) -> None:
    ada.post("/workers/new/hello-world", data={"name": "twice"})
    page = ada.post("/workers/new/hello-world", data={"name": "twice"})

    assert page.status_code == 409
    assert "twice exists already" in page.text
    assert 'href="/workers/twice"' in page.text
    script = scripts.get(session, account, "twice")
    total = versions.page_of_versions(session, script, Page()).total
    assert total == 1


@pytest.mark.parametrize("name", ["", "  ", "Not A Name!", "-x", "x" * 64, "a\0b", "ümlaut"])
def test_a_name_that_will_not_do_stays_in_the_field(
    ada: TestClient, session: Session, account: Account, name: str
) -> None:
    page = ada.post("/workers/new/hello-world", data={"name": name})

    assert page.status_code == 422
    assert 'id="name-error"' in page.text
    assert 'aria-describedby="name-hint name-error"' in page.text
    assert scripts.page_of_scripts(session, account, Page()).total == 0
    if name.isprintable():
        assert f'value="{name}"' in page.text


def test_a_template_that_is_not_there(ada: TestClient) -> None:
    assert ada.get("/workers/new/nothing").status_code == 404
    assert ada.post("/workers/new/nothing", data={"name": "x"}).status_code == 404

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.deployments import rollouts, service as deployments
from api.deployments.models import Rollout
from api.nodes.service import Enrolment
from api.pagination import Page
from api.scripts import service as scripts
from api.versions import service as versions
from gallery import build, templates
from worker.targets import TargetUnreachable, edge_node


@pytest.fixture(scope="module", autouse=True)
def _built_gallery() -> None:
    for template in templates.load_all():
        build.build(template)


def filled_in(ada: TestClient, template: str, **typed: str) -> dict[str, str]:
    """The form of a template as it comes, sent with what was typed."""
    page = ada.get(f"/workers/new/{template}").text
    inputs = re.findall(r'<input[^>]* name="([\w-]+)"[^>]* value="([^"]*)"', page)
    return {**{name: html.unescape(value) for name, value in inputs}, **typed}


def test_the_gallery_says_what_each_template_creates(ada: TestClient) -> None:
    page = ada.get("/workers/new").text

    for template in templates.load_all():
        assert f'href="/workers/new/{template.name}"' in page
        assert template.description in page
    assert "Creates 1 Worker, 1 secret<" in page


def test_the_gallery_is_searched(ada: TestClient) -> None:
    page = ada.get("/workers/new?search=hono").text
    assert "Hono API" in page
    assert ">Hello World<" not in page

    page = ada.get("/workers/new?category=security").text
    assert "Hono with auth" in page
    assert ">Hono API<" not in page
    assert re.search(r'href="/workers/new\?category=security" aria-current="true">Security', page)
    # The search stays in the category, and the categories in the search.
    assert '<input type="hidden" name="category" value="security">' in page
    page = ada.get("/workers/new?category=pages&search=hono").text
    assert "No template fits “hono” in Web pages" in page
    assert 'href="/workers/new?category=api&amp;search=hono"' in page

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
    answer = ada.post(f"/workers/new/{template}", data=filled_in(ada, template, name=" mine "))
    created = f"/workers/mine?created={template}"
    assert (answer.status_code, answer.headers["location"]) == (303, created)

    script = scripts.get(session, account, "mine")
    assert script.subdomain_enabled
    deployment = deployments.current(session, script)
    assert deployment is not None
    assert deployment.source == "dash"
    page = ada.get(created).text
    assert "mine is created" in page
    assert "http://mine.dev.localhost:8080" in page
    assert ">curl " in page or "\ncurl " in page
    assert ">you " in ada.get("/workers/mine/deployments").text


def test_a_template_brings_its_variables(
    ada: TestClient, session: Session, account: Account
) -> None:
    ada.post("/workers/new/hono-api", data={"name": "api", "binding-GREETING": "Ahoy"})
    version = versions.latest(session, scripts.get(session, account, "api"))

    assert version is not None
    assert [b.public() for b in version.bindings] == [
        {"name": "GREETING", "type": "plain_text", "text": "Ahoy"}
    ]


def test_what_is_optional_may_stay_empty(
    ada: TestClient, session: Session, account: Account
) -> None:
    sent = filled_in(ada, "redirects", name="moved")
    assert sent["binding-ELSEWHERE"] == ""
    assert ada.post("/workers/new/redirects", data=sent).status_code == 303

    version = versions.latest(session, scripts.get(session, account, "moved"))
    assert version is not None
    assert version.bindings == []


@pytest.mark.parametrize(
    ("template", "name", "typed", "said"),
    [
        ("hono-api", "GREETING", " ", "Greeting is missing."),
        ("hono-api", "GREETING", "a\0b", "ordinary characters"),
        ("hono-api", "GREETING", "x" * 1001, "ordinary characters"),
        ("ab-test", "PERCENT_B", "101", "give a whole number from 0 to 100"),
        ("ab-test", "PERCENT_B", "50 or so", "give a whole number from 0 to 100"),
        ("redirects", "ELSEWHERE", "javascript:alert(1)", "begins with https://"),
        (
            "hono-auth",
            "API_KEY",
            "short",
            "at least 16 letters, digits, dots, hyphens or underscores. Copy this new one",
        ),
        ("hono-auth", "API_KEY", "", "API key is missing. Copy this new one, or type yours again."),
    ],
)
def test_an_answer_that_will_not_do(
    ada: TestClient,
    session: Session,
    account: Account,
    template: str,
    name: str,
    typed: str,
    said: str,
) -> None:
    sent = filled_in(ada, template, name="kept") | {f"binding-{name}": typed}
    page = ada.post(f"/workers/new/{template}", data=sent)

    assert page.status_code == 422
    assert re.search(rf'id="binding-{name}-error">.*{said}', page.text)
    assert 'value="kept"' in page.text
    assert scripts.page_of_scripts(session, account, Page()).total == 0


def test_a_secret_is_offered_once_and_never_sent_back(
    ada: TestClient, session: Session, account: Account
) -> None:
    first, second = (filled_in(ada, "hono-auth")["binding-API_KEY"] for _ in range(2))
    assert len(first) == len(second) == 32
    assert first != second

    secret = "typed-by-ada-and-long-enough"
    page = ada.post("/workers/new/hono-auth", data={"name": "-", "binding-API_KEY": secret})
    assert page.status_code == 422
    assert secret not in page.text
    assert "a secret is not sent back. Copy this new one, or type yours again." in page.text

    assert ada.post("/workers/new/hono-auth", data={"name": "kept", "binding-API_KEY": secret})
    version = versions.latest(session, scripts.get(session, account, "kept"))
    assert version is not None
    assert [b.public() for b in version.bindings] == [{"name": "API_KEY", "type": "secret_text"}]
    page = ada.get("/workers/kept?created=hono-auth")
    assert secret not in page.text
    assert "API_KEY=&#39;your API key&#39;" in page.text


def test_what_the_runtime_refuses_leaves_nothing(
    ada: TestClient,
    session: Session,
    account: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(templates, "BUILD", tmp_path)
    bundle = tmp_path / "hono-api" / "index.js"
    sent = {"name": "broken", "binding-GREETING": "Ahoy & <hello>"}
    page = ada.post("/workers/new/hono-api", data=sent)
    assert page.status_code == 422
    assert "has not been built" in page.text

    bundle.parent.mkdir()
    bundle.write_text("export default { fetch( }")
    page = ada.post("/workers/new/hono-api", data=sent)

    assert page.status_code == 422
    assert "SyntaxError" in page.text
    assert 'value="broken"' in page.text
    assert 'value="Ahoy &amp; &lt;hello&gt;"' in page.text
    assert scripts.page_of_scripts(session, account, Page()).total == 0


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


def test_a_node_that_is_lost_meanwhile_is_told_in_words(
    ada: TestClient, session: Session, node: Enrolment
) -> None:
    ada.post("/workers/new/hello-world", data={"name": "mid-way"})
    rollout = session.scalars(select(Rollout)).one()
    push = rollouts.claim(session, rollout.id)
    assert push is not None
    session.commit()
    with pytest.raises(TargetUnreachable) as lost:
        edge_node.put(push)  # nothing listens at its address
    rollouts.put_back(session, rollout.id, str(lost.value))
    session.commit()
    for path in ("/workers/mid-way?created=hello-world", f"/nodes/{node.node.id}"):
        page = ada.get(path).text
        assert "The node did not answer: its machine, its agent or the network" in page, path
        assert "It is tried again in 2 s." in page
        assert "Errno" not in page

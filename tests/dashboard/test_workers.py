import html
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.scripts import service as scripts


def test_the_way_in_is_the_list(ada: TestClient) -> None:
    assert ada.get("/").headers["location"] == "/workers"


def test_an_empty_list_teaches_both_ways(ada: TestClient) -> None:
    page = ada.get("/workers").text

    assert "Deploy your first Worker" in page
    assert "npx wrangler deploy" in page
    assert 'href="/workers/new"' in page


def test_the_list_is_paged(ada: TestClient, make_script: Callable[..., None]) -> None:
    make_script(*(f"app-{number:02d}" for number in range(30)))

    first, second = ada.get("/workers").text, ada.get("/workers?page=2").text
    assert "1 to 25 of 30 Workers" in first
    assert 'rel="next" href="/workers?page=2"' in first
    assert 'rel="prev"' not in first
    assert "26 to 30 of 30 Workers" in second
    assert 'rel="prev" href="/workers"' in second
    names = [f"app-{number:02d}" for number in range(30)]
    assert all((f">{name}<" in first) != (f">{name}<" in second) for name in names)


def test_the_search_finds_by_part_of_a_name(
    ada: TestClient, make_script: Callable[..., None]
) -> None:
    make_script("shop-api", "shop-web", "blog")

    page = ada.get("/workers?search=SHOP").text
    assert ">shop-api<" in page
    assert ">shop-web<" in page
    assert ">blog<" not in page
    assert 'value="SHOP"' in page
    assert "No Worker has" in ada.get("/workers?search=zebra").text


def test_htmx_gets_the_list_alone(ada: TestClient, make_script: Callable[..., None]) -> None:
    make_script("blog")
    fragment = ada.get("/workers?search=blog", headers={"HX-Request": "true"}).text

    assert "<html" not in fragment
    assert fragment in ada.get("/workers?search=blog").text


def test_a_strangers_worker_is_not_there(
    ada: TestClient, session: Session, make_script: Callable[..., None]
) -> None:
    mallory = Account(name="mallory", subdomain="mallory")
    session.add(mallory)
    session.flush()
    make_script("secret-plans", account_id=mallory.id)

    assert "secret-plans" not in ada.get("/workers").text
    for path in ("", "/settings", "/delete", "/versions", "/deployments"):
        assert ada.get(f"/workers/secret-plans{path}").status_code == 404
    answer = ada.post("/workers/secret-plans/delete", data={"typed_name": "secret-plans"})
    assert answer.status_code == 404
    assert scripts.find(session, mallory.id, "secret-plans") is not None


def test_a_worker_called_new_has_a_page(ada: TestClient, make_script: Callable[..., None]) -> None:
    make_script("new")

    assert 'href="/workers/-new"' in ada.get("/workers").text
    assert "<h1>new</h1>" in ada.get("/workers/-new").text
    assert "Create a Worker" in ada.get("/workers/new").text


def test_the_overview_of_a_worker(ada: TestClient, deploy: Callable[..., str]) -> None:
    deploy("shop", message="First one")
    page = ada.get("/workers/shop").text

    assert 'href="http://shop.dev.localhost:8080"' in page
    assert "First one" in page
    assert "Waiting for the first node to join" in page
    assert "up@dev.token" in page
    # Nothing to roll back to.
    assert "Roll back" not in page


def test_what_people_and_programs_wrote_is_only_text(
    ada: TestClient, deploy: Callable[..., str]
) -> None:
    nasty = "<script>alert('x')</script>"
    version = deploy(
        "shop", message=nasty, bindings=[{"name": nasty, "type": "plain_text", "text": nasty}]
    )

    for path in ("", "/versions", "/deployments", f"/versions/{version}"):
        page = ada.get(f"/workers/shop{path}").text
        assert nasty not in page
        assert html.escape(nasty) in page.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


def test_the_live_url_is_switched_off_and_on(ada: TestClient, deploy: Callable[..., str]) -> None:
    deploy("shop")

    off = ada.post("/workers/shop/subdomain", data={"enabled": "false"})
    assert off.headers["location"] == "/workers/shop/settings"
    page = ada.get("/workers/shop/settings").text
    assert "shop no longer answers at its live URL" in page
    assert "Switch the live URL on" in page
    assert "shop no longer answers" not in ada.get("/workers/shop/settings").text
    assert ">Visit" not in page

    ada.post("/workers/shop/subdomain", data={"enabled": "true"})
    assert "Switch the live URL off" in ada.get("/workers/shop/settings").text


def test_deleting_asks_for_the_name(ada: TestClient, make_script: Callable[..., None]) -> None:
    make_script("shop")

    assert "Type shop to confirm" in ada.get("/workers/shop/delete").text
    refused = ada.post("/workers/shop/delete", data={"typed_name": "shopp"})
    assert refused.status_code == 422
    assert 'value="shopp"' in refused.text
    assert 'id="typed_name-error"' in refused.text
    assert ada.get("/workers/shop").status_code == 200


@pytest.mark.parametrize("typed", ["shop", " shop "])
def test_deleting(
    ada: TestClient, session: Session, account: Account, deploy: Callable[..., str], typed: str
) -> None:
    deploy("shop")
    answer = ada.post("/workers/shop/delete", data={"typed_name": typed})

    assert (answer.status_code, answer.headers["location"]) == (303, "/workers")
    assert "shop was deleted" in ada.get("/workers").text
    assert ada.get("/workers/shop").status_code == 404
    assert scripts.find(session, account.id, "shop") is None

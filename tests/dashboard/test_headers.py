import re

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.db import SessionFactory
from tests.dashboard.conftest import browser


@pytest.mark.parametrize("path", ["/login", "/workers", "/workers/none", "/nothing/here"])
def test_pages_are_private_and_load_nothing_from_elsewhere(ada: TestClient, path: str) -> None:
    headers = ada.get(path).headers

    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["cache-control"] == "no-store"
    assert "HX-Request" in headers["vary"]
    assert headers["x-content-type-options"] == "nosniff"


def test_each_answer_has_a_nonce_of_its_own(visitor: TestClient) -> None:
    nonces = {
        re.findall(r"'nonce-([^']+)'", visitor.get("/login").headers["content-security-policy"])[0]
        for _ in range(3)
    }
    assert len(nonces) == 3


def test_our_files_are_kept_under_an_address_that_changes_with_them(visitor: TestClient) -> None:
    page = visitor.get("/login").text
    files = re.findall(r'(?:href|src)="(/static/[^"#]+)', page)
    assert len(files) >= 9

    for address in files:
        answer = visitor.get(address)
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["cache-control"]
    # Modules that import each other have no digest in their address: asked for again each time.
    assert visitor.get("/static/js/copy.js").headers["cache-control"] == "no-cache"


def test_an_unexpected_error_is_a_page_with_words() -> None:
    # Nothing is bound to the session factory: what a page meets when the database is gone.
    SessionFactory.configure(bind=None)
    with browser() as client:
        client.cookies.set("skerry_session", "anything")
        page = client.get("/workers")

    assert page.status_code == 500
    assert "Something went wrong on our side" in page.text
    assert "Traceback" not in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_a_theme_is_remembered_and_wrong_ones_are_not(ada: TestClient) -> None:
    back = ada.post(
        "/theme", data={"theme": "dark"}, headers={"referer": "http://testserver/workers/new"}
    )
    assert back.headers["location"] == "/workers/new"
    assert 'id="tokens-dark" media="all"' in ada.get("/workers").text

    ada.post("/theme", data={"theme": '"><script>'})
    assert 'id="tokens-dark" media="all"' in ada.get("/workers").text


def test_a_theme_does_not_lead_elsewhere(ada: TestClient, session: Session) -> None:
    headers = {"referer": "http://evil.example/workers/new"}
    assert (
        ada.post("/theme", data={"theme": "dark"}, headers=headers).headers["location"]
        == "/workers"
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/workers/shop%00", 404),
        ("GET", "/workers/..%2f..%2fetc", 404),
        ("GET", "/workers/Shop", 404),
        ("GET", "/workers?page=0", 404),
        ("GET", "/workers?page=99999999999999999999", 404),
        ("GET", "/workers/none/versions/not-an-id", 404),
        ("POST", "/workers", 405),
        ("POST", "/workers/none/deployments", 400),
        ("GET", "/workers?search=%00%F0%9F%90%9F", 200),
        ("GET", "/workers?page=400", 200),
    ],
)
def test_odd_requests_get_a_page_and_never_a_5xx(
    ada: TestClient, method: str, path: str, status: int
) -> None:
    page = ada.request(method, path)

    assert page.status_code == status
    assert "<h1>" in page.text
    if status == 405:
        assert page.headers["allow"] == "GET"

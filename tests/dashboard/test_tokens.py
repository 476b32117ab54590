"""API tokens by clicking: made, shown once, revoked."""

import html
import re
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts import tokens
from api.accounts.models import Account, Token
from api.pagination import Page


@pytest.fixture
def make_token(session: Session, account: Account) -> Callable[[str], Token]:
    def make(name: str) -> Token:
        token, _ = tokens.create(session, session.merge(account), name)
        session.commit()
        return token

    return make


def _names(session: Session, account: Account) -> list[str]:
    session.expire_all()
    return [token.name for token in tokens.page_of_tokens(session, account, Page()).rows]


def _secret(page: str) -> str:
    (secret,) = set(re.findall(r"skt_[\w-]+", html.unescape(page)))
    return str(secret)


def test_a_token_is_shown_once_with_a_line_for_each_shell(
    ada: TestClient, session: Session
) -> None:
    made = ada.post("/tokens", data={"name": "laptop"})
    secret = _secret(made.text)

    assert made.headers["cache-control"] == "no-store"
    assert f"export CLOUDFLARE_API_TOKEN={secret}" in made.text
    assert f"set -gx CLOUDFLARE_API_TOKEN &#39;{secret}&#39;" in made.text
    assert f"$Env:CLOUDFLARE_API_TOKEN = &#39;{secret}&#39;" in made.text
    assert tokens.recognise(session, secret) is not None
    listed = ada.get("/tokens").text
    assert secret not in listed
    assert f"…{secret[-4:]}" in listed
    assert "laptop" in listed


def test_a_list_without_tokens_says_so(ada: TestClient) -> None:
    assert "There is no token. Make one below." in ada.get("/tokens").text


@pytest.mark.parametrize("name", ["", "  ", "a" * 101, "a\nb", "\0"])
def test_a_name_that_will_not_do(
    ada: TestClient, session: Session, account: Account, name: str
) -> None:
    refused = ada.post("/tokens", data={"name": name})

    assert refused.status_code == 422
    assert 'id="name-error"' in refused.text
    assert "skt_" not in refused.text
    assert _names(session, account) == []


def test_revoking_is_confirmed(
    ada: TestClient, session: Session, account: Account, make_token: Callable[[str], Token]
) -> None:
    token = make_token("laptop")
    kept = make_token("ci")
    question = ada.get(f"/tokens/{token.id}/revoke").text
    assert "Revoke laptop?" in question
    assert f"<code>{token.last_four}</code>" in question
    assert "./skerry env" not in question
    assert _names(session, account) == ["laptop", "ci"]

    answer = ada.post(f"/tokens/{token.id}/revoke")
    assert (answer.status_code, answer.headers["location"]) == (303, "/tokens")
    assert "laptop is revoked" in ada.get("/tokens").text
    assert _names(session, account) == [kept.name]
    assert ada.post(f"/tokens/{token.id}/revoke").status_code == 404


def test_revoking_the_launchers_own_token_says_what_stops(
    ada: TestClient, make_token: Callable[[str], Token]
) -> None:
    token = make_token(tokens.OF_THE_LAUNCHER)
    assert "./skerry env" in ada.get(f"/tokens/{token.id}/revoke").text


def test_a_strangers_token_is_not_there(ada: TestClient, session: Session) -> None:
    mallory = Account(name="mallory", subdomain="mallory")
    session.add(mallory)
    session.flush()
    token, secret = tokens.create(session, mallory, "hers")
    session.commit()

    assert "hers" not in ada.get("/tokens").text
    assert ada.get(f"/tokens/{token.id}/revoke").status_code == 404
    assert ada.post(f"/tokens/{token.id}/revoke").status_code == 404
    assert tokens.recognise(session, secret) is not None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tokens"),
        ("POST", "/tokens"),
        ("GET", f"/tokens/{'0' * 32}/revoke"),
        ("POST", f"/tokens/{'0' * 32}/revoke"),
        ("GET", "/connect"),
    ],
)
def test_tokens_are_for_members(
    visitor: TestClient, session: Session, account: Account, method: str, path: str
) -> None:
    answer = visitor.request(method, path, data={"name": "x"} if method == "POST" else None)
    if method == "POST":
        assert answer.status_code == 401
        assert 'action="/login"' in answer.text
    else:
        assert answer.headers["location"].startswith("/login")
    assert _names(session, account) == []

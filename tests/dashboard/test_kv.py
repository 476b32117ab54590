"""KV by clicking: namespaces made, renamed, deleted; what cannot be done is said on the page."""

import re

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.kv import service as kv
from api.kv.models import KVNamespace
from api.nodes.models import DiscardedData


def made(ada: TestClient, title: str) -> str:
    answer = ada.post("/kv", data={"title": title})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def titles(session: Session) -> list[str]:
    session.expire_all()
    return list(session.scalars(select(KVNamespace.title).order_by(KVNamespace.title)))


def test_the_first_page_shows_the_command(ada: TestClient) -> None:
    assert "npx wrangler kv namespace create my-cache" in ada.get("/kv").text


def test_made_renamed_and_deleted(ada: TestClient, session: Session) -> None:
    path = made(ada, "cache")
    assert re.fullmatch(r"/kv/[0-9a-f]{32}", path)
    assert "cache" in ada.get("/kv").text
    assert ada.post(f"{path}/settings", data={"title": "sessions"}).status_code == 303
    assert titles(session) == ["sessions"]
    assert "sessions" in ada.get(f"{path}/settings").text
    assert ada.post(f"{path}/delete").headers["location"] == "/kv"
    assert titles(session) == []
    (row,) = session.scalars(select(DiscardedData))
    assert (row.kind, row.name) == ("kv", path.removeprefix("/kv/"))
    assert ada.get(path).status_code == 404


@pytest.mark.parametrize("title", ["", " ", "cache", "x" * 600])
def test_a_title_that_will_not_do(ada: TestClient, session: Session, title: str) -> None:
    path = made(ada, "cache")
    made(ada, "other")
    for address in ("/kv", f"{made(ada, 'third')}/settings"):
        answer = ada.post(address, data={"title": title})
        assert answer.status_code == 422
        assert "title-error" in answer.text
    assert titles(session) == ["cache", "other", "third"]
    assert ada.get(path).status_code == 200


def test_without_a_node_the_page_says_so(ada: TestClient) -> None:
    path = made(ada, "cache")
    assert "No node has enrolled yet" in ada.get(path).text
    typed = {"key": "greeting", "text": "hello"}
    answer = ada.post(f"{path}/key", data=typed)
    assert answer.status_code == 422
    assert "No node has enrolled yet" in answer.text
    assert "hello" in answer.text


def test_a_strangers_namespace_is_not_there(ada: TestClient, session: Session) -> None:
    other = Account(name="other", subdomain="other")
    session.add(other)
    session.flush()
    foreign = kv.create(session, other.id, "theirs")
    session.commit()
    for path in ("", "/settings", "/key"):
        assert ada.get(f"/kv/{foreign.id}{path}").status_code == 404
    for path in ("/settings", "/delete", "/key", "/key/delete"):
        answer = ada.post(f"/kv/{foreign.id}{path}", data={"title": "mine", "key": "a"})
        assert answer.status_code == 404
    assert titles(session) == ["theirs"]
    assert "theirs" not in ada.get("/kv").text

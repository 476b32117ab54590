"""D1 by clicking: databases made and deleted; what cannot be done is said on the page, nothing typed is
lost. What is in them: tests/browser/test_d1.py."""

import re

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.d1 import service as d1
from api.d1.models import D1Database
from api.nodes.models import DiscardedData


def made(ada: TestClient, name: str) -> str:
    answer = ada.post("/d1", data={"name": name})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def names(session: Session) -> list[str]:
    session.expire_all()
    return list(session.scalars(select(D1Database.name).order_by(D1Database.name)))


def test_the_first_page_shows_the_command(ada: TestClient) -> None:
    assert "npx wrangler d1 create my-database" in ada.get("/d1").text


def test_made_and_deleted_with_the_name_typed(ada: TestClient, session: Session) -> None:
    path = made(ada, "people")
    assert re.fullmatch(r"/d1/[0-9a-f-]{36}", path)
    assert path in ada.get("/d1").text
    for typed in ("", "peopl", "People"):
        answer = ada.post(f"{path}/delete", data={"typed_name": typed})
        assert answer.status_code == 422
        assert "typed_name-error" in answer.text
    assert names(session) == ["people"]
    answer = ada.post(f"{path}/delete", data={"typed_name": "people"})
    assert answer.headers["location"] == "/d1"
    assert names(session) == []
    (row,) = session.scalars(select(DiscardedData))
    assert (row.kind, row.name) == ("d1", path.removeprefix("/d1/"))
    assert ada.get(path).status_code == 404


@pytest.mark.parametrize("name", ["", " ", "people", "no name", "x" * 65])
def test_a_name_that_will_not_do(ada: TestClient, session: Session, name: str) -> None:
    made(ada, "people")
    answer = ada.post("/d1", data={"name": name})
    assert answer.status_code == 422
    assert "name-error" in answer.text
    assert names(session) == ["people"]


def test_without_a_node_the_pages_say_so(ada: TestClient) -> None:
    path = made(ada, "people")
    assert "No node has enrolled yet" in ada.get(path).text
    assert "SELECT * FROM &#34;a&#34;&#34;b&#34; LIMIT 50;" in (
        ada.get(f"{path}/console", params={"table": 'a"b'}).text
    )
    answer = ada.post(f"{path}/console", data={"sql": "SELECT 42\r\nAS x", "limit": "200"})
    assert answer.status_code == 422
    assert "No node has enrolled yet" in answer.text
    assert "SELECT 42\nAS x</textarea>" in answer.text
    assert '<option value="200" selected>' in answer.text
    refused = ada.post(f"{path}/console", data={"sql": " ", "limit": "50"})
    assert "sql-error" in refused.text
    assert "limit-error" in ada.post(f"{path}/console", data={"sql": "x", "limit": "9e9"}).text


def test_a_strangers_database_is_not_there(ada: TestClient, session: Session) -> None:
    other = Account(name="other", subdomain="other")
    session.add(other)
    session.flush()
    foreign = d1.create(session, other.id, "theirs")
    session.commit()
    for path in ("", "/table?name=t", "/console", "/delete"):
        assert ada.get(f"/d1/{foreign.id}{path}").status_code == 404
    for path in ("/console", "/delete"):
        answer = ada.post(
            f"/d1/{foreign.id}{path}", data={"typed_name": "theirs", "sql": "SELECT 1"}
        )
        assert answer.status_code == 404
    assert names(session) == ["theirs"]
    assert "theirs" not in ada.get("/d1").text

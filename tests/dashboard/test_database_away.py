"""Postgres is away or hangs: every page says so soon, and what was sent is not lost."""

import html
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.connections import patience
from api.db import SessionFactory, connect
from api.settings import settings
from tests.cast import Tenant

# What is promised, and room for a busy machine.
SECONDS = 3 + 1
PAGES = [
    "/workers",
    "/workers/new/hello-world",
    "/workers/shop/edit",
    "/nodes",
    "/tokens",
    "/login",
]
FORM = {"name": "shop", "kind": "secret_text", "text": "s3cret", "csrf_token": "x"}


@pytest.fixture(params=["hangs", "closed"])
def dead(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that takes connections and never says a word, and one of no server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        if request.param == "closed":
            listener.close()
        yield address


@contextmanager
def away(connection: Connection, dead: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The application asks a dead server for so long."""
    url = f"postgresql+psycopg://skerry:hush@{dead}/skerry"
    monkeypatch.setattr(settings(), "database_url", url)
    engine = connect()
    SessionFactory.configure(join_transaction_mode="conditional_savepoint")
    yield
    engine.dispose()
    SessionFactory.configure(bind=connection, join_transaction_mode="create_savepoint")


def kept_in(page: str) -> str:
    found = re.search(r'name="kept" value="([^"]+)"', page)
    assert found is not None
    return html.unescape(found[1])


def test_every_page_says_so_soon(
    ada: TestClient, connection: Connection, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with away(connection, dead, monkeypatch):
        for path in PAGES:
            began = time.monotonic()
            page = ada.get(path)
            assert time.monotonic() - began < SECONDS, path
            assert page.status_code == 503
            assert page.headers["retry-after"] == "5"
            assert "The database does not answer" in page.text
            assert "Your Workers answer" in page.text
            assert f'href="{path}">Try again' in page.text
            assert "hush" not in page.text
    assert ada.get("/workers").status_code == 200


def test_the_api_says_so_in_its_envelope(
    alice: Tenant, connection: Connection, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with away(connection, dead, monkeypatch):
        began = time.monotonic()
        status, code, message = alice.refusal("GET", "workers/scripts")
        assert time.monotonic() - began < SECONDS
    assert (status, code) == (503, 10500)
    assert "The database does not answer" in message


def test_what_was_sent_is_kept_and_sent_again(
    ada: TestClient, connection: Connection, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.get("/workers/new/hello-world")
    with away(connection, dead, monkeypatch):
        page = ada.post("/workers/new/hello-world", data={"name": "kept"})
        assert page.status_code == 503
        assert "Send it again" in page.text
        again = ada.post("/resend", data={"kept": kept_in(page.text)})
        assert again.status_code == 503
    made = ada.post("/resend", data={"kept": kept_in(again.text)})
    assert made.headers["location"] == "/workers/kept?created=hello-world"
    assert ada.get("/workers/kept").status_code == 200


def test_no_secret_is_readable_on_the_page(
    ada: TestClient, connection: Connection, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with away(connection, dead, monkeypatch):
        page = ada.post("/workers/shop/variables", data=FORM)
        log_in = ada.post("/login", data={"email": "ada@example.org", "password": "hush hush"})
    assert "s3cret" not in page.text
    assert kept_in(page.text)
    assert "hush" not in log_in.text
    assert 'name="kept"' not in log_in.text


@pytest.mark.parametrize("other", ["nonsense", "another browser"])
def test_what_cannot_be_read_is_not_sent(
    ada: TestClient,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    dead: str,
    other: str,
) -> None:
    with away(connection, dead, monkeypatch):
        sealed = kept_in(ada.post("/workers/new/hello-world", data={"name": "kept"}).text)
    if other == "another browser":
        (token,) = (cookie for cookie in ada.cookies.jar if "csrf" in cookie.name)
        token.value = "of another browser"
    else:
        sealed = f"{sealed[:-9]}nonsense="
    page = ada.post("/resend", data={"kept": sealed})
    assert page.status_code == 400
    assert "not kept any more" in page.text
    assert ada.get("/workers/kept").status_code == 404


def test_a_statement_that_hangs_is_given_up_and_the_next_one_works(session: Session) -> None:
    engine = connect()
    before = patience.set(0.2)
    try:
        with engine.connect() as connection:
            began = time.monotonic()
            with pytest.raises(OperationalError, match=r"said nothing for 0\.2 s") as raised:
                connection.execute(text("SELECT pg_sleep(5)"))
            assert time.monotonic() - began < 2
            assert raised.value.connection_invalidated
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
    finally:
        patience.reset(before)
        engine.dispose()

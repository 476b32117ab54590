"""The logs of a Worker: what was recorded, and what happens while somebody looks."""

from collections.abc import Callable

from sqlalchemy import insert
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.clock import now
from api.invocations import partitions
from api.invocations.models import invocations
from api.scripts import service as scripts
from api.tails import service as tails
from dashboard.pages.logs import _line


def _record(session: Session, account: Account, script: str, **changes: object) -> None:
    partitions.ensure(session, {now().date()})
    values = {
        "at": now(),
        "ray": "0123456789abcdef",
        "node_id": "n",
        "account_id": account.id,
        "script_id": scripts.get(session, account, script).id,
        "version_id": "v1",
        "host": "shop.dev.localhost",
        "method": "GET",
        "path": "/cart",
        "status": 200,
        "outcome": "ok",
        "duration_us": 1500,
        "bytes_in": 1,
        "bytes_out": 1,
        "cold": False,
        **changes,
    }
    session.execute(insert(invocations).values(values))
    session.commit()


def test_the_newest_requests(
    ada: TestClient, session: Session, account: Account, make_script: Callable[..., None]
) -> None:
    make_script("shop", "other")
    assert "No request was recorded" in ada.get("/workers/shop/logs").text
    _record(session, account, "shop", path="/<b>cart")
    _record(session, account, "shop", path="/broken", outcome="exception", ray="f" * 16)
    _record(session, account, "other", path="/foreign")
    page = ada.get("/workers/shop/logs").text
    assert "/&lt;b&gt;cart" in page
    assert "1.5 ms" in page
    assert "/broken" in page
    assert "/foreign" not in page
    assert "npx wrangler tail shop" in page
    failed = ada.get("/workers/shop/logs?failed=true").text
    assert "/broken" in failed
    assert "cart" not in failed
    found = ada.get(f"/workers/shop/logs?ray={'F' * 16}-EDGE-1").text
    assert "/broken" in found
    assert "cart" not in found


def test_a_worker_that_does_not_exist_has_no_logs(ada: TestClient) -> None:
    assert ada.get("/workers/nothing/logs").status_code == 404
    assert ada.get("/workers/nothing/logs/stream").status_code == 404


def test_an_eleventh_reader_is_told_so(
    ada: TestClient, session: Session, account: Account, make_script: Callable[..., None]
) -> None:
    make_script("shop")
    script = scripts.get(session, account, "shop")
    for _ in range(10):
        tails.create(account.id, script.id, script.name, [])
    answer = ada.get("/workers/shop/logs/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("event: refused\n")
    assert "10 tails" in answer.text


def test_what_the_page_shows_of_an_invocation() -> None:
    event = {
        "outcome": "exception",
        "eventTimestamp": 1,
        "event": {
            "request": {"method": "GET", "url": "http://a/", "headers": {"cf-ray": "r"}},
            "response": {"status": 500},
        },
        "logs": [{"level": "warn", "message": ["said", {"a": 1}]}],
        "exceptions": [{"name": "TypeError", "message": "boom", "stack": "at x"}],
    }
    assert _line(event) == {
        "at": 1,
        "outcome": "exception",
        "status": 500,
        "about": "GET http://a/",
        "ray": "r",
        "logs": [{"level": "warn", "text": 'said {"a": 1}'}],
        "exceptions": ["TypeError: boom\nat x"],
    }
    assert _line({"event": None, "logs": []})["about"] == "Console"

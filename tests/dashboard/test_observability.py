"""Stored logs, one request explained, and usage: the pages as anybody without JavaScript gets them."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.clock import now
from api.deployments import service as deployments
from api.invocations import partitions
from api.invocations.models import invocations, measures, operations, rollups
from api.logs.models import log_events
from api.scripts import service as scripts

RAY = "0123456789abcdef"


@pytest.fixture
def shop(session: Session, account: Account, deploy: Callable[..., str]) -> str:
    """The id of a Worker that is deployed."""
    deploy("shop")
    partitions.ensure(session, {now().date()}, partitions.LOGS)
    partitions.ensure(session, {now().date()})
    return scripts.get(session, account, "shop").id


def _log(session: Session, account: Account, script_id: str, **changes: Any) -> None:
    values = {
        "at": now(),
        "invocation": RAY,
        "number": 1,
        "kind": "log",
        "account_id": account.id,
        "script_id": script_id,
        "script_name": "shop",
        "version_id": "v1",
        "node_id": "n",
        "entrypoint": "",
        "trigger": "fetch",
        "ray": RAY,
        "outcome": "ok",
        "method": "GET",
        "url": "http://shop.dev.localhost/cart?a=1",
        "path": "/cart",
        "status": 200,
        "duration_us": 1500,
        "cold": False,
        "level": "log",
        "message": "asked <b>for</b>",
        "fields": {"user": {"id": 7}},
        "rate": 1,
        "truncated": False,
        **changes,
    }
    session.execute(insert(log_events).values(values))
    session.commit()


def _exception(session: Session, account: Account, script_id: str) -> None:
    fields = {"name": "TypeError", "message": "no", "stack": "TypeError: no\n    at shop.ts:5:3"}
    changes: dict[str, Any] = {"kind": "exception", "level": "error", "message": "TypeError: no"}
    _log(session, account, script_id, **changes, fields=fields, number=2, outcome="exception")


def test_logs_are_found_by_words_and_fields_and_shared(
    ada: TestClient, session: Session, account: Account, shop: str
) -> None:
    assert "Nothing was stored" in ada.get("/logs").text
    _log(session, account, shop)
    _exception(session, account, shop)
    _log(session, account, shop, kind="invocation", number=0, message="GET /cart", fields={})
    page = ada.get("/logs").text
    assert "asked &lt;b&gt;for&lt;/b&gt;" in page
    assert "at shop.ts:5:3" in page
    assert "1.5 ms" in page
    assert "<rect" in page
    assert f'href="/rays/{RAY}"' in page
    filtered = ada.get("/logs?key=user.id&is=eq&value=7&key=&is=eq&value=").text
    assert "asked" in filtered
    assert "TypeError" not in filtered
    assert 'value="user.id"' in filtered  # and one more row for the next filter
    assert "TypeError" in ada.get("/logs?search=typeerror&worker=shop").text
    assert "TypeError" not in ada.get("/logs?search=typeerror&worker=other").text
    fixed = re.search(r'href="(/logs\?[^"]*from=[^"]*)"', page)
    assert fixed
    assert "asked" in ada.get(fixed[1].replace("&amp;", "&")).text


def test_a_page_of_logs_leads_to_the_older_ones(
    ada: TestClient, session: Session, account: Account, shop: str
) -> None:
    for number in range(60):
        at = now() - timedelta(seconds=number)
        _log(session, account, shop, message=f"line {number:02}", number=number, at=at)
    page = ada.get("/logs").text
    assert "line 00" in page
    assert "line 55" not in page
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older
    second = ada.get(older[1].replace("&amp;", "&")).text
    assert "line 55" in second
    assert "line 00" not in second
    assert 'rel="next"' not in second


def test_logs_are_taken_along_as_lines_of_json(
    ada: TestClient, session: Session, account: Account, shop: str
) -> None:
    _log(session, account, shop)
    _exception(session, account, shop)
    answer = ada.get("/logs/export?key=$metadata.type&is=eq&value=exception")
    assert answer.headers["content-disposition"].endswith('.jsonl"')
    (line,) = answer.text.splitlines()
    assert json.loads(line)["source"]["stack"].endswith("at shop.ts:5:3")
    assert ada.get("/logs/export?key=a&is=regex&value=(").status_code == 400


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("key=$workers.wallTimeMs&is=gt&value=x", "is a number"),
        ("key=$workers.cpuTimeMs&is=gt&value=1", "CPU time"),
        ("from=yesterday", "is no time"),
        ("from=2026-01-02T00:00&to=2026-01-01T00:00", "ends before it begins"),
        ("before=x", "$metadata.id"),
    ],
)
def test_a_query_without_an_answer_says_why(ada: TestClient, query: str, words: str) -> None:
    answer = ada.get(f"/logs?{query}")
    assert answer.status_code == 400
    assert words in answer.text


def _request(session: Session, account: Account, script_id: str, **changes: Any) -> None:
    values = {
        "at": now(),
        "ray": RAY,
        "node_id": "n",
        "account_id": account.id,
        "script_id": script_id,
        "version_id": "v1",
        "host": "shop.dev.localhost",
        "method": "GET",
        "path": "/cart",
        "status": 500,
        "outcome": "exception",
        "duration_us": 93_000,
        "bytes_in": 1,
        "bytes_out": 1,
        "cold": True,
        "start_us": 61_000,
        "front_us": 2000,
        "cell_us": 90_000,
        **changes,
    }
    session.execute(insert(invocations).values(values))
    session.commit()


def test_a_request_is_explained(
    ada: TestClient, session: Session, account: Account, shop: str
) -> None:
    script = scripts.get(session, account, "shop")
    deployment = deployments.current(session, script)
    assert deployment
    ((version, _),) = deployment.shares
    _request(session, account, shop, version_id=version.id)
    page = ada.get(f"/rays/{RAY}").text
    for words in (
        "The Worker threw",
        "is the live URL of shop",
        "It is the only version of deployment 1",
        "whose start took 61 ms",
        "2.0 ms",
        "90.0 ms",
        "1.0 ms",
        "Nothing of it was stored: the Worker&#39;s configuration",
    ):
        assert words in page, words
    _exception(session, account, shop)
    assert "at shop.ts:5:3" in ada.get(f"/rays/{RAY}-EDGE-1").text
    found = ada.get(f"/rays?ray={RAY.upper()}-EDGE-1")
    assert found.headers["location"] == f"/rays/{RAY}"
    assert f'"/rays/{RAY}"' in ada.get(f"/find?search={RAY}").text


def test_what_a_request_asked_of_others_is_drawn(
    ada: TestClient, session: Session, account: Account, shop: str
) -> None:
    timed = {"offset_ms": 10, "duration_ms": 30}
    listed = [
        {"kind": "fetch", "target": "pay.example/<v1>", "method": "POST", "status": 201, **timed},
        {"kind": "fetch", "target": "down.example/", "method": "GET", "status": None, **timed},
        {"kind": "kv_get", "target": "CARTS", "method": "", "status": None, **timed},
    ]
    at = now()
    _request(session, account, shop, at=at)
    invocation: dict[str, Any] = {"kind": "invocation", "number": 0, "at": at, "subrequests": 3}
    _log(session, account, shop, **invocation, fields={"subrequests": listed})
    page = ada.get(f"/rays/{RAY}").text
    for words in (
        '<a href="#subrequests">3</a>',
        "fetch POST pay.example/&lt;v1&gt;",
        "No answer",
        "kv_get CARTS",
        "All of them",
        "90 ms",
        'x="24.75" y="0" width="74.25"',
    ):
        assert words in page, words
    session.execute(update(log_events).values(subrequests=60))
    session.commit()
    assert "3 of them are listed" in ada.get(f"/rays/{RAY}").text
    session.execute(update(log_events).values(subrequests=None))
    session.commit()
    assert "&#34;traces&#34;" in ada.get(f"/rays/{RAY}").text


def test_what_is_not_known_of_a_request_is_said(
    ada: TestClient, session: Session, account: Account, shop: str
) -> None:
    assert ada.get("/rays?ray=x").status_code == 400
    assert "No request of this account" in ada.get(f"/rays/{RAY}").text
    unknown = {"start_us": None, "front_us": None, "cell_us": None}
    _request(session, account, shop, **unknown)
    page = ada.get(f"/rays/{RAY}").text
    assert page.count("not known") == 3
    assert "belongs to an earlier deployment" in page
    session.execute(update(invocations).values(account_id="f" * 32))
    session.commit()
    assert ada.get(f"/rays/{RAY}").status_code == 404


def test_usage_is_shown_and_taken_along(ada: TestClient, session: Session, shop: str) -> None:
    assert "No Worker did anything" in ada.get("/usage").text
    shared = {"script_id": shop, "minute": now(), "version_id": "v", "node_id": "n"}
    counted = {"requests": 1234, "cold": 0, "duration_us": 9_000_000, "bytes_in": 1}
    row = {**shared, "outcome": "ok", "bucket": 1, **counted, "bytes_out": 2_000_000}
    session.execute(insert(rollups).values(row))
    session.execute(insert(measures).values({**shared, "cpu_ms": 77, "memory_bytes": 1}))
    stored = {"script_id": shop, "node_id": "n", "day": now().date(), "kind": "r2"}
    session.execute(insert(operations).values({**stored, "reads": 4321, "writes": 8}))
    of_objects = {**stored, "kind": "durable_objects", "reads": 65, "writes": 87}
    session.execute(insert(operations).values(of_objects))
    session.commit()
    page = ada.get("/usage").text
    for words in (
        "1,234",
        "77 ms",
        "9,000 ms",
        "2.0 MB",
        "4,321 / 8",
        "65 / 87",
        "Storage is what Workers did",
    ):
        assert words in page
    (used,) = csv.DictReader(io.StringIO(ada.get("/usage/export/csv").text))
    assert (used["script"], used["requests"], used["egress_bytes"]) == ("shop", "1234", "2000000")
    assert ada.get("/usage/export/json").json()[0]["cpu_ms"] == 77
    assert ada.get("/usage?from=never").status_code == 400

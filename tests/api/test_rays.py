"""One request explained over REST."""

import gzip
import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection
from starlette.testclient import TestClient

from api.clock import now
from api.gateway import create_gateway
from api.invocations.ingestion import COLUMNS
from api.nodes.service import Enrolment
from tests.cast import Tenant, upload_parts

RAY = "0123456789abcdef"
FETCHED = {
    "kind": "fetch",
    "target": "api.example.com/v1/pay",
    "method": "POST",
    "status": 201,
    "offset_ms": 12,
    "duration_ms": 30,
}
READ = {"kind": "kv_get", "target": "CARTS", "method": "", "status": None, "offset_ms": 3}


@pytest.fixture
def gateway(connection: Connection) -> Iterator[TestClient]:
    with TestClient(create_gateway(), raise_server_exceptions=False) as client:
        yield client


def _sent(gateway: TestClient, node: Enrolment, path: str, body: Any) -> int:
    return gateway.put(
        f"/edge/v1/{path}/{uuid.uuid4()}",
        content=gzip.compress(json.dumps(body).encode()),
        headers={"Authorization": f"Bearer {node.token}"},
    ).status_code


def _batch(alice: Tenant, script_id: str, at: datetime) -> dict[str, Any]:
    """The front's record of the request."""
    (version,) = alice.result("GET", "workers/scripts/shop/versions")["items"]
    values = {
        "at_us": round(at.timestamp() * 1e6),
        "ray": RAY,
        "script_id": script_id,
        "account_id": alice.id,
        "version_id": version["id"],
        "host": "shop.alice.localhost",
        "method": "GET",
        "path": "/",
        "status": 200,
        "outcome": "ok",
        "duration_us": 93_000,
        "bytes_in": 100,
        "bytes_out": 1000,
        "cold": True,
    }
    return {
        "columns": COLUMNS,
        "requests": [[values[name] for name in COLUMNS]],
        "timings": [[61_000, 2000, 90_000]],
    }


@pytest.fixture
def script_id(alice: Tenant) -> str:
    alice.result("PUT", "workers/scripts/shop", **upload_parts())
    return str(alice.result("GET", "workers/scripts")[0]["tag"])


def test_a_request_is_explained_to_its_account_alone(
    gateway: TestClient, node: Enrolment, alice: Tenant, mallory: Tenant, script_id: str
) -> None:
    batch = _batch(alice, script_id, now())
    assert _sent(gateway, node, "batches", {**batch, "timings": [[1, 2, 3]] * 2}) == 400
    assert _sent(gateway, node, "batches", batch) == 200

    found = alice.result("GET", f"skerry/rays/{RAY}-EDGE-1")
    assert found["script"] == {"id": script_id, "name": "shop"}
    assert found["version"]["number"] == 1
    assert "only version of deployment 1" in found["version"]["why"]
    assert found["node"] == {"id": node.node.id, "name": "edge-1"}
    assert found["start"]["cold"] is True
    assert "took 61 ms" in found["start"]["why"]
    assert found["times_ms"] == {
        "total": 93,
        "front": 2,
        "cell": 90,
        "transfer": 1,
        "start": 61,
    }
    assert "observability" in found["logs"]["why"]
    assert found["subrequests"]["count"] is None
    assert "observability" in found["subrequests"]["why"]
    assert mallory.refusal("GET", f"skerry/rays/{RAY}")[0] == 404
    assert alice.refusal("GET", "skerry/rays/nothing")[0] == 404


def test_what_leads_there_now(
    gateway: TestClient, node: Enrolment, alice: Tenant, script_id: str
) -> None:
    def why() -> str:
        return str(alice.result("GET", f"skerry/rays/{RAY}")["route"]["why"])

    batch = _batch(alice, script_id, now())
    place = COLUMNS.index("host")
    batch["requests"][0][place] = "shop.example.com"
    assert _sent(gateway, node, "batches", batch) == 200
    zone = alice.result("POST", "/zones", json={"name": "example.com"})
    domain = {"hostname": "shop.example.com", "service": "shop", "zone_id": zone["id"]}
    alice.result("PUT", "workers/domains", json={**domain, "environment": "production"})
    assert why() == "The host name is a custom domain of shop."
    alice.result("PUT", "workers/scripts/other", **upload_parts())
    route = {"pattern": "https://*.example.com/*", "script": "other"}
    alice.result("POST", f"/zones/{zone['id']}/workers/routes", json=route)
    assert why() == (
        "The host name is a custom domain of shop; the route https://*.example.com/* leads to other."
    )
    alice.result(
        "POST", f"/zones/{zone['id']}/workers/routes", json={**route, "pattern": "*.example.com/*"}
    )
    assert why() == (
        "The route *.example.com/* leads to other; the route https://*.example.com/* leads to other "
        "now. Then it led to shop."
    )
    alice.result("DELETE", f"/zones/{zone['id']}")
    assert why() == "The host name led to shop then."


@pytest.mark.parametrize(
    ("host", "path", "why"),
    [
        ("shop.alice.localhost", "/", "is the live URL of shop."),
        ("shop.example.com", "/", "is a custom domain of shop."),
        ("shop.example.com", "/a?b", "The route *.example.com/a* leads to shop."),
        ("www.example.com", "/b", "led to shop then."),
    ],
)
def test_what_led_to_the_script(
    gateway: TestClient,
    node: Enrolment,
    alice: Tenant,
    script_id: str,
    host: str,
    path: str,
    why: str,
) -> None:
    alice.result("POST", "/zones", json={"name": "example.com"})
    alice.result("PUT", "workers/scripts/shop/routes", json=[{"pattern": "*.example.com/a*"}])
    named = {"hostname": "shop.example.com", "service": "shop"}
    alice.result("PUT", "workers/domains", json=named)
    batch = _batch(alice, script_id, now())
    request = batch["requests"][0]
    request[COLUMNS.index("host")], request[COLUMNS.index("path")] = host, path
    assert _sent(gateway, node, "batches", batch) == 200
    assert alice.result("GET", f"skerry/rays/{RAY}")["route"]["why"].endswith(why)


@pytest.mark.parametrize(
    ("share", "why"),
    [
        (10, "It has 10 % of the requests by deployment 2"),
        (0, "the header Cloudflare-Workers-Version-Overrides asked for it."),
    ],
)
def test_why_one_of_two_versions_answered(
    gateway: TestClient, node: Enrolment, alice: Tenant, script_id: str, share: int, why: str
) -> None:
    batch = _batch(alice, script_id, now())
    one = batch["requests"][0][COLUMNS.index("version_id")]
    source = "export default { fetch: () => new Response('two') }"
    two = alice.result("POST", "workers/scripts/shop/versions", **upload_parts(source))["id"]
    shares = [
        {"version_id": one, "percentage": share},
        {"version_id": two, "percentage": 100 - share},
    ]
    alice.result("POST", "workers/scripts/shop/deployments", json={"versions": shares})
    batch["requests"][0][COLUMNS.index("at_us")] = round(now().timestamp() * 1e6)
    assert _sent(gateway, node, "batches", batch) == 200
    found = alice.result("GET", f"skerry/rays/{RAY}")["version"]
    assert found["number"] == 1
    assert why in found["why"]


def test_what_a_request_asked_of_others_is_told_or_why_not(
    gateway: TestClient, node: Enrolment, alice: Tenant, script_id: str
) -> None:
    """Of its own invocation and of an object's that it was passed on to; what is not known is no 0."""
    at = now().replace(microsecond=0)  # a cell tells whole milliseconds, the front microseconds
    assert _sent(gateway, node, "batches", _batch(alice, script_id, at)) == 200

    def told(begun: datetime, invocation: bool = True, **event: Any) -> dict[str, Any]:
        request = {"url": "http://shop/", "method": "GET", "headers": {"cf-ray": f"{RAY}-EDGE1"}}
        ms = round(begun.timestamp() * 1000)
        shared = {"outcome": "ok", "eventTimestamp": ms, "event": {"request": request}, "logs": []}
        return {
            "script_id": script_id,
            "version_id": "v1",
            "rate": 1,
            "invocation": invocation,
            "heard_ms": ms + 90,
            "event": {**shared, "exceptions": [], **event},
        }

    def asked() -> dict[str, Any]:
        found: dict[str, Any] = alice.result("GET", f"skerry/rays/{RAY}")["subrequests"]
        return found

    line = {"level": "log", "message": ["paid"], "timestamp": at.timestamp() * 1000}
    odd: list[Any] = [None, {"count": -1}, {"count": True}, {"count": "3"}, [3]]
    events = [told(at, logs=[line], subrequests=one) for one in odd]
    assert _sent(gateway, node, "logs", {"events": events}) == 200
    assert asked()["count"] is None
    assert '"traces"' in asked()["why"]
    traced = {"observability": {"enabled": True, "traces": {"enabled": True}}}
    alice.result("PATCH", "workers/scripts/shop/script-settings", json=traced)
    assert "cell could not tell" in asked()["why"]

    secret = {**FETCHED, "target": "api.example.com/v1/pay?key=1", "more": "thing"}
    later = told(
        at + timedelta(milliseconds=50),
        entrypoint="Cart",
        subrequests={"count": 1, "listed": [READ]},
    )
    counted = {"count": 60, "listed": [secret, "no subrequest"]}
    events = [told(at, subrequests=counted, logs=[line]), later]
    assert _sent(gateway, node, "logs", {"events": events}) == 200
    found = asked()
    assert (found["count"], found["duration_ms"]) == (61, 30)
    assert "2 of them are listed" in found["why"]
    assert "another invocation" in found["why"]
    first, second = found["listed"]
    assert first == {"script": "shop", "entrypoint": "", **FETCHED}
    assert (second["kind"], second["entrypoint"], second["method"]) == ("kv_get", "Cart", None)
    assert second["offset_ms"] == 53

    query = {
        "timeframe": {"from": 0, "to": round(at.timestamp() * 1000) + 60_000},
        "view": "events",
        "parameters": {
            "filters": [
                {"key": "$workers.subrequests", "operation": "gt", "type": "number", "value": 50}
            ]
        },
    }
    answer = alice.result("POST", "workers/observability/telemetry/query", json=query)
    rows = answer["events"]["events"]
    assert all(row["$workers"]["subrequests"] == 60 for row in rows)
    assert len(rows) == 2  # the invocation and its line
    (invocation,) = [row for row in rows if row["$metadata"]["type"] == "cf-worker-event"]
    assert invocation["source"]["subrequests"] == [FETCHED]

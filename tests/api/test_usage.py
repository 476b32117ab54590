"""Usage out of known traffic: what nodes recorded is what is counted, per script and day."""

import csv
import gzip
import io
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

USAGE = "skerry/usage"


@pytest.fixture
def gateway(connection: Connection) -> Iterator[TestClient]:
    with TestClient(create_gateway(), raise_server_exceptions=False) as client:
        yield client


def _script(tenant: Tenant, name: str) -> str:
    tenant.result("PUT", f"workers/scripts/{name}", **upload_parts())
    listed = tenant.result("GET", "workers/scripts")
    return str(next(one["tag"] for one in listed if one["id"] == name))


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _record(
    gateway: TestClient,
    node: Enrolment,
    script_id: str,
    at: datetime,
    requests: int,
    cpu_ms: int,
    **stored: tuple[int, int],
) -> None:
    values = {
        "at_us": _us(at),
        "ray": "0123456789abcdef",
        "script_id": script_id,
        "account_id": "a" * 32,
        "version_id": "v1",
        "host": "shop.dev.localhost",
        "method": "GET",
        "path": "/",
        "status": 200,
        "outcome": "ok",
        "duration_us": 2500,
        "bytes_in": 100,
        "bytes_out": 1000,
        "cold": False,
    }
    entry = [values[name] for name in COLUMNS]
    measured = [_us(at), script_id, "v1", cpu_ms, 1]
    batch = {
        "columns": COLUMNS,
        "requests": [entry] * requests,
        "measures": [measured],
        "operations": [[_us(at), script_id, kind, *counts] for kind, counts in stored.items()],
    }
    answer = gateway.put(
        f"/edge/v1/batches/{uuid.uuid4()}",
        content=gzip.compress(json.dumps(batch).encode()),
        headers={"Authorization": f"Bearer {node.token}"},
    )
    assert answer.status_code == 200, answer.text


def test_known_traffic_is_counted_by_script_and_day(
    gateway: TestClient, node: Enrolment, alice: Tenant, mallory: Tenant
) -> None:
    shop, blog = _script(alice, "shop"), _script(alice, "blog")
    today = now().replace(hour=0, minute=0, second=1)
    yesterday = today - timedelta(seconds=2)
    _record(gateway, node, shop, today, 4, 30, kv=(3, 1), d1=(10, 2))
    _record(
        gateway,
        node,
        shop,
        today,
        2,
        12,
        kv=(4, 0),
        queues=(0, 5),
        new=(1, 1),
        durable_objects=(6, 7),
    )
    _record(gateway, node, shop, yesterday, 1, 5)
    _record(gateway, node, blog, today - timedelta(days=3), 1, 1)
    alice.result("DELETE", "workers/scripts/blog")

    found: list[dict[str, Any]] = alice.result("GET", USAGE)
    assert [(one["day"], one["script"], one["requests"], one["cpu_ms"]) for one in found] == [
        (today.date().isoformat(), "shop", 6, 42),
        (yesterday.date().isoformat(), "shop", 1, 5),
        ((today - timedelta(days=3)).date().isoformat(), "blog", 1, 1),
    ]
    first = found[0]
    assert (first["wall_ms"], first["ingress_bytes"], first["egress_bytes"]) == (15, 600, 6000)
    assert (first["kv_reads"], first["kv_writes"]) == (7, 1)
    assert (first["d1_rows_read"], first["d1_rows_written"]) == (10, 2)
    assert (first["queue_messages_received"], first["queue_messages_sent"]) == (0, 5)
    assert (first["durable_object_reads"], first["durable_object_writes"]) == (6, 7)
    assert found[1]["kv_reads"] == first["r2_reads"] == 0
    day = {"from": yesterday.date().isoformat(), "to": yesterday.date().isoformat()}
    assert [one["requests"] for one in alice.result("GET", USAGE, params=day)] == [1]

    table = list(csv.DictReader(io.StringIO(alice.call("GET", f"{USAGE}/export").text)))
    assert [(row["script"], row["requests"]) for row in table] == [
        ("shop", "6"),
        ("shop", "1"),
        ("blog", "1"),
    ]
    as_json = alice.call("GET", f"{USAGE}/export", params={"format": "json"})
    assert json.loads(as_json.text) == found
    assert mallory.result("GET", USAGE) == []


@pytest.mark.parametrize("days", [("2026-02-01", "2026-01-01"), ("2020-01-01", "2026-01-01")])
def test_days_that_cannot_be_meant(alice: Tenant, days: tuple[str, str]) -> None:
    asked = {"from": days[0], "to": days[1]}
    assert alice.refusal("GET", USAGE, params=asked)[0] == 400

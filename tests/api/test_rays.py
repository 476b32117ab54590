"""One request explained over REST."""

import gzip
import json
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection
from starlette.testclient import TestClient

from api.clock import now
from api.gateway import create_gateway
from api.invocations.ingestion import COLUMNS
from api.nodes.service import Enrolment
from tests.cast import Tenant, upload_parts

RAY = "0123456789abcdef"


@pytest.fixture
def gateway(connection: Connection) -> Iterator[TestClient]:
    with TestClient(create_gateway(), raise_server_exceptions=False) as client:
        yield client


def test_a_request_is_explained_to_its_account_alone(
    gateway: TestClient, node: Enrolment, alice: Tenant, mallory: Tenant
) -> None:
    alice.result("PUT", "workers/scripts/shop", **upload_parts())
    script_id = alice.result("GET", "workers/scripts")[0]["tag"]
    (version,) = alice.result("GET", "workers/scripts/shop/versions")["items"]
    values = {
        "at_us": round(now().timestamp() * 1e6),
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
    batch = {
        "columns": COLUMNS,
        "requests": [[values[name] for name in COLUMNS]],
        "timings": [[61_000, 2000, 90_000]],
    }
    sent = {"headers": {"Authorization": f"Bearer {node.token}"}}
    for timings, status in (([[1, 2, 3]] * 2, 400), (batch["timings"], 200)):
        content = gzip.compress(json.dumps({**batch, "timings": timings}).encode())
        path = f"/edge/v1/batches/{uuid.uuid4()}"
        assert gateway.put(path, content=content, **sent).status_code == status  # type: ignore[arg-type]

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
    assert mallory.refusal("GET", f"skerry/rays/{RAY}")[0] == 404
    assert alice.refusal("GET", "skerry/rays/nothing")[0] == 404

"""What the control plane tells Prometheus, read by its own parser and compared with known traffic."""

import json
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.orm import Session

from api import health
from api.clock import now
from api.invocations import ingestion
from api.invocations.ingestion import COLUMNS, Batch
from api.nodes.service import Enrolment
from api.scripts import service as scripts
from tests.cast import Tenant
from tests.conftest import ROOT

DASHBOARD = ROOT / "infra" / "grafana" / "skerry.json"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _send(session: Session, tenant: Tenant, node: Enrolment, script_id: str) -> None:
    """20 requests of 1 to 20 ms, three of which failed and one of which waited for a start."""
    at_us = int((now() - timedelta(minutes=1)).timestamp() * 1e6)
    requests = []
    for ms in range(1, 21):
        values: dict[str, Any] = {
            "at_us": at_us,
            "ray": f"{ms:016x}",
            "script_id": script_id,
            "account_id": tenant.id,
            "version_id": f"version-{ms % 2}",
            "host": "h",
            "method": "GET",
            "path": "/",
            "status": 200,
            "outcome": "exception" if ms <= 3 else "ok",
            "duration_us": ms * 1000,
            "bytes_in": 5,
            "bytes_out": 10,
            "cold": ms == 1,
        }
        requests.append(tuple(values[name] for name in COLUMNS))
    batch = Batch.model_validate({"columns": COLUMNS, "requests": requests, "lost": {"front": 4}})
    assert ingestion.take(session, node.node.id, str(uuid.uuid4()), batch)
    session.commit()


def _samples(tenant: Tenant) -> Samples:
    answer = tenant.call("GET", "skerry/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@pytest.fixture
def shop(session: Session, alice: Tenant) -> str:
    script = scripts.lock_or_create(session, alice.id, "shop")
    session.commit()
    return script.id


def test_figures_are_those_of_the_traffic(
    session: Session, alice: Tenant, node: Enrolment, shop: str
) -> None:
    for _ in range(2):
        _send(session, alice, node, shop)
    found = _samples(alice)
    of = {"script": "shop", "node": "edge-1"}
    assert _value(found, "skerry_requests_total", **of, outcome="ok") == 34
    assert _value(found, "skerry_requests_total", **of, outcome="exception") == 6
    assert _value(found, "skerry_cold_starts_total", script="shop") == 2
    assert _value(found, "skerry_request_bytes_total", script="shop") == 200
    assert _value(found, "skerry_response_bytes_total", script="shop") == 400
    assert _value(found, "skerry_request_duration_seconds_count", script="shop") == 40
    total = _value(found, "skerry_request_duration_seconds_sum", script="shop")
    assert total == pytest.approx(2 * 0.210)
    assert _value(found, "skerry_node_up", node="edge-1") == 1
    assert _value(found, "skerry_records_lost_total", node="edge-1", reason="front") == 8
    assert _value(found, "skerry_broker_up") == 1
    buckets = sorted(
        (float(dict(labels)["le"]), value)
        for (name, labels), value in found.items()
        if name == "skerry_request_duration_seconds_bucket"
    )
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    # A bucket holds what ended in it: of 1 to 20 ms, those below its end.
    for end, value in buckets:
        assert value == 2 * sum(ms / 1000 <= end for ms in range(1, 21)), end


def test_whose_figures(session: Session, alice: Tenant, mallory: Tenant, node: Enrolment) -> None:
    shop = scripts.lock_or_create(session, alice.id, "secret-shop").id
    session.commit()
    _send(session, alice, node, shop)
    assert "secret-shop" in alice.call("GET", "skerry/metrics").text
    assert "secret-shop" not in mallory.call("GET", "skerry/metrics").text
    assert mallory.call("GET", f"/accounts/{alice.id}/skerry/metrics").status_code == 403
    anonymous = alice.call("GET", "skerry/metrics", headers={"Authorization": ""})
    assert anonymous.status_code == 401


def test_every_name_in_the_dashboard_of_grafana_exists(
    session: Session, alice: Tenant, node: Enrolment, shop: str
) -> None:
    _send(session, alice, node, shop)
    node.node.condition = {"disk_total_bytes": 2, "disk_free_bytes": 1, "certificates": []}
    session.merge(node.node)
    session.commit()
    health.note_sweep()
    text = alice.call("GET", "skerry/metrics").text
    told = {
        sample
        for family in text_string_to_metric_families(text)
        for sample in _sample_names(family.name, family.type)
    }
    expressions = [
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", [])
    ]
    used = {name for one in expressions for name in re.findall(r"\bskerry_[a-z_]+", one)}
    assert len(used) > 12
    of_nodes = {name for name in used if name.startswith("skerry_edge")}
    assert used - of_nodes - told == set()
    assert of_nodes - _names_of_nodes() == set()


def test_every_name_is_described() -> None:
    described = set(re.findall(r"`(skerry_[a-z_]+)", (ROOT / "docs" / "observing.md").read_text()))
    source = (ROOT / "api" / "telemetry" / "prometheus.py").read_text()
    families = set(re.findall(r'"(skerry_[a-z_]+)"', source)) | _families_of_nodes()
    assert len(families) > 30
    plain = {re.sub(r"_(total|info)$", "", name) for name in described}
    assert {re.sub(r"_total$", "", name) for name in families} - plain - described == set()


def _sample_names(family: str, kind: str) -> list[str]:
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
    return [family + ending for ending in endings.get(kind, [""])]


def _families_of_nodes() -> set[str]:
    source = (ROOT / "edge" / "agent" / "metrics.py").read_text()
    names = set(re.findall(r'"(skerry_edge[a-z_]*)"', source))
    return names | {"skerry_edge_disk_total_bytes", "skerry_edge_disk_free_bytes"}


def _names_of_nodes() -> set[str]:
    endings = ("", "_total", "_bucket", "_count", "_sum", "_info")
    return {name + ending for name in _families_of_nodes() for ending in endings}

"""OTLP: what a collector gets, decoded by OpenTelemetry's own messages; and what happens while it is away."""

import gzip
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from sqlalchemy import Connection, func, select, update
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.clock import now
from api.db import transaction
from api.gateway import create_gateway
from api.invocations.ingestion import COLUMNS
from api.invocations.models import invocations
from api.nodes.service import Enrolment
from api.scripts import service as scripts
from api.settings import settings
from api.telemetry import service
from api.telemetry.models import TelemetryBatch, telemetry_counts
from tests.cast import Tenant
from worker import telemetry


class Collector:
    """Takes what the protocol says, or answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.traces: list[ExportTraceServiceRequest] = []
        self.logs: list[ExportLogsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.headers.append(dict(self.headers))
                assert self.headers["Content-Type"] == "application/x-protobuf"
                if collector.status == 200:
                    if self.path == "/v1/traces":
                        collector.traces.append(ExportTraceServiceRequest.FromString(body))
                    else:
                        assert self.path == "/v1/logs"
                        collector.logs.append(ExportLogsServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    monkeypatch.setattr(settings(), "otlp_endpoint", collector.url)
    monkeypatch.setattr(settings(), "otlp_headers", "x-team=ops, x-key=a=b")
    yield collector
    for exporter in telemetry.exporters(collector.url, settings().otlp_headers):
        exporter.shutdown()
    telemetry.exporters.cache_clear()
    collector.server.shutdown()
    collector.server.server_close()


@pytest.fixture
def gateway(connection: Connection, broker: object) -> Iterator[TestClient]:
    with TestClient(create_gateway(), raise_server_exceptions=False) as client:
        yield client


def _content(script_id: str, count: int) -> bytes:
    requests_ = []
    for number in range(1, count + 1):
        values: dict[str, Any] = {
            "at_us": int(now().timestamp() * 1e6),
            "ray": f"{number:016x}",
            "script_id": script_id,
            "account_id": "a" * 32,
            "version_id": "v1",
            "host": "shop.dev.localhost",
            "method": "POST",
            "path": f"/{number}",
            "status": 500 if number == 2 else 201,
            "outcome": "exception" if number == 2 else "ok",
            "duration_us": 2500,
            "bytes_in": 10,
            "bytes_out": 20,
            "cold": number == 1,
        }
        requests_.append([values[name] for name in COLUMNS])
    return gzip.compress(json.dumps({"columns": COLUMNS, "requests": requests_}).encode())


def _ship(gateway: TestClient, node: Enrolment, content: bytes, batch_id: str = "") -> None:
    headers = {"Authorization": f"Bearer {node.token}", "Content-Type": "application/gzip"}
    path = f"/edge/v1/batches/{batch_id or uuid.uuid4()}"
    assert gateway.put(path, content=content, headers=headers).status_code == 200


def _send_due() -> None:
    with transaction() as session:
        waiting = service.due(session)
    for batch_id in waiting:
        telemetry.send(batch_id)


def _counts(session: Session) -> dict[tuple[str, str], int]:
    rows = session.execute(select(telemetry_counts))
    return {(row.signal, row.outcome): row.records for row in rows}


def _plain(attributes: Any) -> dict[str, Any]:
    def value(one: KeyValue) -> Any:
        kind = one.value.WhichOneof("value")
        return getattr(one.value, kind)

    return {one.key: value(one) for one in attributes}


def _waiting(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(TelemetryBatch)) or 0


def test_every_request_is_a_span_and_a_log_record(
    session: Session, alice: Tenant, gateway: TestClient, node: Enrolment, collector: Collector
) -> None:
    script = scripts.lock_or_create(session, alice.id, "shop")
    session.commit()
    content, batch_id = _content(script.id, 3), str(uuid.uuid4())
    _ship(gateway, node, content, batch_id)
    _ship(gateway, node, content, batch_id)  # a node that did not hear the answer
    assert collector.headers == []  # ingestion itself asks nobody
    _send_due()
    _send_due()

    (sent,) = collector.traces
    (of_resource,) = sent.resource_spans
    assert _plain(of_resource.resource.attributes) == {
        "service.namespace": "skerry",
        "service.name": "shop",
        "service.version": "v1",
        "host.name": "edge-1",
    }
    (scope,) = of_resource.scope_spans
    first, second, third = scope.spans
    assert first.span_id.hex() == "0000000000000001"
    assert first.trace_id.hex() == "0" * 16 + "0000000000000001"
    assert first.end_time_unix_nano - first.start_time_unix_nano == 2_500_000
    assert (first.name, first.kind) == ("POST", 2)  # SPAN_KIND_SERVER
    said = _plain(first.attributes)
    assert (said["url.path"], said["http.response.status_code"]) == ("/1", 201)
    assert (said["skerry.outcome"], said["skerry.node"]) == ("ok", "edge-1")
    assert (said["skerry.version_id"], said["skerry.cold"]) == ("v1", True)
    assert said["skerry.ray"] == "0000000000000001"
    assert [one.status.code for one in (first, second, third)] == [0, 2, 0]  # 2: ERROR

    (logged,) = collector.logs
    records = logged.resource_logs[0].scope_logs[0].log_records
    assert [one.severity_text for one in records] == ["INFO", "ERROR", "INFO"]
    assert records[1].body.string_value == "POST shop.dev.localhost/2 500 exception"
    assert records[1].trace_id == second.trace_id
    headers = {name.lower(): value for name, value in collector.headers[0].items()}
    assert (headers["x-team"], headers["x-key"]) == ("ops", "a=b")
    assert _counts(session) == {("traces", "sent"): 3, ("logs", "sent"): 3}
    assert _waiting(session) == 0


def test_what_a_script_printed_and_threw_is_a_log_record(
    session: Session, alice: Tenant, gateway: TestClient, node: Enrolment, collector: Collector
) -> None:
    script = scripts.lock_or_create(session, alice.id, "shop")
    session.commit()
    ms = int(now().timestamp() * 1000)
    request = {"url": "http://shop/", "method": "GET", "headers": {"cf-ray": f"{7:016x}-EDGE1"}}
    printed = {"level": "warn", "message": ["low", {"items": 3}], "timestamp": ms}
    thrown = {
        "name": "TypeError",
        "message": "no",
        "stack": "TypeError: no\n  at x",
        "timestamp": ms,
    }
    shared = {"script_id": script.id, "version_id": "v1", "rate": 0.5, "heard_ms": ms}
    events: list[dict[str, Any]] = [
        {"event": {"request": request}, "logs": [printed], "exceptions": [thrown]},
        {"event": {"cron": "* * * * *"}, "logs": [{**printed, "level": "log"}], "exceptions": []},
        {"event": {"request": request}, "logs": [], "exceptions": []},
    ]
    told = [
        {**shared, "invocation": True, "event": {"outcome": "ok", "eventTimestamp": ms, **one}}
        for one in events
    ]
    content = gzip.compress(json.dumps({"events": told}).encode())
    path = f"/edge/v1/logs/{uuid.uuid4()}"
    headers = {"Authorization": f"Bearer {node.token}"}
    for _ in range(2):  # a node that did not hear the answer
        assert gateway.put(path, content=content, headers=headers).status_code == 200
    _send_due()

    assert collector.traces == []
    (sent,) = collector.logs
    (of_resource,) = sent.resource_logs
    assert _plain(of_resource.resource.attributes)["service.name"] == "shop"
    line, error, of_cron = of_resource.scope_logs[0].log_records
    assert (line.body.string_value, line.severity_text) == ('low {"items": 3}', "WARN")
    assert line.time_unix_nano == ms * 1_000_000
    assert line.trace_id.hex() == f"{7:032x}"
    said = _plain(line.attributes)
    assert json.loads(said["skerry.fields"]) == {"items": 3}
    assert (said["skerry.trigger"], said["skerry.sampling_rate"]) == ("fetch", 0.5)
    said = _plain(error.attributes)
    assert (said["exception.type"], said["exception.message"]) == ("TypeError", "no")
    assert said["exception.stacktrace"] == thrown["stack"]
    assert error.severity_number == 17  # SEVERITY_NUMBER_ERROR
    assert of_cron.trace_id == b""
    assert _plain(of_cron.attributes)["skerry.trigger"] == "cron"
    assert _counts(session) == {("logs", "sent"): 3}
    assert _waiting(session) == 0


def test_what_a_request_asked_of_others_is_a_span_below_its_own(
    session: Session, alice: Tenant, gateway: TestClient, node: Enrolment, collector: Collector
) -> None:
    script = scripts.lock_or_create(session, alice.id, "shop")
    session.commit()
    ms = int(now().timestamp() * 1000)
    timed = {"offset_ms": 5, "duration_ms": 20}
    listed = [
        {"kind": "fetch", "target": "pay.example/v1", "method": "PUT", "status": 503, **timed},
        {"kind": "kv_get", "target": "CARTS", "method": "", "status": None, **timed},
    ]
    request = {"url": "http://shop/", "method": "GET", "headers": {"cf-ray": f"{7:016x}-EDGE1"}}
    shared = {"script_id": script.id, "version_id": "v1", "rate": 0.5, "heard_ms": ms}
    told = [
        {
            **shared,
            "invocation": True,
            "event": {
                "eventTimestamp": ms,
                "event": about,
                "subrequests": {"count": 2, "listed": listed},
            },
        }
        for about in ({"request": request}, {"cron": "* * * * *"})
    ]
    content = gzip.compress(json.dumps({"events": told}).encode())
    headers = {"Authorization": f"Bearer {node.token}"}
    path = f"/edge/v1/logs/{uuid.uuid4()}"
    assert gateway.put(path, content=content, headers=headers).status_code == 200
    _send_due()

    assert collector.logs == []
    (sent,) = collector.traces
    fetched, read = sent.resource_spans[0].scope_spans[0].spans
    for span in (fetched, read):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (f"{7:032x}", f"{7:016x}")
        assert span.kind == 3  # SPAN_KIND_CLIENT
        assert span.start_time_unix_nano == (ms + 5) * 1_000_000
        assert span.end_time_unix_nano == (ms + 25) * 1_000_000
    assert fetched.span_id != read.span_id
    assert (fetched.name, fetched.status.code) == ("PUT", 2)  # ERROR
    said = _plain(fetched.attributes)
    assert (said["server.address"], said["url.path"]) == ("pay.example", "/v1")
    assert (said["http.response.status_code"], said["skerry.sampling_rate"]) == (503, 0.5)
    assert (read.name, read.status.code) == ("kv_get", 0)
    assert _plain(read.attributes)["skerry.target"] == "CARTS"
    assert _counts(session) == {("traces", "sent"): 2}


def test_a_collector_that_is_away_gets_it_later_and_ingestion_goes_on(
    session: Session, gateway: TestClient, node: Enrolment, collector: Collector
) -> None:
    collector.status = 400
    _ship(gateway, node, _content("s", 2))
    _send_due()
    assert collector.traces == []
    assert _waiting(session) == 1
    _ship(gateway, node, _content("s", 1))
    assert session.scalar(select(func.count()).select_from(invocations)) == 3
    collector.status = 200
    session.execute(update(TelemetryBatch).values(due_at=now()))
    session.commit()
    _send_due()
    assert sum(len(one.resource_spans[0].scope_spans[0].spans) for one in collector.traces) == 3
    assert _counts(session)["traces", "sent"] == 3


def test_what_does_not_fit_is_dropped_and_counted(
    session: Session,
    gateway: TestClient,
    node: Enrolment,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings(), "otlp_waiting_max", 5)
    for _ in range(3):
        _ship(gateway, node, _content("s", 2))
    assert _counts(session) == {("traces", "dropped"): 2, ("logs", "dropped"): 2}
    assert session.scalar(select(func.count()).select_from(invocations)) == 6
    collector.status = 400
    for _ in range(service.ATTEMPTS_MAX):
        session.execute(update(TelemetryBatch).values(due_at=now()))
        session.commit()
        _send_due()
    assert _waiting(session) == 0
    assert _counts(session)["traces", "dropped"] == 6


def test_without_a_collector_nothing_waits(
    session: Session, gateway: TestClient, node: Enrolment
) -> None:
    _ship(gateway, node, _content("s", 2))
    assert _waiting(session) == 0

"""Requests as OpenTelemetry has them: a span and a log record each.

A Ray id is the span's id, and the trace's id after 16 zeros, so whoever has a Ray id finds the trace;
and a batch that is sent twice makes the same spans twice, not others.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from api.invocations.ingestion import COLUMNS, Batch, Request
from api.invocations.metrics import GOOD

SCOPE = InstrumentationScope("skerry")
_RAY = re.compile(r"[0-9a-f]{16}")
SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@dataclass(frozen=True)
class Telemetry:
    """What one batch becomes."""

    spans: list[ReadableSpan]
    logs: list[ReadableLogRecord]


def of_batch(batch: Batch, node: str, script_names: Mapping[str, str]) -> Telemetry:
    """`script_names` by id; a script that is gone goes by its id."""
    made = Telemetry([], [])
    for request in batch.requests:
        fields = dict(zip(COLUMNS, request, strict=True))
        script, version = str(fields["script_id"]), str(fields["version_id"])
        resource = resource_of(script_names.get(script, script), version, node)
        span = _span(request, node, resource)
        made.spans.append(span)
        made.logs.append(_log(span, resource))
    return made


@lru_cache(maxsize=1000)
def resource_of(script_name: str, version_id: str, node: str) -> Resource:
    """Not Resource.create: what it finds out about this process says nothing of a script."""
    return Resource(
        {
            "service.namespace": "skerry",
            "service.name": script_name,
            "service.version": version_id,
            "host.name": node,
        }
    )


def _span(request: Request, node: str, resource: Resource) -> ReadableSpan:
    at_us, ray, _, _, version, host, method, path, status, outcome, took_us, came, went, cold = (
        request
    )
    return ReadableSpan(
        name=method,
        context=SpanContext(span_id(ray), span_id(ray), is_remote=False, trace_flags=SAMPLED),
        resource=resource,
        attributes={
            "http.request.method": method,
            "http.response.status_code": status,
            "server.address": host,
            "url.path": path,
            "http.request.size": came,
            "http.response.size": went,
            "skerry.ray": ray,
            "skerry.outcome": outcome,
            "skerry.node": node,
            "skerry.version_id": version,
            "skerry.cold": cold,
        },
        kind=SpanKind.SERVER,
        status=Status(StatusCode.UNSET if outcome in GOOD else StatusCode.ERROR),
        start_time=at_us * 1000,
        end_time=(at_us + took_us) * 1000,
        instrumentation_scope=SCOPE,
    )


def span_id(ray: str) -> int:
    """The Ray id as a number; of one that is none, a number that is always the same."""
    digits = ray if _RAY.fullmatch(ray) else hashlib.sha256(ray.encode()).hexdigest()[:16]
    return int(digits, 16) or 1


def _log(span: ReadableSpan, resource: Resource) -> ReadableLogRecord:
    found = dict(span.attributes or {})
    good = found["skerry.outcome"] in GOOD
    context = span.get_span_context()
    said = {name: str(value) for name, value in found.items()}
    body = (
        f"{said['http.request.method']} {said['server.address']}{said['url.path']}"
        f" {said['http.response.status_code']} {said['skerry.outcome']}"
    )
    record = LogRecord(
        timestamp=span.end_time,
        trace_id=context.trace_id if context else None,
        span_id=context.span_id if context else None,
        trace_flags=SAMPLED,
        severity_text="INFO" if good else "ERROR",
        severity_number=SeverityNumber.INFO if good else SeverityNumber.ERROR,
        body=body,
        attributes=found,
    )
    return ReadableLogRecord(record, resource, SCOPE)

"""What requests asked of others, as OpenTelemetry has it: a span each below the request's (spans.py)."""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from api.logs.events import Row
from api.logs.subrequests import FETCH, failed
from api.telemetry.spans import SAMPLED, SCOPE, resource_of, span_id

INVOCATION, LISTED = "invocation", "subrequests"
_KEPT = ("script_id", "script_name", "version_id", "entrypoint", "ray", "rate")


def packed(rows: Iterable[Row]) -> tuple[bytes, int]:
    """Those of requests, for `of_batch`; and how many. What has no Ray id has no span to be below."""
    kept = [
        {"at": row["at"].isoformat(), **{name: row[name] for name in _KEPT}, LISTED: listed}
        for row in rows
        if row["kind"] == INVOCATION and row["ray"] and (listed := row["fields"].get(LISTED))
    ]
    return gzip.compress(json.dumps(kept).encode(), 1), sum(len(one[LISTED]) for one in kept)


def of_batch(content: bytes, node: str) -> list[ReadableSpan]:
    """Of what `packed` made."""
    found = json.loads(gzip.decompress(content))
    return [span for row in found for span in _spans(row, node)]


def _spans(row: dict[str, Any], node: str) -> Iterator[ReadableSpan]:
    trace = span_id(row["ray"])
    parent = SpanContext(trace, trace, is_remote=True, trace_flags=SAMPLED)
    resource = resource_of(row["script_name"], row["version_id"], node)
    began_ns = round(datetime.fromisoformat(row["at"]).timestamp() * 1e6) * 1000
    for number, one in enumerate(row[LISTED]):
        start_ns = began_ns + round(one["offset_ms"] * 1e6)
        wrong = failed(one["kind"], one["status"])
        yield ReadableSpan(
            name=one["method"] or one["kind"],
            context=SpanContext(trace, _id(row, number), is_remote=False, trace_flags=SAMPLED),
            parent=parent,
            resource=resource,
            attributes=_attributes(row, one),
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.ERROR if wrong else StatusCode.UNSET),
            start_time=start_ns,
            end_time=start_ns + round(one["duration_ms"] * 1e6),
            instrumentation_scope=SCOPE,
        )


def _id(row: dict[str, Any], number: int) -> int:
    """Always the same for the same subrequest, so that a batch that is sent twice makes no others."""
    names = (row["ray"], row["script_id"], row["entrypoint"], row["at"], str(number))
    return int(hashlib.sha256("\0".join(names).encode()).hexdigest()[:16], 16) or 1


def _attributes(row: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "skerry.kind": one["kind"],
        "skerry.ray": row["ray"],
        "skerry.sampling_rate": row["rate"],
    }
    if one["kind"] == FETCH:
        host, _, path = one["target"].partition("/")
        found |= {"server.address": host, "url.path": f"/{path}"}
    elif one["target"]:
        found["skerry.target"] = one["target"]
    if one["method"]:
        found["http.request.method"] = one["method"]
    if one["status"] is not None:
        found["http.response.status_code"] = one["status"]
    return found

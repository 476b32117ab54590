"""What scripts printed and threw, as OpenTelemetry has it: a log record each.

They are kept as rows of `log_events`, so that stacks are led back to their sources once; of an invocation
itself the collector has a span and a log record already, if it was a request (spans.py).
"""

import gzip
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord

from api.logs.events import Row
from api.telemetry.spans import SAMPLED, SCOPE, resource_of, span_id

EXCEPTION = "exception"
_KEPT = (
    "script_id",
    "script_name",
    "version_id",
    "invocation",
    "trigger",
    "entrypoint",
    "ray",
    "outcome",
    "rate",
    "kind",
    "level",
    "message",
    "fields",
)
_SEVERITIES = {
    "trace": SeverityNumber.TRACE,
    "debug": SeverityNumber.DEBUG,
    "warn": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
}


def packed(rows: Iterable[Row]) -> tuple[bytes, int]:
    """The rows that are exported, for `unpacked`; and how many."""
    kept = [
        {"at": row["at"].isoformat(), **{name: row[name] for name in _KEPT}}
        for row in rows
        if row["kind"] != "invocation"
    ]
    return gzip.compress(json.dumps(kept).encode(), 1), len(kept)


def of_batch(content: bytes, node: str) -> list[ReadableLogRecord]:
    """Of what `packed` made."""
    return [_record(row, node) for row in json.loads(gzip.decompress(content))]


def _record(row: dict[str, Any], node: str) -> ReadableLogRecord:
    fields = row["fields"]
    attributes: dict[str, Any] = {
        "skerry.node": node,
        "skerry.version_id": row["version_id"],
        "skerry.invocation": row["invocation"],
        "skerry.trigger": row["trigger"],
        "skerry.entrypoint": row["entrypoint"],
        "skerry.outcome": row["outcome"],
        "skerry.sampling_rate": row["rate"],
    }
    if row["ray"]:
        attributes["skerry.ray"] = row["ray"]
    if row["kind"] == EXCEPTION:
        attributes["exception.type"] = fields["name"]
        attributes["exception.message"] = fields["message"]
        attributes["exception.stacktrace"] = fields["stack"]
    elif fields:
        attributes["skerry.fields"] = json.dumps(fields, ensure_ascii=False)
    identity = span_id(row["ray"]) if row["ray"] else None
    record = LogRecord(
        timestamp=round(datetime.fromisoformat(row["at"]).timestamp() * 1e6) * 1000,
        trace_id=identity,
        span_id=identity,
        trace_flags=SAMPLED if identity else None,
        severity_text=row["level"].upper(),
        severity_number=_SEVERITIES.get(row["level"], SeverityNumber.INFO),
        body=row["message"],
        attributes=attributes,
    )
    resource = resource_of(row["script_name"], row["version_id"], node)
    return ReadableLogRecord(record, resource, SCOPE)

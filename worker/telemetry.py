"""Sending spans and log records to the collector, by OTLP over HTTP.

OpenTelemetry's exporters are imported by the first batch: a worker starts without them where no collector is named.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import structlog

from api.db import transaction
from api.settings import settings
from api.telemetry import service
from api.telemetry.spans import Telemetry
from worker.app import app

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

log = structlog.get_logger()

T = TypeVar("T")
TIMEOUT_SECONDS = 5.0
# Of one request to the collector: many take 4 MiB at most, and a span has some 500 bytes.
AT_ONCE = 2000


@app.task(name="telemetry.send")
def send(batch_id: str) -> None:
    """Send one batch. One whose sender died is sent again, with the same ids."""
    with transaction() as session:
        claimed = service.claim(session, batch_id)
    if claimed is None:
        return
    taken = bool(settings().otlp_endpoint) and _export(claimed.telemetry)
    with transaction() as session:
        (service.sent if taken else service.failed)(session, claimed)
    if not taken:
        log.warning("telemetry_not_taken", batch_id=batch_id, records=claimed.records)


def _export(telemetry: Telemetry) -> bool:
    """Whether the collector has all of it."""
    from opentelemetry.sdk._logs.export import LogRecordExportResult  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415

    traces, logs = exporters(settings().otlp_endpoint, settings().otlp_headers)
    return all(
        traces.export(part) is SpanExportResult.SUCCESS for part in _parts(telemetry.spans)
    ) and all(logs.export(part) is LogRecordExportResult.SUCCESS for part in _parts(telemetry.logs))


def _parts(records: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(records), AT_ONCE):
        yield records[start : start + AT_ONCE]


@lru_cache
def exporters(endpoint: str, headers: str) -> "tuple[OTLPSpanExporter, OTLPLogExporter]":
    """One of each for a process; `headers` is `name=value,name=value`."""
    from opentelemetry.exporter.otlp.proto.http._log_exporter import (  # noqa: PLC0415
        OTLPLogExporter,
    )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    sent = dict(pair.strip().split("=", 1) for pair in headers.split(",") if "=" in pair)
    base = endpoint.rstrip("/")
    return (
        OTLPSpanExporter(f"{base}/v1/traces", headers=sent, timeout=TIMEOUT_SECONDS),
        OTLPLogExporter(f"{base}/v1/logs", headers=sent, timeout=TIMEOUT_SECONDS),
    )

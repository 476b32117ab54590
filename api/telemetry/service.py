"""What a collector still has to get: whole batches, as they came, in a table with an end.

Ingestion writes one row more, in its own transaction, and never talks to the collector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api.clock import now
from api.invocations import ingestion
from api.logs.events import Row
from api.nodes.models import Node
from api.queue import enqueue
from api.scripts.models import Script
from api.settings import settings
from api.telemetry import lines, spans, subrequests
from api.telemetry.models import TelemetryBatch, telemetry_counts
from api.telemetry.spans import Telemetry

TRACES, LOGS = "traces", "logs"
REQUESTS, LINES, SUBREQUESTS = "requests", "lines", "subrequests"
# What one record of each kind of batch becomes.
SIGNALS = {REQUESTS: (LOGS, TRACES), LINES: (LOGS,), SUBREQUESTS: (TRACES,)}
# Longer than an export may take.
SENDING_MAX = timedelta(seconds=60)
FIRST_RETRY, LONGEST_RETRY, ATTEMPTS_MAX = timedelta(seconds=5), timedelta(minutes=5), 12
NUDGE_AT_MOST = 100


@dataclass(frozen=True)
class Claimed:
    """A batch that this process sends."""

    id: str
    kind: str
    records: int
    telemetry: Telemetry


def keep(
    session: Session, node_id: str, content: bytes, records: int, kind: str = REQUESTS
) -> None:
    """Remember a batch for the collector, if there is one and there is room; else count it as dropped."""
    if not settings().otlp_endpoint or not records:
        return
    waiting = session.scalar(select(func.coalesce(func.sum(TelemetryBatch.records), 0))) or 0
    if waiting + records > settings().otlp_waiting_max:
        count(session, kind, "dropped", records)
        return
    batch = TelemetryBatch(node_id=node_id, kind=kind, content=content, records=records)
    session.add(batch)
    session.flush()
    enqueue(session, "telemetry.send", batch_id=batch.id)


def keep_logs(session: Session, node_id: str, rows: Sequence[Row]) -> None:
    """The same with what scripts printed, threw and asked of others."""
    if settings().otlp_endpoint:
        keep(session, node_id, *lines.packed(rows), LINES)
        keep(session, node_id, *subrequests.packed(rows), SUBREQUESTS)


def claim(session: Session, batch_id: str) -> Claimed | None:
    """Take a batch for sending; None when somebody else has, or when it is not its time."""
    moment = now()
    claimed = session.execute(
        update(TelemetryBatch)
        .where(TelemetryBatch.id == batch_id, TelemetryBatch.due_at <= moment)
        .values(due_at=moment + SENDING_MAX, attempts=TelemetryBatch.attempts + 1)
        .returning(
            TelemetryBatch.content,
            TelemetryBatch.node_id,
            TelemetryBatch.kind,
            TelemetryBatch.records,
        )
    ).first()
    if claimed is None:
        return None
    node = session.get(Node, claimed.node_id)
    name = node.name if node else claimed.node_id
    made = _made(session, claimed.kind, claimed.content, name)
    return Claimed(batch_id, claimed.kind, claimed.records, made)


def _made(session: Session, kind: str, content: bytes, node: str) -> Telemetry:
    if kind == LINES:
        return Telemetry([], lines.of_batch(content, node))
    if kind == SUBREQUESTS:
        return Telemetry(subrequests.of_batch(content, node), [])
    return _of_requests(session, content, node)


def _of_requests(session: Session, content: bytes, node: str) -> Telemetry:
    batch = ingestion.read(content)
    wanted = {request[2] for request in batch.requests}
    rows = session.execute(select(Script.id, Script.name).where(Script.id.in_(wanted)))
    names = {row.id: row.name for row in rows}
    return spans.of_batch(batch, node, names)


def sent(session: Session, claimed: Claimed) -> None:
    if _remove(session, claimed.id):
        count(session, claimed.kind, "sent", claimed.records)


def failed(session: Session, claimed: Claimed) -> None:
    """Try again later; drop it after the last time."""
    batch = session.get(TelemetryBatch, claimed.id, with_for_update=True)
    if batch is None:
        return
    if batch.attempts >= ATTEMPTS_MAX:
        session.delete(batch)
        count(session, batch.kind, "dropped", batch.records)
        return
    batch.due_at = now() + min(FIRST_RETRY * 2 ** (batch.attempts - 1), LONGEST_RETRY)


def due(session: Session) -> list[str]:
    """Ids of batches whose time has come, the oldest first."""
    query = select(TelemetryBatch.id).where(TelemetryBatch.due_at <= now())
    return list(session.scalars(query.order_by(TelemetryBatch.created_at).limit(NUDGE_AT_MOST)))


def count(session: Session, kind: str, outcome: str, records: int) -> None:
    """What became of the records of a batch of that kind."""
    for signal in SIGNALS[kind]:
        statement = insert(telemetry_counts).values(signal=signal, outcome=outcome, records=records)
        session.execute(
            statement.on_conflict_do_update(
                constraint=telemetry_counts.primary_key,
                set_={"records": telemetry_counts.c.records + statement.excluded.records},
            )
        )


def _remove(session: Session, batch_id: str) -> bool:
    batch = session.get(TelemetryBatch, batch_id, with_for_update=True)
    if batch is None:
        return False
    session.delete(batch)
    return True

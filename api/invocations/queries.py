"""What was recorded about one script, and what a node could not record."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.invocations.models import invocations, losses
from api.scripts.models import Script


@dataclass(frozen=True)
class Invocation:
    """One request, as the front saw it."""

    at: datetime
    ray: str
    node_id: str
    version_id: str
    method: str
    path: str
    status: int
    outcome: str
    duration_ms: float
    cold: bool


@dataclass(frozen=True)
class Loss:
    """Records that a node had to drop."""

    reason: str
    records: int
    last_at: datetime


def lost(session: Session, node_id: str) -> list[Loss]:
    """What was ever lost on a node, by reason."""
    of = losses.c
    query = select(of.reason, of.records, of.last_at).where(of.node_id == node_id)
    return [Loss(*row) for row in session.execute(query.order_by(of.reason))]


def recent(
    session: Session, script: Script, *, limit: int, failed: bool = False, ray: str = ""
) -> list[Invocation]:
    """The newest requests of a script, or only those that did not go well, or the one of a Ray id."""
    of = invocations.c
    query = select(invocations).where(of.script_id == script.id).order_by(of.at.desc()).limit(limit)
    if failed:
        query = query.where(of.outcome != "ok")
    if ray:
        query = query.where(of.ray == ray.partition("-")[0].lower())
    return [
        Invocation(
            row.at,
            row.ray,
            row.node_id,
            row.version_id,
            row.method,
            row.path,
            row.status,
            row.outcome,
            row.duration_us / 1000,
            row.cold,
        )
        for row in session.execute(query)
    ]

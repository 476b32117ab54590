"""A partition of each big table per day (UTC): made ahead, and dropped when its time is over."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from api.clock import now
from api.invocations.models import (
    ingested_batches,
    measures,
    operations,
    rollups,
    statuses,
    totals,
)
from api.scripts.models import Script
from api.settings import settings

DAYS_AHEAD = 2
# A node that was away for longer than this has dropped its oldest batches itself.
BATCHES_KEPT = timedelta(days=30)
# Any constant will do: two that make the same partition at once would fail one another.
ADVISORY_LOCK = 5_325_380
REQUESTS = "invocations"
LOGS = "log_events"
TABLES = (REQUESTS, LOGS)


def oldest_day(table: str = REQUESTS) -> date:
    """The first day that is kept."""
    kept = settings().log_retention_days if table == LOGS else settings().record_retention_days
    return (now() - timedelta(days=kept)).date()


def ensure(session: Session, days: Iterable[date], table: str = REQUESTS) -> None:
    """Make the partitions of these days, unless they are there."""
    missing = [day for day in sorted(set(days)) if not _exists(session, table, day)]
    if not missing:
        return
    session.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
    for day in missing:
        begin = datetime.combine(day, time(), UTC)
        end = begin + timedelta(days=1)
        session.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {_name(table, day)} PARTITION OF {table}"
                f" FOR VALUES FROM ('{begin.isoformat()}') TO ('{end.isoformat()}')"
            )
        )


def expire(session: Session) -> list[str]:
    """Make the partitions of the next days and drop what is older than it may be; answers the
    partitions that went."""
    gone = [name for table in TABLES for name in _expire(session, table)]
    rolled_up = now() - timedelta(days=settings().rollup_retention_days)
    session.execute(delete(rollups).where(rollups.c.minute < rolled_up))
    session.execute(delete(statuses).where(statuses.c.minute < rolled_up))
    session.execute(delete(measures).where(measures.c.minute < rolled_up))
    session.execute(delete(operations).where(operations.c.day < rolled_up.date()))
    gone_scripts = select(Script.id).where(Script.deleted_at < rolled_up)
    session.execute(delete(totals).where(totals.c.script_id.in_(gone_scripts)))
    taken = ingested_batches.c.ingested_at < now() - BATCHES_KEPT
    session.execute(delete(ingested_batches).where(taken))
    return gone


def _expire(session: Session, table: str) -> list[str]:
    today = now().date()
    ensure(session, (today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)), table)
    oldest = _name(table, oldest_day(table))
    gone = [name for name in partitions(session, table) if name < oldest]
    for name in gone:
        session.execute(text(f"DROP TABLE IF EXISTS {name}"))
    return gone


def partitions(session: Session, table: str = REQUESTS) -> list[str]:
    """The names of those that are there, the oldest first."""
    found = session.scalars(
        text(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = CAST(:parent AS regclass) ORDER BY 1"
        ),
        {"parent": table},
    )
    return list(found)


def _name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


def _exists(session: Session, table: str, day: date) -> bool:
    found = session.scalar(text("SELECT to_regclass(:name)"), {"name": _name(table, day)})
    return found is not None

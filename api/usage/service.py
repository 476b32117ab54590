"""What scripts used on each day: what plans and invoices will be computed from.

Out of the sums per minute and day (api/invocations/models.py), so for as long as those are kept. Days are UTC.
"""

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Date, cast, func, select
from sqlalchemy.orm import Session

from api.clock import now
from api.errors import Refused
from api.invocations.models import measures, operations, rollups
from api.scripts.models import Script
from api.settings import settings

DAYS_MAX = 366
DAYS = 30


@dataclass(frozen=True)
class Days:
    """From the first day to the last one, both included."""

    first: date
    last: date

    @property
    def begin(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def end(self) -> datetime:
        return datetime.combine(self.last + timedelta(days=1), time(), UTC)


@dataclass
class Used:
    """One script on one day."""

    day: date
    script: str
    script_id: str
    requests: int = 0
    cpu_ms: int = 0
    wall_ms: int = 0
    """From the head of each request to the last byte of its answer, added up."""
    ingress_bytes: int = 0
    egress_bytes: int = 0
    kv_reads: int = 0
    kv_writes: int = 0
    d1_rows_read: int = 0
    d1_rows_written: int = 0
    r2_reads: int = 0
    r2_writes: int = 0
    queue_messages_received: int = 0
    queue_messages_sent: int = 0
    durable_object_reads: int = 0
    durable_object_writes: int = 0

    @property
    def stored(self) -> list[tuple[int, int]]:
        """Reads and writes of each kind of store, in the order of STORED."""
        return [(getattr(self, read), getattr(self, written)) for read, written in STORED.values()]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "day": self.day.isoformat()}


# Of each kind of store: where its reads are shown, and where its writes.
STORED = {
    "kv": ("kv_reads", "kv_writes"),
    "d1": ("d1_rows_read", "d1_rows_written"),
    "r2": ("r2_reads", "r2_writes"),
    "queues": ("queue_messages_received", "queue_messages_sent"),
    "durable_objects": ("durable_object_reads", "durable_object_writes"),
}
COLUMNS = [field.name for field in fields(Used)]


def days(first: date | None, last: date | None) -> Days:
    """What is asked for, else the last 30 days. Raises Refused."""
    last = last or now().date()
    first = first or last - timedelta(days=DAYS - 1)
    if not first <= last < first + timedelta(days=DAYS_MAX):
        raise Refused(f"Ask for 1 to {DAYS_MAX} days; the first one comes first.")
    return Days(first, last)


def kept_since() -> date:
    """The first day that is known in full."""
    return (now() - timedelta(days=settings().rollup_retention_days)).date() + timedelta(days=1)


def per_day(session: Session, account_id: str, asked: Days) -> list[Used]:
    """Every script on every day on which it did anything, deleted ones too; the newest day first."""
    found: dict[tuple[date, str], Used] = {}

    def used(row: Any) -> Used:
        key = (row.day, row.script_id)
        return found.setdefault(key, Used(row.day, row.name, row.script_id))

    for row in session.execute(_requests(account_id, asked)):
        one = used(row)
        one.requests += int(row.requests)
        one.wall_ms += round(row.duration_us / 1000)
        one.ingress_bytes += int(row.bytes_in)
        one.egress_bytes += int(row.bytes_out)
    for row in session.execute(_processes(account_id, asked)):
        used(row).cpu_ms += int(row.cpu_ms)
    for row in session.execute(_stored(account_id, asked)):
        one = used(row)
        for name, count in zip(STORED.get(row.kind, ()), (row.reads, row.writes), strict=False):
            setattr(one, name, getattr(one, name) + int(count))
    return sorted(found.values(), key=lambda one: (-one.day.toordinal(), one.script, one.script_id))


def per_script(listed: Iterable[Used]) -> list[Used]:
    """The days of each script added up, under its last day; the one with most requests first."""
    sums: dict[str, Used] = {}
    counted = [name for name in COLUMNS if name not in ("day", "script", "script_id")]
    for one in listed:
        total = sums.setdefault(one.script_id, Used(one.day, one.script, one.script_id))
        for name in counted:
            setattr(total, name, getattr(total, name) + getattr(one, name))
    return sorted(sums.values(), key=lambda one: (-one.requests, one.script))


def rows(listed: Iterable[Used]) -> list[tuple[Any, ...]]:
    """As a table, in the order of COLUMNS."""
    return [astuple(one) for one in listed]


def _requests(account_id: str, asked: Days) -> Any:
    of = rollups.c
    day = cast(func.timezone("UTC", of.minute), Date).label("day")
    return (
        select(
            day,
            of.script_id,
            Script.name,
            func.sum(of.requests).label("requests"),
            func.sum(of.duration_us).label("duration_us"),
            func.sum(of.bytes_in).label("bytes_in"),
            func.sum(of.bytes_out).label("bytes_out"),
        )
        .join(Script, Script.id == of.script_id)
        .where(Script.account_id == account_id, of.minute >= asked.begin, of.minute < asked.end)
        .group_by("day", of.script_id, Script.name)
    )


def _processes(account_id: str, asked: Days) -> Any:
    of = measures.c
    day = cast(func.timezone("UTC", of.minute), Date).label("day")
    return (
        select(day, of.script_id, Script.name, func.sum(of.cpu_ms).label("cpu_ms"))
        .join(Script, Script.id == of.script_id)
        .where(Script.account_id == account_id, of.minute >= asked.begin, of.minute < asked.end)
        .group_by("day", of.script_id, Script.name)
    )


def _stored(account_id: str, asked: Days) -> Any:
    of = operations.c
    return (
        select(
            of.day,
            of.script_id,
            Script.name,
            of.kind,
            func.sum(of.reads).label("reads"),
            func.sum(of.writes).label("writes"),
        )
        .join(Script, Script.id == of.script_id)
        .where(Script.account_id == account_id, of.day >= asked.first, of.day <= asked.last)
        .group_by(of.day, of.script_id, Script.name, of.kind)
    )

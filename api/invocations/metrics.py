"""Sums over time of scripts, versions and nodes: how many, how well, how fast, at what price."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.orm import Session

from api.clock import now
from api.invocations.histogram import quantile_ms
from api.invocations.models import measures, rollups, statuses

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# A visitor who leaves is no failure of the script.
GOOD = frozenset({"ok", "canceled"})


@dataclass(frozen=True)
class Range:
    """A time that ends now, cut into steps."""

    length: timedelta
    step: timedelta

    def begins(self) -> datetime:
        """Of the first step; the last one is the one that is under way."""
        last = _EPOCH + (now() - _EPOCH) // self.step * self.step
        return last - self.length + self.step

    def steps(self) -> list[datetime]:
        first = self.begins()
        return [first + number * self.step for number in range(self.length // self.step)]


RANGES = {
    "hour": Range(timedelta(hours=1), timedelta(minutes=1)),
    "day": Range(timedelta(days=1), timedelta(minutes=15)),
    "week": Range(timedelta(days=7), timedelta(hours=2)),
    "month": Range(timedelta(days=30), timedelta(hours=12)),
}


@dataclass
class Sums:
    """Everything of some requests that adds up."""

    outcomes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    buckets: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    cold: int = 0
    bytes_out: int = 0
    cpu_ms: int = 0
    memory_bytes: int = 0
    """The most at once."""

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    @property
    def errors(self) -> int:
        return sum(count for outcome, count in self.outcomes.items() if outcome not in GOOD)

    @property
    def error_percent(self) -> float:
        return 100 * self.errors / self.requests if self.requests else 0.0

    def quantile_ms(self, share: float) -> float | None:
        """Milliseconds that this share of the requests did not exceed; None of no requests."""
        return quantile_ms(self.buckets, share)

    def add(self, other: "Sums") -> None:
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] += count
        for bucket, count in other.buckets.items():
            self.buckets[bucket] += count
        self.cold += other.cold
        self.bytes_out += other.bytes_out
        self.cpu_ms += other.cpu_ms
        self.memory_bytes = max(self.memory_bytes, other.memory_bytes)


@dataclass(frozen=True)
class Scope:
    """Whose requests: of a script, of one of its versions, of it on one node, or of all on a node."""

    script_ids: Collection[str]
    version_id: str = ""
    """Its first letters do."""
    node_id: str = ""

    def of(self, table: Table) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = [table.c.script_id.in_(self.script_ids)]
        if self.version_id:
            conditions.append(table.c.version_id.startswith(self.version_id, autoescape=True))
        if self.node_id:
            conditions.append(table.c.node_id == self.node_id)
        return conditions


def over_time(session: Session, scope: Scope, span: Range) -> dict[datetime, Sums]:
    """The sums of every step, in order, also of those without requests."""
    found = _grouped(
        session,
        scope,
        span,
        func.date_bin(span.step, rollups.c.minute, _EPOCH),
        func.date_bin(span.step, measures.c.minute, _EPOCH),
    )
    return {step: found.get(step) or Sums() for step in span.steps()}


def by_script(session: Session, scope: Scope, span: Range) -> dict[str, Sums]:
    """The sums of each script, by its id."""
    return _grouped(session, scope, span, rollups.c.script_id, measures.c.script_id)


def by_version(session: Session, scope: Scope, span: Range) -> dict[str, Sums]:
    """The sums of each version, by its id."""
    return _grouped(session, scope, span, rollups.c.version_id, measures.c.version_id)


def by_node(session: Session, scope: Scope, span: Range) -> dict[str, Sums]:
    """The sums of each node, by its id."""
    return _grouped(session, scope, span, rollups.c.node_id, measures.c.node_id)


def by_status(session: Session, scope: Scope, span: Range) -> dict[int, int]:
    """The number of requests by what was answered."""
    of = statuses.c
    rows = session.execute(
        select(of.status, func.sum(of.requests).label("requests"))
        .where(*scope.of(statuses), of.minute >= span.begins())
        .group_by(of.status)
        .order_by(of.status)
    )
    return {row.status: int(row.requests) for row in rows}


def total(parts: Iterable[Sums]) -> Sums:
    whole = Sums()
    for part in parts:
        whole.add(part)
    return whole


def _grouped(
    session: Session,
    scope: Scope,
    span: Range,
    of_request: ColumnElement[Any],
    of_measure: ColumnElement[Any],
) -> dict[Any, Sums]:
    sums: dict[Any, Sums] = defaultdict(Sums)
    for row in session.execute(
        select(
            of_request.label("key"),
            rollups.c.outcome,
            rollups.c.bucket,
            func.sum(rollups.c.requests).label("requests"),
            func.sum(rollups.c.cold).label("cold"),
            func.sum(rollups.c.bytes_out).label("bytes_out"),
        )
        .where(*scope.of(rollups), rollups.c.minute >= span.begins())
        .group_by("key", rollups.c.outcome, rollups.c.bucket)
    ):
        found = sums[row.key]
        found.outcomes[row.outcome] += int(row.requests)
        found.buckets[row.bucket] += int(row.requests)
        found.cold += int(row.cold)
        found.bytes_out += int(row.bytes_out)
    for key, measured in _measured(session, scope, span, of_measure).items():
        sums[key].add(measured)
    return dict(sums)


def _measured(
    session: Session, scope: Scope, span: Range, of_measure: ColumnElement[Any]
) -> Mapping[Any, Sums]:
    rows = session.execute(
        select(
            of_measure.label("key"),
            func.sum(measures.c.cpu_ms).label("cpu_ms"),
            func.max(measures.c.memory_bytes).label("memory_bytes"),
        )
        .where(*scope.of(measures), measures.c.minute >= span.begins())
        .group_by("key")
    )
    return {
        row.key: Sums(cpu_ms=int(row.cpu_ms), memory_bytes=int(row.memory_bytes)) for row in rows
    }

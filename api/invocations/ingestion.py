"""Taking batches of request records from nodes: each once, whole, in one transaction."""

import gzip
import io
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import repeat
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import Table, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from api.analytics import points as data_points
from api.clock import now
from api.errors import Refused
from api.invocations import partitions
from api.invocations.histogram import bucket_of
from api.invocations.models import (
    ingested_batches,
    invocations,
    losses,
    measures,
    operations,
    rollups,
    statuses,
    totals,
)

# What nodes send (edge/agent/records/attribution.py), in this order.
COLUMNS = [
    "at_us",
    "ray",
    "script_id",
    "account_id",
    "version_id",
    "host",
    "method",
    "path",
    "status",
    "outcome",
    "duration_us",
    "bytes_in",
    "bytes_out",
    "cold",
]
# A node collects at most 50,000 lines a second, of at most 4 kB each.
UNPACKED_BYTES_MAX = 256 * 1024 * 1024
# The clock of a node may be wrong by so much.
AHEAD_MAX = timedelta(hours=1)

# Microseconds since 1970 in the years that Postgres, Python and a clock have in common.
At = Annotated[int, Field(ge=0, le=4_000_000_000_000_000)]
Count = Annotated[int, Field(ge=0, lt=2**62)]
# No letter that Postgres' text cannot hold.
Word = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
Status = Annotated[int, Field(ge=0, le=999)]
Request = tuple[
    At, Word, Word, Word, Word, Word, Word, Word, Status, Word, Count, Count, Count, bool
]
# What edge/agent/records/attribution.py says of how long what took.
TIMINGS = ["start_us", "front_us", "cell_us"]
Timing = tuple[Count, Count, Count]
Measure = tuple[At, Word, Word, Count, Count]
# Requests that were added up on the node (edge/agent/records/sums.py): when their minute began, script,
# version, status, outcome, cold, bytes in and out, microseconds of all together, and pairs of a duration and
# how many of them took about so long.
Sum = tuple[At, Word, Word, Status, Word, bool, Count, Count, Count, list[tuple[Count, Count]]]
# When, which script, in which kind of store, how many reads and writes.
Operation = tuple[At, Word, Word, Count, Count]


class Batch(BaseModel):
    """What a node recorded in about a second."""

    columns: list[str]
    requests: list[Request]
    timings: list[Timing] = []
    """One per request, in the same order, or none."""
    sums: list[Sum] = []
    measures: list[Measure] = []
    operations: list[Operation] = []
    points: list[data_points.Point] = []
    lost: dict[Word, Count] = {}


@dataclass
class _Minute:
    requests: int = 0
    cold: int = 0
    duration_us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


def read(content: bytes) -> Batch:
    """Raises Refused for what is no batch."""
    try:
        batch = Batch.model_validate_json(unpacked(content))
    except (OSError, EOFError, zlib.error, ValidationError) as error:
        raise Refused(f"This is no batch of request records: {str(error)[:500]}") from error
    if batch.columns != COLUMNS:
        raise Refused(f"The columns of a batch are {', '.join(COLUMNS)}.")
    if batch.timings and len(batch.timings) != len(batch.requests):
        raise Refused("A batch has as many timings as requests, or none.")
    return batch


def unpacked(content: bytes) -> bytes:
    """The JSON of a batch. Raises Refused, OSError, EOFError or zlib.error."""
    with gzip.open(io.BytesIO(content)) as packed:
        text = packed.read(UNPACKED_BYTES_MAX + 1)
    if len(text) > UNPACKED_BYTES_MAX:
        raise Refused(f"A batch has at most {UNPACKED_BYTES_MAX:,} bytes.")
    return text


def take(session: Session, node_id: str, batch_id: str, batch: Batch) -> bool:
    """Store a batch; False when it was taken before, and then nothing changes."""
    if not first_time(session, node_id, batch_id):
        return False
    latest = now() + AHEAD_MAX
    requests = [(_time(one[0]), one) for one in batch.requests]
    requests = [(min(at, latest), one) for at, one in requests]
    _roll_up(session, node_id, requests, [(min(_time(one[0]), latest), one) for one in batch.sums])
    _store(session, node_id, requests, batch.timings)
    _measure(session, node_id, batch.measures)
    _count_operations(session, node_id, batch.operations)
    data_points.store(session, batch.points)
    count_losses(session, node_id, batch.lost)
    return True


def first_time(session: Session, node_id: str, batch_id: str) -> bool:
    """Whether a batch of this id was not taken before; from here on it was."""
    fresh = session.execute(
        insert(ingested_batches)
        .values(node_id=node_id, batch_id=batch_id, ingested_at=now())
        .on_conflict_do_nothing()
        .returning(ingested_batches.c.batch_id)
    ).first()
    return fresh is not None


def _time(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


def _store(
    session: Session,
    node_id: str,
    requests: Iterable[tuple[datetime, Request]],
    timings: list[Timing],
) -> None:
    """A day that is no longer kept is only counted."""
    oldest = partitions.oldest_day()
    times = timings or repeat((None,) * len(TIMINGS))
    timed = zip(requests, times, strict=False)
    kept = [(*one, timing) for one, timing in timed if one[0].date() >= oldest]
    if not kept:
        return
    partitions.ensure(session, {one[0].date() for one in kept})
    names = ", ".join(["at", *COLUMNS[1:], *TIMINGS, "node_id"])
    driver: Any = session.connection().connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {invocations.name} ({names}) FROM STDIN") as copy,
    ):
        for at, one, timing in kept:
            copy.write_row((at, *one[1:], *timing, node_id))


def _roll_up(
    session: Session,
    node_id: str,
    requests: Iterable[tuple[datetime, Request]],
    added_up: Iterable[tuple[datetime, Sum]],
) -> None:
    sums: dict[tuple[str, datetime, str, str, int], _Minute] = defaultdict(_Minute)
    answered: Counter[tuple[str, datetime, str, int]] = Counter()
    for at, one in requests:
        _, _, script_id, _, version_id, *_, status, outcome, duration, came, went, cold = one
        minute = at.replace(second=0, microsecond=0)
        answered[script_id, minute, version_id, status] += 1
        found = sums[script_id, minute, version_id, outcome, bucket_of(duration)]
        found.requests += 1
        found.cold += cold
        found.duration_us += duration
        found.bytes_in += came
        found.bytes_out += went
    for at, sum_ in added_up:
        _, script_id, version_id, status, outcome, cold, came, went, took, durations = sum_
        minute = at.replace(second=0, microsecond=0)
        for number, (duration, count) in enumerate(durations):
            answered[script_id, minute, version_id, status] += count
            found = sums[script_id, minute, version_id, outcome, bucket_of(duration)]
            found.requests += count
            found.cold += count * cold
            if not number:  # what is known of all together only
                found.duration_us += took
                found.bytes_in += came
                found.bytes_out += went
    rows = [
        {
            "script_id": script_id,
            "minute": minute,
            "version_id": version_id,
            "node_id": node_id,
            "outcome": outcome,
            "bucket": bucket,
            **vars(found),
        }
        for (script_id, minute, version_id, outcome, bucket), found in sorted(
            sums.items(), key=lambda item: item[0]
        )
    ]
    _add(session, rollups, rows, vars(_Minute()))
    _add_up(session, rows)
    by_status = [
        {
            "script_id": script_id,
            "minute": minute,
            "version_id": version_id,
            "node_id": node_id,
            "status": status,
            "requests": count,
        }
        for (script_id, minute, version_id, status), count in sorted(answered.items())
    ]
    _add(session, statuses, by_status, ["requests"])


def _add_up(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    """The same without the minute and the version."""
    sums: dict[tuple[str, ...], dict[str, Any]] = {}
    keys = [column.name for column in totals.primary_key]
    for row in rows:
        found = sums.setdefault(
            tuple(row[name] for name in keys),
            {**{name: row[name] for name in keys}, **vars(_Minute())},
        )
        for name in vars(_Minute()):
            found[name] += row[name]
    _add(session, totals, [sums[key] for key in sorted(sums)], vars(_Minute()))


def _add(
    session: Session, table: Table, rows: list[dict[str, Any]], counted: Collection[str]
) -> None:
    """Add what is counted to the rows of the same key. Columns go as arrays: a statement with thousands of
    values takes seconds to build."""
    if not rows:
        return
    names = list(rows[0])
    arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in names]
    columns = [column(name, table.c[name].type) for name in names]
    source = func.unnest(*arrays).table_valued(*columns, name="found").render_derived()
    statement = insert(table).from_select(names, select(*source.c))
    added = {name: table.c[name] + statement.excluded[name] for name in counted}
    session.execute(
        statement.on_conflict_do_update(constraint=table.primary_key, set_=added),
        {name: [row[name] for row in rows] for name in names},
    )


def _measure(session: Session, node_id: str, found: Iterable[Measure]) -> None:
    sums: dict[tuple[str, datetime, str], list[int]] = {}
    for at_us, script_id, version_id, cpu_ms, memory_bytes in found:
        minute = _time(at_us).replace(second=0, microsecond=0)
        before = sums.setdefault((script_id, minute, version_id), [0, 0])
        before[0] += cpu_ms
        before[1] = max(before[1], memory_bytes)
    rows = [
        {
            "script_id": script_id,
            "minute": minute,
            "version_id": version_id,
            "node_id": node_id,
            "cpu_ms": cpu_ms,
            "memory_bytes": memory_bytes,
        }
        for (script_id, minute, version_id), (cpu_ms, memory_bytes) in sorted(sums.items())
    ]
    for part in _parts(rows):
        statement = insert(measures).values(part)
        session.execute(
            statement.on_conflict_do_update(
                constraint=measures.primary_key,
                set_={
                    "cpu_ms": measures.c.cpu_ms + statement.excluded.cpu_ms,
                    "memory_bytes": func.greatest(
                        measures.c.memory_bytes, statement.excluded.memory_bytes
                    ),
                },
            )
        )


def _count_operations(session: Session, node_id: str, found: Iterable[Operation]) -> None:
    sums: dict[tuple[str, date, str], list[int]] = defaultdict(lambda: [0, 0])
    for at_us, script_id, kind, reads, writes in found:
        counts = sums[script_id, _time(at_us).date(), kind]
        counts[0] += reads
        counts[1] += writes
    rows = [
        {
            "script_id": script_id,
            "day": day,
            "kind": kind,
            "node_id": node_id,
            "reads": reads,
            "writes": writes,
        }
        for (script_id, day, kind), (reads, writes) in sorted(sums.items())
    ]
    _add(session, operations, rows, ["reads", "writes"])


def count_losses(session: Session, node_id: str, lost: dict[str, int]) -> None:
    """Add to what a node had to drop, by reason."""
    for reason, records in sorted(lost.items()):
        statement = insert(losses).values(
            node_id=node_id, reason=reason, records=records, last_at=now()
        )
        session.execute(
            statement.on_conflict_do_update(
                constraint=losses.primary_key,
                set_={
                    "records": losses.c.records + statement.excluded.records,
                    "last_at": statement.excluded.last_at,
                },
            )
        )


def _parts(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """A statement has at most 65,535 parameters."""
    for start in range(0, len(rows), 2000):
        yield rows[start : start + 2000]

"""Taking batches of what scripts said from nodes: each once, whole, in one transaction. Before that
the stacks of exceptions are led back to the sources."""

import json
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.clock import now
from api.db import transaction
from api.errors import Refused
from api.invocations import partitions
from api.invocations.ingestion import AHEAD_MAX, Count, Word, count_losses, first_time, unpacked
from api.logs import stacks
from api.logs.events import Owner, Row, Told, rows
from api.logs.models import log_events
from api.scripts.models import Script

_COLUMNS = [column.name for column in log_events.columns]


class LogBatch(BaseModel):
    """What a node heard in about a second."""

    events: list[Told]
    lost: dict[Word, Count] = {}


def read(content: bytes) -> LogBatch:
    """Raises Refused for what is no batch."""
    try:
        # Not Pydantic's reader: scripts print halves of surrogate pairs, which it refuses.
        found = json.loads(unpacked(content), parse_constant=_refuse)
        return LogBatch.model_validate(found)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise Refused(f"This is no batch of logs: {str(error)[:500]}") from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


def take(
    node_id: str,
    batch_id: str,
    batch: LogBatch,
    keep: Callable[[Session, str, list[Row]], None] = lambda *_: None,
) -> bool:
    """Store a batch; False when it was taken before, and then nothing changes. `keep` gets its rows in the
    same transaction."""
    with transaction() as session:
        owners = _owners(session, {one.script_id for one in batch.events})
    found = [
        row
        for told in batch.events
        if told.script_id in owners
        for row in rows(told, owners[told.script_id], node_id)
    ]
    _lead_back(found)
    with transaction() as session:
        if not first_time(session, node_id, batch_id):
            return False
        _store(session, found)
        keep(session, node_id, found)
        count_losses(session, node_id, batch.lost)
    return True


def _owners(session: Session, script_ids: set[str]) -> dict[str, Owner]:
    """By script id; a script that was deleted meanwhile still has one."""
    query = select(Script.id, Script.account_id, Script.name).where(Script.id.in_(script_ids))
    return {row.id: Owner(row.account_id, row.name) for row in session.execute(query)}


def _lead_back(found: Iterable[Row]) -> None:
    """Give exceptions the stacks of their sources, and keep what the runtime said."""
    thrown = [row for row in found if row["kind"] == "exception" and row["fields"]["stack"]]
    places = [(row["version_id"], row["fields"]["stack"]) for row in thrown]
    mapped = stacks.mapped(places) if places else {}
    for row, place in zip(thrown, places, strict=True):
        if (stack := mapped.get(place, place[1])) != place[1]:
            row["fields"] |= {"stack": stack, "runtime_stack": place[1]}


def _store(session: Session, found: list[Row]) -> None:
    oldest, latest = partitions.oldest_day(partitions.LOGS), now() + AHEAD_MAX
    kept = [row for row in found if row["at"].date() >= oldest]
    for row in kept:
        row["at"] = min(row["at"], latest)
    if not kept:
        return
    partitions.ensure(session, {row["at"].date() for row in kept}, partitions.LOGS)
    driver: Any = session.connection().connection.driver_connection
    names = ", ".join(_COLUMNS)
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {log_events.name} ({names}) FROM STDIN") as copy,
    ):
        for row in kept:
            copy.write_row([_written(row[name]) for name in _COLUMNS])


def _written(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value

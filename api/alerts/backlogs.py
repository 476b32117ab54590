"""How much waits in the queues that somebody watches.

Only a queue's store knows, so a worker asks it before the rules are compared, in no transaction, and what it
says is written down. A queue whose store does not answer keeps the figures that it had: an alert about it
neither fires nor ends because a node is away.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api.alerts.kinds import KINDS
from api.alerts.models import QueueBacklog, Rule
from api.clock import now
from api.errors import Refused, Unavailable
from api.nodes import stores
from api.nodes.stores import StoreDoor
from api.queues import service as queues, store
from api.queues.models import Queue

AT_ONCE = 8
_KINDS = [name for name, kind in KINDS.items() if kind.of_queues]


@dataclass(frozen=True)
class Figures:
    messages: int
    bytes: int
    oldest_at: datetime | None


def watched(session: Session) -> dict[str, StoreDoor]:
    """The way to each queue that a rule is about, by the queue's id. One that its store has not heard of yet
    is not asked about."""
    query = (
        select(Queue)
        .join(Rule, Rule.account_id == Queue.account_id)
        .where(Rule.kind.in_(_KINDS), or_(Rule.queue_id.is_(None), Rule.queue_id == Queue.id))
        .where(Queue.configured > 0)
        .distinct()
    )
    try:
        return {
            queue.id: stores.door(session, queue.account_id, queues.KIND, queue.name)
            for queue in session.scalars(query)
        }
    except Unavailable:
        return {}


def ask(doors: Mapping[str, StoreDoor]) -> dict[str, Figures]:
    """What waits in each now, of those that answer."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = pool.map(_asked, doors.values())
        return {queue_id: one for queue_id, one in zip(doors, said, strict=True) if one}


def _asked(door: StoreDoor) -> Figures | None:
    try:
        said = store.backlog(door)
    except (Unavailable, Refused):
        return None  # its last figures stay
    oldest = datetime.fromtimestamp(said.oldest_ms / 1000, UTC) if said.oldest_ms else None
    return Figures(said.count, said.bytes, oldest)


def write(session: Session, found: Mapping[str, Figures]) -> None:
    """Those of queues that were deleted meanwhile are nobody's."""
    there = set(
        session.scalars(select(Queue.id).where(Queue.id.in_(found)).with_for_update(read=True))
    )
    rows = [
        {"queue_id": queue_id, **vars(figures), "seen_at": now()}
        for queue_id, figures in sorted(found.items())
        if queue_id in there
    ]
    if not rows:
        return
    statement = insert(QueueBacklog).values(rows)
    changed = {name: statement.excluded[name] for name in rows[0] if name != "queue_id"}
    session.execute(statement.on_conflict_do_update(index_elements=["queue_id"], set_=changed))

"""Queues: their names, settings and consumers. What is in them is in the account's store (store.py).

The store delivers by itself, so it has to know every queue's settings and consumer. Each change counts the
queue's revision up, and a task tells the store; the row is the work, the sweep finds what was not told.
"""

import re
import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api import ids
from api.clock import now
from api.errors import (
    ConsumerExists,
    ConsumerNotFound,
    QueueBindingNotFound,
    QueueExists,
    QueueNameInvalid,
    QueueNotFound,
    QueueSettingsInvalid,
    ScriptConsumes,
)
from api.nodes import stores
from api.pagination import Listing, Page, paginate
from api.queue import enqueue
from api.queues.consuming import Consuming
from api.queues.models import Queue, QueueConsumer
from api.scripts.models import Script

KIND = "queues"
# Cloudflare's rule.
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
RETENTION_SECONDS = 4 * 24 * 60 * 60
# Seconds, as wrangler checks them.
DELAYS, RETENTIONS = (0, 86_400), (60, 14 * 24 * 60 * 60)
# How many batches a consumer that says nothing is given at once.
CONCURRENCY = 10


def owned_by(account_id: str) -> Select[Queue]:
    """The one door to queues."""
    return select(Queue).where(Queue.account_id == account_id)


def get(session: Session, account_id: str, queue_id: str, *, lock: bool = False) -> Queue:
    """Raises QueueNotFound, for a stranger's too."""
    query = owned_by(account_id).where(Queue.id == queue_id)
    queue = session.scalar(query.with_for_update(of=Queue.__table__) if lock else query)
    if queue is None:
        raise QueueNotFound("This queue does not exist on your account.")
    return queue


def find(session: Session, account_id: str, name: str) -> Queue | None:
    return session.scalar(owned_by(account_id).where(Queue.name == name))


def page_of_queues(
    session: Session, account_id: str, page: Page, names: Iterable[str] = ()
) -> Listing[Queue]:
    query = owned_by(account_id).order_by(Queue.name)
    if wanted := [name for name in names if name]:
        query = query.where(Queue.name.in_(wanted))
    return paginate(session, query, page)


def create(
    session: Session,
    account_id: str,
    name: str,
    *,
    delivery_delay: int | None = None,
    message_retention_period: int | None = None,
) -> Queue:
    """Raises QueueNameInvalid, QueueExists, QueueSettingsInvalid."""
    if not _NAME.fullmatch(name):
        raise QueueNameInvalid(
            "A queue's name has 1 to 63 letters, digits, hyphens and underscores, with no hyphen at "
            "either end. Nothing was changed."
        )
    kept = RETENTION_SECONDS if message_retention_period is None else message_retention_period
    values = {
        "id": ids.hex32(),
        "account_id": account_id,
        "name": name,
        "delivery_delay": _checked("delivery_delay", delivery_delay or 0, DELAYS),
        "message_retention_period": _checked("message_retention_period", kept, RETENTIONS),
        "delivery_paused": False,
        "revision": _revision(0),
        "configured": 0,
        "created_at": now(),
        "modified_at": now(),
    }
    made = session.scalar(insert(Queue).values(values).on_conflict_do_nothing().returning(Queue.id))
    if made is None:
        raise QueueExists(
            f"Queue name '{name}' is already taken. Please use a different name and try again."
        )
    enqueue(session, "queues.configure", queue_id=made)
    return session.get_one(Queue, made)


def name_like(title: str) -> str:
    """A title as a queue's name."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", title)[:63].strip("-")


def make(session: Session, account_id: str, title: str, name: str) -> Queue:
    """The queue that a template's Worker binds: it is addressed by its name, which was chosen before."""
    del title
    return create(session, account_id, name)


def remove(session: Session, account_id: str, name: str) -> None:
    """Take back a queue that was made with a Worker which did not start. Nobody can have sent anything
    to it but that Worker."""
    found = find(session, account_id, name)
    if found is not None:
        session.delete(found)
        session.flush()


def change(
    session: Session,
    queue: Queue,
    *,
    delivery_delay: int | None = None,
    message_retention_period: int | None = None,
    delivery_paused: bool | None = None,
) -> Queue:
    """What is None stays. Raises QueueSettingsInvalid, and then nothing is changed."""
    if delivery_delay is not None:
        _checked("delivery_delay", delivery_delay, DELAYS)
    if message_retention_period is not None:
        _checked("message_retention_period", message_retention_period, RETENTIONS)
        queue.message_retention_period = message_retention_period
    if delivery_delay is not None:
        queue.delivery_delay = delivery_delay
    if delivery_paused is not None:
        queue.delivery_paused = delivery_paused
    changed(session, queue)
    return queue


def _checked(name: str, value: int, span: tuple[int, int]) -> int:
    least, most = span
    if not least <= value <= most:
        raise QueueSettingsInvalid(
            f"`{name}` must be between {least} and {most} seconds. Nothing was changed."
        )
    return value


def check_binding(session: Session, account_id: str, binding: dict[str, Any]) -> None:
    """Raises QueueBindingNotFound; until the end of the transaction the queue stays."""
    name = str(binding["queue_name"])
    query = owned_by(account_id).where(Queue.name == name)
    if session.scalar(query.with_for_update(read=True, of=Queue.__table__)) is None:
        raise QueueBindingNotFound(
            f'Queue "{name[:80]}" does not exist. Nothing was changed. To make it: '
            f"wrangler queues create {name[:80]}"
        )


# --- consumers ----------------------------------------------------------------------------------


def consumer_of(queue: Queue, consumer_id: str) -> QueueConsumer:
    """Raises ConsumerNotFound."""
    if queue.consumer is None or queue.consumer.id != consumer_id:
        raise ConsumerNotFound("This queue has no such consumer.")
    return queue.consumer


def consume(
    session: Session, queue: Queue, wanted: Consuming, script: Script | None
) -> QueueConsumer:
    """Raises ConsumerExists, or ConsumerSettingsInvalid through `wanted`."""
    if queue.consumer is not None:
        raise ConsumerExists(
            f"Queue {queue.name} has a consumer already, and a queue has one at most. Nothing was changed. "
            f"To take it away: wrangler queues consumer remove {queue.name} SCRIPT"
        )
    consumer = QueueConsumer(queue=queue, script=script, **wanted.columns())
    session.add(consumer)
    changed(session, queue)
    return consumer


def consume_all(session: Session, script: Script, names: Iterable[str]) -> None:
    """Have a script consume these queues of its account as consumers do by default. Raises ConsumerExists."""
    for name in names:
        queue = find(session, script.account_id, name)
        if queue is not None:
            consume(session, queue, Consuming(max_wait_time_ms=1000), script)


def change_consumer(
    session: Session, consumer: QueueConsumer, wanted: Consuming, script: Script | None
) -> QueueConsumer:
    consumer.script = script
    for column, value in wanted.columns().items():
        setattr(consumer, column, value)
    changed(session, consumer.queue)
    return consumer


def stop_consuming(session: Session, queue: Queue) -> None:
    """Messages stay, and wait for another consumer."""
    queue.consumer = None
    changed(session, queue)


def consumed_by(session: Session, script: Script) -> list[Queue]:
    query = select(Queue).join(QueueConsumer, QueueConsumer.queue_id == Queue.id)
    return list(
        session.scalars(query.where(QueueConsumer.script_id == script.id).order_by(Queue.name))
    )


def leave_script(session: Session, script: Script, *, force: bool) -> None:
    """Of a script that is deleted. Raises ScriptConsumes unless forced to."""
    queues = consumed_by(session, script)
    if queues and not force:
        names = ", ".join(queue.name for queue in queues)
        raise ScriptConsumes(
            f"{script.name} is the consumer of {names}. Nothing was deleted. Remove it there first: "
            f"wrangler queues consumer remove {queues[0].name} {script.name}"
        )
    for queue in queues:
        stop_consuming(session, queue)


def dead_letters_of(session: Session, queue: Queue) -> list[Queue]:
    """The queues whose consumer gives up messages into this one."""
    query = (
        owned_by(queue.account_id)
        .join(QueueConsumer, QueueConsumer.queue_id == Queue.id)
        .where(QueueConsumer.dead_letter_queue == queue.name, Queue.id != queue.id)
    )
    return list(session.scalars(query))


# --- telling the store ----------------------------------------------------------------------------


def changed(session: Session, queue: Queue) -> None:
    """Tell the store after the commit."""
    queue.modified_at = now()
    queue.revision = _revision(queue.revision)
    session.flush()
    enqueue(session, "queues.configure", queue_id=queue.id)


def _revision(before: int) -> int:
    """Greater than every one before, also than those of a queue of the same name that was deleted."""
    return max(before + 1, time.time_ns() // 1000)


def configuration(
    session: Session, queue_id: str
) -> tuple[stores.StoreDoor, dict[str, Any]] | None:
    """What a queue's store has to know, and the way to it; None when the queue is gone. Raises Unavailable."""
    queue = session.get(Queue, queue_id)
    if queue is None:
        return None
    content = {
        "revision": queue.revision,
        "paused": queue.delivery_paused,
        "delivery_delay": queue.delivery_delay,
        "retention": queue.message_retention_period,
        "consumer": _consumer(queue.consumer),
    }
    return stores.door(session, queue.account_id, KIND, queue.name), content


def _consumer(consumer: QueueConsumer | None) -> dict[str, Any] | None:
    if consumer is None:
        return None
    return {
        "type": consumer.type,
        "script_id": consumer.script_id,
        "batch_size": consumer.batch_size,
        "max_wait_ms": consumer.max_wait_time_ms,
        "max_retries": consumer.max_retries,
        "max_concurrency": consumer.max_concurrency or CONCURRENCY,
        "retry_delay": consumer.retry_delay,
        "dead_letter_queue": consumer.dead_letter_queue,
    }


def configured(session: Session, queue_id: str, revision: int) -> None:
    session.execute(
        update(Queue)
        .where(Queue.id == queue_id, Queue.configured < revision)
        .values(configured=revision)
    )


def unconfigured(session: Session) -> list[str]:
    """Ids of queues whose store has not heard of their newest settings."""
    return list(session.scalars(select(Queue.id).where(Queue.configured < Queue.revision)))

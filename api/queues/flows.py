"""What concerns both a queue's row and its store, or a script that produces or consumes."""

from sqlalchemy.orm import Session

from api.deployments import resources, service as deployments
from api.errors import (
    ConsumerSettingsInvalid,
    HandlerMissing,
    QueueBound,
    QueueConsumed,
    ScriptNotFound,
)
from api.nodes import stores
from api.nodes.stores import StoreDoor
from api.queues import service, store
from api.queues.consuming import WORKER, Consuming
from api.queues.models import Queue, QueueConsumer
from api.scripts import service as scripts
from api.scripts.models import Script


def door_of(session: Session, queue: Queue) -> StoreDoor:
    """The way to the messages of a queue. Raises Unavailable."""
    return stores.door(session, queue.account_id, service.KIND, queue.name)


def producers(session: Session, queue: Queue) -> list[Script]:
    return resources.bound_by(session, queue.account_id, "queue", queue.name)


def consume(
    session: Session, queue: Queue, wanted: Consuming, script_name: str | None
) -> QueueConsumer:
    """Raises ConsumerExists, ConsumerSettingsInvalid, ScriptNotFound, HandlerMissing."""
    script = _checked(session, queue, wanted, script_name)
    return service.consume(session, queue, wanted, script)


def change_consumer(
    session: Session, consumer: QueueConsumer, wanted: Consuming, script_name: str | None
) -> QueueConsumer:
    """The same, in place of what it was."""
    script = _checked(session, consumer.queue, wanted, script_name)
    return service.change_consumer(session, consumer, wanted, script)


def _checked(
    session: Session, queue: Queue, wanted: Consuming, script_name: str | None
) -> Script | None:
    dead = wanted.dead_letter_queue
    if dead == queue.name:
        raise ConsumerSettingsInvalid(
            "A queue cannot be its own dead letter queue. Nothing was changed."
        )
    if dead and service.find(session, queue.account_id, dead) is None:
        raise ConsumerSettingsInvalid(
            f"The dead letter queue {dead[:80]} does not exist. Nothing was changed. To make it: "
            f"wrangler queues create {dead[:80]}"
        )
    if wanted.type != WORKER:
        return None
    script = scripts.find(session, queue.account_id, script_name or "")
    if script is None:
        raise ScriptNotFound((script_name or "")[:80])
    deployment = deployments.current(session, script)
    if deployment is None or not all("queue" in one.handlers for one, _ in deployment.shares):
        raise HandlerMissing(
            f"The deployed version of {script.name} has no `queue` handler. Nothing was changed."
        )
    return script


def delete(session: Session, account_id: str, queue_id: str) -> None:
    """Delete a queue with its messages; raises QueueNotFound, QueueBound, QueueConsumed, Unavailable."""
    queue = service.get(session, account_id, queue_id, lock=True)
    resources.refuse_bound(session, queue, account_id, "queue", queue.name, QueueBound)
    if queue.consumer is not None:
        raise QueueConsumed(
            f"{queue.name} has a consumer. Nothing was deleted. Take it away first: "
            + _removal(queue, queue.consumer)
        )
    if sources := service.dead_letters_of(session, queue):
        names = ", ".join(one.name for one in sources)
        raise QueueConsumed(f"It is the dead letter queue of {names}. Nothing was deleted.")
    store.destroy(door_of(session, queue))
    session.delete(queue)


def _removal(queue: Queue, consumer: QueueConsumer) -> str:
    if consumer.script is None:
        return f"wrangler queues consumer http remove {queue.name}"
    return f"wrangler queues consumer remove {queue.name} {consumer.script.name}"

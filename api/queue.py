"""Sending tasks to Celery by name, after the commit; this side never imports the tasks."""

from functools import lru_cache
from typing import TYPE_CHECKING

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from api.settings import settings

if TYPE_CHECKING:
    # Beat sends without a database.
    from sqlalchemy.orm import Session

log = structlog.get_logger()

PUSH = "push"
DEFAULT = "default"
QUEUES = (PUSH, DEFAULT)
QUEUE_OF_TASK = {"rollouts.push": PUSH}

# A broker that is away must cost a request next to nothing: the sweep sends what was not sent.
BROKER_OPTIONS = {
    "socket_connect_timeout": 1.0,
    "socket_timeout": 10.0,
    "retry_on_timeout": False,
    # Longer than a push may take; shorter would hand a running task to a second worker.
    "visibility_timeout": 300,
}


@lru_cache
def sender() -> Celery:
    """The Celery application through which this process sends."""
    app = Celery("skerry-sender", broker=settings().redis_url)
    app.conf.update(
        broker_transport_options={**BROKER_OPTIONS, "max_retries": 0},
        broker_connection_retry=False,
        task_ignore_result=True,
        task_serializer="json",
        task_create_missing_queues=True,
    )
    return app


def enqueue(session: "Session", task: str, **ids: str) -> None:
    """Remember a task that `publish` sends once the transaction is committed. Ids only."""
    session.info.setdefault("enqueued", []).append((task, ids))


def forget(session: "Session") -> None:
    """Send nothing of what was enqueued in this transaction."""
    session.info.pop("enqueued", None)


def publish(session: "Session") -> None:
    """Send what was enqueued in a transaction that has been committed.

    A broker that cannot be reached is logged and passed over: the row is the work, the message only
    a nudge, and the sweep and the nodes' own pull find the row.
    """
    for task, ids in session.info.pop("enqueued", []):
        send(task, **ids)


def send(task: str, **ids: str) -> bool:
    """Send one task now; False when the broker did not take it."""
    context = structlog.contextvars.get_contextvars()
    try:
        sender().send_task(
            task,
            kwargs=ids,
            queue=QUEUE_OF_TASK.get(task, DEFAULT),
            headers={"correlation_id": context.get("request_id", "")},
            retry=False,
        )
    except OperationalError as error:
        log.warning("task_not_sent", task=task, ids=ids, reason=str(error))
        return False
    return True

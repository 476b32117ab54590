"""What every Celery application of ours agrees on: queues, serializer, a broker that may be away."""

from collections.abc import Iterable
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu.entity import Queue

from api.logging import configure_logging
from api.queue import BROKER_OPTIONS, DEFAULT, QUEUE_OF_TASK, QUEUES
from api.settings import settings


def application(name: str, tasks_in: Iterable[str] = ()) -> Celery:
    """An application that loads its tasks from these modules."""
    app = Celery(name, broker=settings().redis_url, include=tasks_in)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_create_missing_queues=False,
        task_queues=[Queue(name) for name in QUEUES],  # type: ignore[no-untyped-call]
        task_default_queue=DEFAULT,
        task_routes={task: {"queue": name} for task, name in QUEUE_OF_TASK.items()},
        # The visibility timeout is longer than the hard limit, else Redis delivers a running task twice.
        broker_transport_options=BROKER_OPTIONS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # Redis may be away for as long as it likes
        timezone="UTC",
    )
    return app


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    configure_logging()

"""The Celery application: queues, and the log context of a task."""

from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun, worker_process_init
from kombu.entity import Queue

from api.db import connect
from api.logging import configure_logging
from api.queue import BROKER_OPTIONS, DEFAULT, QUEUE_OF_TASK, QUEUES
from api.settings import settings
from worker.schedule import beat_schedule

# A push waits up to push_timeout_seconds for a node; beyond this something hangs.
SOFT_TIME_LIMIT_SECONDS = 120
HARD_TIME_LIMIT_SECONDS = 150

app = Celery(
    "skerry",
    broker=settings().redis_url,
    include=[
        "worker.alerts",
        "worker.crons",
        "worker.deployments",
        "worker.invocations",
        "worker.lambdas",
        "worker.queues",
        "worker.stores",
        "worker.sweep",
        "worker.telemetry",
    ],
)
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_soft_time_limit=SOFT_TIME_LIMIT_SECONDS,
    task_time_limit=HARD_TIME_LIMIT_SECONDS,
    task_create_missing_queues=False,
    task_queues=[Queue(name) for name in QUEUES],  # type: ignore[no-untyped-call]
    task_default_queue=DEFAULT,
    task_routes={task: {"queue": name} for task, name in QUEUE_OF_TASK.items()},
    # The visibility timeout is longer than the hard limit, else Redis delivers a running task twice.
    broker_transport_options=BROKER_OPTIONS,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # Redis may be away for as long as it likes
    worker_cancel_long_running_tasks_on_connection_loss=False,
    beat_schedule=beat_schedule(),
    timezone="UTC",
)


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    configure_logging()


@worker_process_init.connect
def _connect(**_: Any) -> None:
    # Each child needs connections of its own: a socket shared by a fork belongs to nobody.
    connect()


@task_prerun.connect
def _bind(task_id: str, task: Any, **_: Any) -> None:
    structlog.contextvars.bind_contextvars(
        task=task.name,
        task_id=task_id,
        request_id=(task.request.headers or {}).get("correlation_id", ""),
    )


@task_postrun.connect
def _unbind(**_: Any) -> None:
    structlog.contextvars.clear_contextvars()

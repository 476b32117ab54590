"""The Celery application of the worker: its tasks, their limits and log context."""

from typing import Any

from api import garbage

# isort: split
import structlog
from celery.signals import task_postrun, task_prerun, worker_init, worker_process_init
from sqlalchemy.orm import configure_mappers

from api.db import connect
from worker.broker import application

# A push waits up to push_timeout_seconds for a node; beyond this something hangs.
SOFT_TIME_LIMIT_SECONDS = 120
HARD_TIME_LIMIT_SECONDS = 150

app = application(
    "skerry",
    tasks_in=[
        "worker.alerts",
        "worker.crons",
        "worker.deployments",
        "worker.invocations",
        "worker.lambdas",
        "worker.queues",
        "worker.stores",
        "worker.sweep",
        "worker.telemetry",
        "worker.zones",
    ],
)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_soft_time_limit=SOFT_TIME_LIMIT_SECONDS,
    task_time_limit=HARD_TIME_LIMIT_SECONDS,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)


@worker_init.connect
def _finish_loading(**_: Any) -> None:
    # Before the children are forked, so that they share it, instead of each at its first task.
    configure_mappers()
    garbage.everything_is_loaded()


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

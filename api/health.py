"""Whether the parts that the control plane stands on answer, asked with short timeouts.

A page that says what is dead must not wait for it: each question ends within its timeout.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
import redis
import structlog
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import make_url

from api.clock import now
from api.queue import QUEUES, sender
from api.settings import settings

log = structlog.get_logger()

DATABASE_TIMEOUT_SECONDS = 2  # libpq knows no shorter one
BROKER_TIMEOUT_SECONDS = 0.8
# An idle worker answers in milliseconds, one on a busy small machine in some hundred.
WORKER_TIMEOUT_SECONDS = 1.0
SWEPT_AT = "skerry:swept_at"


@dataclass(frozen=True)
class Broker:
    """What Valkey holds."""

    waiting: int
    """Tasks that no worker has taken yet."""
    swept_at: datetime | None


def database_problem() -> str | None:
    """Why Postgres takes no connection; None when it does.

    Over a connection of its own: one of the pool would wait for a server that hangs.
    """
    url = make_url(settings().database_url).set(drivername="postgresql")
    try:
        psycopg.connect(
            url.render_as_string(hide_password=False), connect_timeout=DATABASE_TIMEOUT_SECONDS
        ).close()
    except psycopg.OperationalError as error:
        return str(error)
    return None


def broker() -> Broker | None:
    """What Valkey says, or None if it does not answer."""
    try:
        with _client() as client:
            waiting = sum(client.llen(queue) for queue in QUEUES)
            noted = client.get(SWEPT_AT)
    except redis.RedisError as error:
        log.warning("broker_away", reason=str(error))
        return None
    return Broker(waiting, datetime.fromisoformat(str(noted)) if noted else None)


def worker_answers() -> bool:
    """Whether any Celery worker answers a ping; ask only while the broker does."""
    try:
        return bool(sender().control.ping(timeout=WORKER_TIMEOUT_SECONDS, limit=1))
    except OperationalError as error:
        log.warning("worker_not_asked", reason=str(error))
        return False


def note_sweep() -> None:
    """Say that the sweep ran. A broker that is away costs the note, never the sweep."""
    try:
        with _client() as client:
            client.set(SWEPT_AT, now().isoformat())
    except redis.RedisError as error:
        log.warning("sweep_not_noted", reason=str(error))


@contextmanager
def _client() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(
        settings().redis_url,
        socket_connect_timeout=BROKER_TIMEOUT_SECONDS,
        socket_timeout=BROKER_TIMEOUT_SECONDS,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),  # its own three retries would multiply the timeout
    )
    try:
        yield client
    finally:
        client.close()

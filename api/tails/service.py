"""Tails: who looks at which script right now. They live in Valkey and end by themselves.

A tail that nobody is connected to ends a minute after it was made or left; one that somebody looks
at is prolonged by its connection, up to six hours.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from api import ids
from api.clock import now
from api.errors import NotFound, TooManyAttempts, Unavailable
from api.settings import settings
from api.tails.filters import Filter

log = structlog.get_logger()

TAILS_PER_SCRIPT = 10
LIFETIME = timedelta(hours=6)
ALONE_SECONDS = 60
TIMEOUT_SECONDS = 2.0

CHANGED = "tails:changed"
_TAILED = "tails:scripts"


@dataclass(frozen=True)
class Tail:
    id: str
    account_id: str
    script_id: str
    script_name: str
    filters: list[dict[str, Any]]
    expires_at: str
    """ISO; it is over then, whoever looks."""

    @property
    def ends_at(self) -> datetime:
        return datetime.fromisoformat(self.expires_at)

    def read_filters(self) -> list[Filter]:
        return [Filter.model_validate(one) for one in self.filters]


def events_channel(script_id: str) -> str:
    return f"tails:events:{script_id}"


def _of_script(script_id: str) -> str:
    return f"tails:of:{script_id}"


def _key(secret: str) -> str:
    return f"tails:secret:{ids.digest(secret.encode())}"


def id_key(tail_id: str) -> str:
    return f"tails:id:{tail_id}"


def create(
    account_id: str, script_id: str, script_name: str, filters: list[Filter]
) -> tuple[Tail, str]:
    """A new tail and the secret that opens it. Raises TooManyAttempts for an eleventh one of a
    script, Unavailable when Valkey is away."""
    tail = Tail(
        id=ids.hex32(),
        account_id=account_id,
        script_id=script_id,
        script_name=script_name,
        filters=[one.model_dump(exclude_none=True) for one in filters],
        expires_at=(now() + LIFETIME).isoformat(),
    )
    secret = ids.secret("skl_")
    with _valkey() as valkey:
        if len(_ids_of(valkey, script_id)) >= TAILS_PER_SCRIPT:
            raise TooManyAttempts(
                f"This Worker has {TAILS_PER_SCRIPT} tails already. End one of them, or wait a"
                " minute if nobody looks at it."
            )
        with valkey.pipeline() as steps:
            steps.set(_key(secret), json.dumps(asdict(tail)), ex=int(LIFETIME.total_seconds()))
            steps.set(id_key(tail.id), _key(secret), ex=int(LIFETIME.total_seconds()))
            for name, score in prolongation(tail):
                steps.zadd(name, score)
            steps.publish(CHANGED, script_id)
            steps.execute()
    return tail, secret


def prolongation(tail: Tail) -> list[tuple[str, dict[str, float]]]:
    """The sorted sets and scores that keep a tail alive for another minute."""
    until = now().timestamp() + ALONE_SECONDS
    return [(_of_script(tail.script_id), {tail.id: until}), (_TAILED, {tail.script_id: until})]


def of_script(account_id: str, script_id: str) -> list[Tail]:
    """Every tail of a script that has not ended."""
    with _valkey() as valkey:
        keys = [valkey.get(id_key(one)) for one in _ids_of(valkey, script_id)]
        found = [valkey.get(str(key)) for key in keys if key]
    tails = [Tail(**json.loads(str(text))) for text in found if text]
    return [tail for tail in tails if tail.account_id == account_id]


def end(account_id: str, script_id: str, tail_id: str) -> None:
    """Raises NotFound; whoever is connected is told within some seconds."""
    if tail_id not in {tail.id for tail in of_script(account_id, script_id)}:
        raise NotFound("This tail does not exist, or it has ended.")
    with _valkey() as valkey:
        remove(valkey, tail_id, script_id)


def remove(valkey: redis.Redis, tail_id: str, script_id: str) -> None:
    key = valkey.get(id_key(tail_id))
    valkey.delete(id_key(tail_id), *([str(key)] if key else []))
    valkey.zrem(_of_script(script_id), tail_id)
    if not _ids_of(valkey, script_id):
        valkey.zrem(_TAILED, script_id)
    valkey.publish(CHANGED, script_id)


def publish(events: dict[str, list[dict[str, Any]]]) -> None:
    """Hand events of scripts, by script id, to whoever tails them. Raises Unavailable."""
    with _valkey() as valkey, valkey.pipeline(transaction=False) as steps:
        for script_id, found in events.items():
            steps.publish(events_channel(script_id), json.dumps(found))
        steps.execute()


def secret_key(secret: str) -> str:
    """Where the tail of a secret is stored."""
    return _key(secret)


def tailed_range() -> tuple[str, float]:
    """The sorted set of scripts that are tailed, and the least score of those that still are."""
    return _TAILED, now().timestamp()


def _ids_of(valkey: redis.Redis, script_id: str) -> list[str]:
    name = _of_script(script_id)
    valkey.zremrangebyscore(name, "-inf", now().timestamp())
    return [str(one) for one in valkey.zrange(name, 0, -1)]


@contextmanager
def _valkey() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(
        settings().redis_url,
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield client
    except redis.RedisError as error:
        log.warning("tails_away", reason=str(error))
        raise Unavailable(
            "Live tails need Valkey, which does not answer. Try again soon."
        ) from error
    finally:
        client.close()

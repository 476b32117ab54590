"""Looking at a tail: from Valkey's channel through the filters into a queue that never fills.

Asynchronous, and so without the database: see style.md, B0.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import redis.asyncio
import structlog

from api.clock import now
from api.settings import settings
from api.tails import service
from api.tails.filters import Filter
from api.tails.service import Tail

log = structlog.get_logger()

# Events that wait for a slow reader; what comes on top is dropped and counted.
WAITING_MAX = 1000
PROLONG_SECONDS = 5.0
# A node asks again after this long, whether or not anything has changed. Not longer: an end of the
# control plane waits for answers that are under way.
LONGEST_WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class Shown:
    """What a reader gets next."""

    events: list[dict[str, Any]]
    dropped: int
    """Events that were lost on the way since the last time, at the node or here."""


def connect() -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(settings().redis_url, decode_responses=True)


async def find(valkey: redis.asyncio.Redis, secret: str) -> Tail | None:
    """The tail that this secret opens."""
    text = await valkey.get(service.secret_key(secret))
    return Tail(**json.loads(text)) if text else None


async def watch(valkey: redis.asyncio.Redis, tail: Tail) -> AsyncIterator[Shown]:
    """What a tail shows, at least every PROLONG_SECONDS (then without events), until it ends."""
    waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING_MAX)
    dropped = [0]
    async with valkey.pubsub() as channel:
        await channel.subscribe(service.events_channel(tail.script_id))
        reading = asyncio.create_task(_read(channel, tail, waiting, dropped))
        try:
            while await _prolonged(valkey, tail) and not reading.done():
                events = await _next(waiting)
                lost, dropped[0] = dropped[0], 0
                yield Shown(events, lost)
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, redis.RedisError):
                await reading


async def _prolonged(valkey: redis.asyncio.Redis, tail: Tail) -> bool:
    """Whether the tail goes on."""
    if now() >= tail.ends_at:
        return False
    known = service.id_key(tail.id)
    async with valkey.pipeline() as steps:
        # One that is ended at this moment must not come back for a minute.
        await steps.watch(known)
        if not await steps.exists(known):
            return False
        steps.multi()  # type: ignore[no-untyped-call]
        for name, score in service.prolongation(tail):
            steps.zadd(name, score)
        try:
            await steps.execute()
        except redis.WatchError:
            return False
    return True


async def _next(waiting: asyncio.Queue[dict[str, Any]]) -> list[dict[str, Any]]:
    """Everything that waits, or nothing when nothing comes for a while."""
    try:
        async with asyncio.timeout(PROLONG_SECONDS):
            found = [await waiting.get()]
    except TimeoutError:
        return []
    while not waiting.empty():
        found.append(waiting.get_nowait())
    return found


async def _read(
    channel: redis.asyncio.client.PubSub,
    tail: Tail,
    waiting: asyncio.Queue[dict[str, Any]],
    dropped: list[int],
) -> None:
    filters = tail.read_filters()
    async for message in channel.listen():
        if message["type"] != "message":
            continue
        for sent in json.loads(message["data"]):
            dropped[0] += sent.get("dropped", 0)
            event = _shown(sent, filters, tail.script_name)
            if event is None:
                continue
            try:
                waiting.put_nowait(event)
            except asyncio.QueueFull:
                dropped[0] += 1


def _shown(sent: dict[str, Any], filters: list[Filter], name: str) -> dict[str, Any] | None:
    """The event as wrangler reads it; None when a filter holds it back."""
    event, version_id = sent.get("event"), str(sent.get("version_id", ""))
    if not isinstance(event, dict):
        return None
    if not all(one.passes(event, version_id) for one in filters):
        return None
    return {**event, "scriptName": name, "scriptVersion": {"id": version_id}}


async def tailed_scripts(valkey: redis.asyncio.Redis) -> list[str]:
    """Every script that somebody tails, in order."""
    name, least = service.tailed_range()
    return sorted(str(one) for one in await valkey.zrangebyscore(name, least, "+inf"))


async def wait_for_change(valkey: redis.asyncio.Redis, known: list[str]) -> list[str]:
    """The scripts that are tailed: at once when they are not the known ones, else after a change,
    or after LONGEST_WAIT_SECONDS."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LONGEST_WAIT_SECONDS
    async with valkey.pubsub() as channel:
        await channel.subscribe(service.CHANGED)
        while (found := await tailed_scripts(valkey)) == known and loop.time() < deadline:
            # An end by itself says nothing, so it is looked for.
            await channel.get_message(ignore_subscribe_messages=True, timeout=LONGEST_WAIT_SECONDS)
    return found

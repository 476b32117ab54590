"""Messages over REST: sent, pulled and acknowledged without a Worker, and purged."""

import base64
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from api.clock import iso, now
from api.db import transaction
from api.envelope import Envelope, answer
from api.errors import BodyInvalid, QueueRefused
from api.nodes.stores import StoreDoor
from api.queues import flows, service, store
from api.queues.consuming import HTTP_PULL
from api.queues.schemas import (
    AckIn,
    AckOut,
    MessageIn,
    MessagesIn,
    Metrics,
    PulledOut,
    PullIn,
    PurgeIn,
    SentOut,
)
from api.queues.store import Backlog, Outgoing
from api.security import CurrentActor

router = APIRouter(prefix="/accounts/{account_id}/queues/{queue_id}", tags=["queues data"])
# Cloudflare's codes for what cannot be read.
_METADATA, _BODY = 10203, 10207


class Opened:
    """A queue and the way to its messages, read in a transaction of its own."""

    def __init__(self, actor: CurrentActor, queue_id: str) -> None:
        with transaction() as session:
            queue = service.get(session, actor.account_id, queue_id)
            self.door: StoreDoor = flows.door_of(session, queue)
            self.paused = queue.delivery_paused
            consumer = queue.consumer
            self.pulled = consumer is not None and consumer.type == HTTP_PULL
            self.visibility_timeout_ms = consumer.visibility_timeout_ms if consumer else 0

    def must_be_pulled(self) -> None:
        if not self.pulled:
            raise QueueRefused(
                "This queue has no consumer that pulls over HTTP. To add one: "
                "wrangler queues consumer http add QUEUE",
                code=_BODY,
            )


OpenQueue = Annotated[Opened, Depends(Opened)]


@router.post("/messages", response_model=Envelope[SentOut])
def send_message(queue: OpenQueue, body: MessageIn) -> dict[str, Any]:
    """Send one message."""
    return answer(_sent(store.send(queue.door, [outgoing(body)])))


@router.post("/messages/batch", response_model=Envelope[SentOut])
def send_messages(queue: OpenQueue, body: MessagesIn) -> dict[str, Any]:
    """Send up to 100 messages, all or none."""
    if not body.messages:
        raise BodyInvalid("`messages` is empty. Nothing was stored.")
    messages = [outgoing(one) for one in body.messages]
    return answer(_sent(store.send(queue.door, messages, body.delay_seconds)))


@router.post("/messages/pull", response_model=Envelope[PulledOut])
def pull_messages(queue: OpenQueue, body: PullIn) -> dict[str, Any]:
    """Lease messages that are there now; whoever gets them acknowledges them in time, or they come again."""
    queue.must_be_pulled()
    visible = body.visibility_timeout_ms or body.visibility_timeout or queue.visibility_timeout_ms
    messages: list[dict[str, Any]] = []
    if queue.paused:
        backlog = store.backlog(queue.door)
    else:
        messages, backlog = store.pull(queue.door, body.batch_size, visible)
    return answer({"message_backlog_count": backlog.count, "messages": messages, **_sent(backlog)})


@router.post("/messages/ack", response_model=Envelope[AckOut])
def acknowledge_messages(queue: OpenQueue, body: AckIn) -> dict[str, Any]:
    queue.must_be_pulled()
    said = body.model_dump()
    return answer(store.acknowledge(queue.door, said["acks"], said["retries"]))


@router.get("/metrics", response_model=Envelope[Metrics])
def get_metrics(queue: OpenQueue) -> dict[str, Any]:
    return answer(_metrics(store.backlog(queue.door)))


@router.post("/purge", response_model=Envelope[dict[str, Any]])
def purge(queue: OpenQueue, body: PurgeIn) -> dict[str, Any]:
    """Delete all messages."""
    if not body.delete_messages_permanently:
        raise BodyInvalid("`delete_messages_permanently` must be true. Nothing was deleted.")
    store.purge(queue.door)
    return answer({"started_at": iso(now()), "complete": True})


def outgoing(message: MessageIn) -> Outgoing:
    """Raises QueueRefused."""
    kind = message.content_type or ("text" if isinstance(message.body, str) else "json")
    return Outgoing(kind, _bytes(kind, message.body), message.delay_seconds)


def _bytes(kind: str, body: Any) -> bytes:
    try:
        if kind == "json":
            text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            return text.encode()
        if kind == "text" and isinstance(body, str):
            return body.encode()
        if kind == "bytes" and isinstance(body, str):
            return base64.b64decode(body, validate=True)
    except ValueError as error:  # what is no Unicode, no base64, or no number of JSON
        raise QueueRefused(
            f"`body` cannot be read as {kind}: {error}. Nothing was stored.", code=_BODY
        ) from error
    raise QueueRefused(
        f"A message of content type {kind[:40]!r} is none of: text (a string), json (anything), bytes "
        "(a string in base64). Nothing was stored.",
        code=_METADATA,
    )


def _sent(backlog: Backlog) -> dict[str, Any]:
    return {"metadata": {"metrics": _metrics(backlog)}}


def _metrics(backlog: Backlog) -> dict[str, Any]:
    return {
        "backlog_count": backlog.count,
        "backlog_bytes": backlog.bytes,
        "oldest_message_timestamp_ms": backlog.oldest_ms,
    }

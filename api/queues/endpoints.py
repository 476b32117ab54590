"""Queues over REST, as `wrangler queues` asks (cloudflare-api.md, section 7)."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from sqlalchemy.orm import Session

from api.accounts.endpoints import paged
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.errors import NotSupported
from api.pagination import RequestedPage
from api.queues import flows, service
from api.queues.models import Queue
from api.queues.schemas import (
    ConsumerIn,
    ConsumerOut,
    QueueChange,
    QueueIn,
    QueueOut,
    consumer_out,
    queue_out,
)
from api.security import CurrentAccount

router = APIRouter(prefix="/accounts/{account_id}/queues", tags=["queues"])
# What asks the store of a node, which the document's tests do not have.
data_router = APIRouter(prefix=router.prefix, tags=["queues data"])
QueueId = Annotated[str, Path(description="A queue's id.")]


def _out(session: Session, queue: Queue) -> dict[str, Any]:
    return queue_out(queue, flows.producers(session, queue))


@router.get("", response_model=PagedEnvelope[list[QueueOut]])
def list_queues(
    session: DB,
    account: CurrentAccount,
    page: RequestedPage,
    name: Annotated[list[str], Query(description="Only queues of these names.")] = [],  # noqa: B006
) -> dict[str, Any]:
    listing = service.page_of_queues(session, account.id, page, name)
    return paged(listing, [_out(session, queue) for queue in listing.rows])


@router.post("", response_model=Envelope[QueueOut])
def create_queue(session: DB, account: CurrentAccount, body: QueueIn) -> dict[str, Any]:
    made = service.create(
        session,
        account.id,
        body.queue_name,
        delivery_delay=body.settings.delivery_delay,
        message_retention_period=body.settings.message_retention_period,
    )
    return answer(_out(session, made))


@router.get("/{queue_id}", response_model=Envelope[QueueOut])
def get_queue(session: DB, account: CurrentAccount, queue_id: str) -> dict[str, Any]:
    return answer(_out(session, service.get(session, account.id, queue_id)))


def _change(
    session: DB, account: CurrentAccount, queue_id: str, body: QueueChange
) -> dict[str, Any]:
    """Change settings; what is not named stays."""
    queue = service.get(session, account.id, queue_id, lock=True)
    if body.queue_name not in (None, queue.name):
        raise NotSupported("A queue cannot be renamed in Skerry. Nothing was changed.")
    service.change(session, queue, **body.settings.model_dump())
    return answer(_out(session, queue))


@router.patch("/{queue_id}", response_model=Envelope[QueueOut])
def change_queue(
    session: DB, account: CurrentAccount, queue_id: str, body: QueueChange
) -> dict[str, Any]:
    """Change settings; what is not named stays."""
    return _change(session, account, queue_id, body)


@router.put("/{queue_id}", response_model=Envelope[QueueOut])
def put_queue(
    session: DB, account: CurrentAccount, queue_id: str, body: QueueChange
) -> dict[str, Any]:
    """The same as PATCH."""
    return _change(session, account, queue_id, body)


@data_router.delete("/{queue_id}", response_model=Envelope[None])
def delete_queue(session: DB, account: CurrentAccount, queue_id: str) -> dict[str, Any]:
    """Delete a queue with its messages, unless somebody produces or consumes them."""
    flows.delete(session, account.id, queue_id)
    return answer(None)


# --- consumers ----------------------------------------------------------------------------------


@router.get("/{queue}/consumers", response_model=Envelope[list[ConsumerOut]])
def list_consumers(session: DB, account: CurrentAccount, queue: QueueId) -> dict[str, Any]:
    consumer = service.get(session, account.id, queue).consumer
    return answer([consumer_out(consumer)] if consumer else [])


@router.post("/{queue}/consumers", response_model=Envelope[ConsumerOut])
def create_consumer(
    session: DB, account: CurrentAccount, queue: QueueId, body: ConsumerIn
) -> dict[str, Any]:
    """Have a script's `queue` handler called, or let messages be pulled over HTTP."""
    found = service.get(session, account.id, queue, lock=True)
    return answer(consumer_out(flows.consume(session, found, body.consuming(), body.script)))


@router.get("/{queue_id}/consumers/{consumer_id}", response_model=Envelope[ConsumerOut])
def get_consumer(
    session: DB, account: CurrentAccount, queue_id: str, consumer_id: str
) -> dict[str, Any]:
    queue = service.get(session, account.id, queue_id)
    return answer(consumer_out(service.consumer_of(queue, consumer_id)))


@router.put("/{queue_id}/consumers/{consumer_id}", response_model=Envelope[ConsumerOut])
def put_consumer(
    session: DB, account: CurrentAccount, queue_id: str, consumer_id: str, body: ConsumerIn
) -> dict[str, Any]:
    """Replace how it consumes; what is not named becomes what it is by default."""
    queue = service.get(session, account.id, queue_id, lock=True)
    consumer = service.consumer_of(queue, consumer_id)
    changed = flows.change_consumer(session, consumer, body.consuming(), body.script)
    return answer(consumer_out(changed))


@router.delete("/{queue_id}/consumers/{consumer_id}", response_model=Envelope[None])
def delete_consumer(
    session: DB, account: CurrentAccount, queue_id: str, consumer_id: str
) -> dict[str, Any]:
    """Messages stay, and wait for another consumer."""
    queue = service.get(session, account.id, queue_id, lock=True)
    service.consumer_of(queue, consumer_id)
    service.stop_consuming(session, queue)
    return answer(None)

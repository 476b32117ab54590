"""Queues: made, paused, emptied and deleted; who produces and consumes; the messages at the front."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Form as Field, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.accounts.models import Member
from api.db import DB
from api.errors import (
    Conflict,
    NotFound,
    QueueExists,
    QueueNameInvalid,
    Refused,
    TooLarge,
    Unavailable,
)
from api.pagination import LAST_PAGE, Page
from api.queues import flows, service, store
from api.queues.consuming import HTTP_PULL, WORKER, Consuming
from api.queues.messages import outgoing
from api.queues.models import Queue
from api.queues.schemas import MessageIn
from api.scripts import service as scripts
from api.scripts.models import Script
from dashboard import flash
from dashboard.forms import Form, SentFields
from dashboard.paging import Paging
from dashboard.session import CurrentMember
from dashboard.templating import render

PER_PAGE = 25
SHOWN_CHARACTERS = 200
log = structlog.get_logger()
router = APIRouter(prefix="/queues")
# What a consumer can be told in numbers.
_NUMBERS = ("batch_size", "max_wait_time_ms", "max_retries", "retry_delay", "max_concurrency")


@dataclass(frozen=True)
class Row:
    """A message as the page of its queue lists it."""

    body: str
    type: str
    sent_at: datetime
    attempts: int
    state: str


@router.get("")
def index(
    request: Request,
    session: DB,
    member: CurrentMember,
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    return _list(request, session, member, Form(), page)


@router.post("")
def create(
    request: Request, session: DB, member: CurrentMember, name: Annotated[str, Field()] = ""
) -> Response:
    form = Form({"name": name})
    name = form.require("name", "Give the queue a name.").strip()
    if form.valid:
        try:
            made = service.create(session, member.account_id, name)
        except (QueueNameInvalid, QueueExists) as problem:
            form.refuse("name", problem.message)
        else:
            log.info("queue_created", queue=name, member_id=member.id)
            return RedirectResponse(_address(made), status_code=303)
    return _list(request, session, member, form, 1)


def _list(request: Request, session: Session, member: Member, form: Form, page: int) -> Response:
    listing = service.page_of_queues(session, member.account_id, Page(page=page, per_page=PER_PAGE))
    return render(
        request,
        "queues/index.html",
        status_code=200 if form.valid else 422,
        form=form,
        queues=listing.rows,
        paging=Paging("/queues", page, PER_PAGE, listing.total),
    )


def _queue(session: DB, member: CurrentMember, name: str) -> Queue:
    queue = service.find(session, member.account_id, name)
    if queue is None:
        raise NotFound("There is no queue of this name.")
    return queue


CurrentQueue = Annotated[Queue, Depends(_queue)]


def _address(queue: Queue) -> str:
    return f"/queues/{queue.name}"


@router.get("/{name}")
def show(request: Request, session: DB, queue: CurrentQueue) -> Response:
    return _show(request, session, queue, Form(_settings(queue)), Form(_consumer(queue)), Form())


def _show(
    request: Request, session: Session, queue: Queue, settings: Form, consumer: Form, message: Form
) -> Response:
    door = flows.door_of(session, queue)
    forms = (settings, consumer, message)
    return render(
        request,
        "queues/show.html",
        status_code=200 if all(form.valid for form in forms) else 422,
        queue=queue,
        here=_address(queue),
        settings=settings,
        consumer=consumer,
        message=message,
        backlog=store.backlog(door),
        messages=[_row(one) for one in store.peek(door)],
        producers=flows.producers(session, queue),
        scripts=_candidates(session, queue),
        queues=_others(session, queue),
    )


def _row(message: dict[str, Any]) -> Row:
    now_ms = datetime.now(UTC).timestamp() * 1000
    waits = message["visible_at"] > now_ms
    body = message["body"]
    return Row(
        body=body[:SHOWN_CHARACTERS] + ("…" if len(body) > SHOWN_CHARACTERS else ""),
        type=message["format"],
        sent_at=datetime.fromtimestamp(message["sent_at"] / 1000, UTC),
        attempts=message["attempts"],
        state="On its way" if message["leased"] else "Delayed" if waits else "Waiting",
    )


def _settings(queue: Queue) -> dict[str, str]:
    return {
        "delivery_delay": str(queue.delivery_delay),
        "message_retention_period": str(queue.message_retention_period),
    }


def _consumer(queue: Queue) -> dict[str, str]:
    found = queue.consumer
    wanted = Consuming()
    concurrency = found.max_concurrency if found else None
    return {
        "script": found.script.name if found and found.script else "",
        "batch_size": str((found or wanted).batch_size),
        "max_wait_time_ms": str((found or wanted).max_wait_time_ms),
        "max_retries": str((found or wanted).max_retries),
        "retry_delay": str((found or wanted).retry_delay),
        "max_concurrency": str(concurrency or ""),
        "dead_letter_queue": (found.dead_letter_queue if found else None) or "",
    }


def _candidates(session: Session, queue: Queue) -> dict[str, str]:
    """Who may consume, for a list to choose from."""
    names = session.scalars(scripts.owned_by(queue.account_id).order_by(Script.name))
    return {"": "Nobody", "*": "Whoever pulls over HTTP"} | {one.name: one.name for one in names}


def _others(session: Session, queue: Queue) -> dict[str, str]:
    query = select(Queue.name).where(Queue.account_id == queue.account_id, Queue.id != queue.id)
    return {"": "None: what is given up is deleted"} | {
        name: name for name in session.scalars(query.order_by(Queue.name))
    }


def _done(request: Request, queue: Queue, said: str) -> Response:
    response = RedirectResponse(_address(queue), status_code=303)
    flash.put(request, response, said)
    return response


@router.post("/{name}/settings")
def change(request: Request, session: DB, queue: CurrentQueue, sent: SentFields) -> Response:
    form = Form(sent)
    delay, kept = _number(form, "delivery_delay"), _number(form, "message_retention_period")
    if form.valid:
        try:
            service.change(session, queue, delivery_delay=delay, message_retention_period=kept)
            return _done(request, queue, "Saved.")
        except Refused as problem:
            form.refuse("", problem.message)
    return _show(request, session, queue, form, Form(_consumer(queue)), Form())


@router.post("/{name}/delivery")
def deliver(
    request: Request, session: DB, queue: CurrentQueue, paused: Annotated[bool, Field()]
) -> Response:
    """Pause or resume."""
    service.change(session, queue, delivery_paused=paused)
    return _done(request, queue, "Delivery is paused." if paused else "Delivery goes on.")


@router.post("/{name}/consumer")
def consume(request: Request, session: DB, queue: CurrentQueue, sent: SentFields) -> Response:
    """Who consumes from now on, and how."""
    form = Form(sent)
    numbers = {name: _number(form, name) for name in _NUMBERS}
    if form.valid:
        try:
            _set_consumer(session, queue, form.values, numbers)
            return _done(request, queue, "Saved.")
        except (Refused, NotFound) as problem:
            form.refuse("", problem.message)
    return _show(request, session, queue, Form(_settings(queue)), form, Form())


def _set_consumer(
    session: Session, queue: Queue, values: Any, numbers: dict[str, int | None]
) -> None:
    script = values.get("script", "")
    if not script:
        if queue.consumer:
            service.stop_consuming(session, queue)
        return
    given = {name: value for name, value in numbers.items() if value is not None}
    wanted = Consuming(
        type=HTTP_PULL if script == "*" else WORKER,
        dead_letter_queue=values.get("dead_letter_queue") or None,
        **given,
    )
    if queue.consumer:
        flows.change_consumer(session, queue.consumer, wanted, script)
    else:
        flows.consume(session, queue, wanted, script)


def _number(form: Form, name: str) -> int | None:
    """A whole number, None for nothing."""
    text = form.values.get(name, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        form.refuse(name, "Enter a whole number.")
        return None
    return int(text)


@router.post("/{name}/messages")
def send(request: Request, session: DB, queue: CurrentQueue, sent: SentFields) -> Response:
    form = Form(sent)
    body = form.require("body", "Write something to send.")
    delay = _number(form, "delay_seconds")
    if form.valid:
        try:
            message = MessageIn(body=body, content_type="text", delay_seconds=delay)
            store.send(flows.door_of(session, queue), [outgoing(message)])
            return _done(request, queue, "The message is in the queue.")
        except (Refused, TooLarge) as problem:
            form.refuse("", problem.message)
    return _show(request, session, queue, Form(_settings(queue)), Form(_consumer(queue)), form)


@router.get("/{name}/purge")
def confirm_purge(request: Request, queue: CurrentQueue) -> Response:
    return render(request, "queues/purge.html", queue=queue, here=_address(queue))


@router.post("/{name}/purge")
def purge(request: Request, session: DB, queue: CurrentQueue) -> Response:
    store.purge(flows.door_of(session, queue))
    return _done(request, queue, "All messages are deleted.")


@router.get("/{name}/delete")
def confirm(request: Request, queue: CurrentQueue) -> Response:
    return render(request, "queues/delete.html", queue=queue, here=_address(queue), form=Form())


@router.post("/{name}/delete")
def destroy(request: Request, session: DB, queue: CurrentQueue) -> Response:
    form, name, here = Form(), queue.name, _address(queue)
    try:
        flows.delete(session, queue.account_id, queue.id)
    except (Conflict, Unavailable) as problem:
        form.refuse("", problem.message)
        return render(
            request,
            "queues/delete.html",
            status_code=problem.status,
            queue=queue,
            here=here,
            form=form,
        )
    response = RedirectResponse("/queues", status_code=303)
    flash.put(request, response, f"{name} is deleted.")
    return response

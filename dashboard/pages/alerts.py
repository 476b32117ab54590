"""Alerts: what fires now, what is watched, who is told, what was."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import structlog
from fastapi import APIRouter, Form as Field, Path, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.alerts import notices, service
from api.alerts.kinds import KINDS
from api.alerts.models import Delivery, DeliveryState, Rule
from api.clock import now
from api.db import DB, transaction
from api.errors import BodyInvalid, NotFound, QueueNotFound
from api.pagination import Page
from api.queues import service as queues
from api.scripts import service as scripts
from dashboard import flash
from dashboard.forms import Form
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

SHOWN = 25
USUAL = {"window_minutes": "5"}
MUTED_FOR = timedelta(hours=1)
DESTINATIONS = {"webhook": "Webhook", "mail": "Mail"}
log = structlog.get_logger()
router = APIRouter()
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Text = Annotated[str, Field()]

# State of a notice → kind of status and words.
_STATES = {
    DeliveryState.QUEUED: ("moving", "Waiting"),
    DeliveryState.SENDING: ("moving", "Being sent"),
    DeliveryState.DELIVERED: ("live", "Delivered"),
    DeliveryState.FAILED: ("failed", "Given up"),
}


@router.get("/alerts")
def index(request: Request, session: DB, member: CurrentMember) -> Response:
    return _page(request, session, member.account_id, Form(USUAL), Form())


@router.post("/alerts/rules")
def add_rule(
    request: Request,
    actor: CurrentActor,
    name: Text = "",
    kind: Text = "",
    threshold: Text = "",
    window_minutes: Text = "5",
    script: Text = "",
    queue: Text = "",
    destination_id: Text = "",
) -> Response:
    form = Form(
        {
            "name": name,
            "kind": kind,
            "threshold": threshold,
            "window_minutes": window_minutes,
            "script": script.strip(),
            "queue": queue.strip(),
            "destination_id": destination_id,
        }
    )
    form.require("name", "Give it a name, such as Shop fails.")
    limit, minutes = _number(form, "threshold"), _number(form, "window_minutes")
    if kind not in KINDS:
        form.refuse("kind", "Choose what to watch.")
    if form.valid and _added(
        form,
        lambda session: service.add_rule(
            session,
            actor.account_id,
            name=name,
            kind=kind,
            threshold=limit,
            window_minutes=round(minutes),
            script=script.strip() or None,
            queue=queue.strip() or None,
            destination_id=destination_id or None,
        ),
    ):
        return _back(request, f"{name} is watched from now on.")
    with transaction() as session:
        return _page(request, session, actor.account_id, form, Form())


@router.post("/alerts/rules/{rule_id}/mute")
def mute(request: Request, actor: CurrentActor, rule_id: Id) -> Response:
    with transaction() as session:
        found = service.mute(session, actor.account_id, rule_id, now() + MUTED_FOR)
        return _back(request, f"{found.name} tells nobody for an hour.")


@router.post("/alerts/rules/{rule_id}/unmute")
def unmute(request: Request, actor: CurrentActor, rule_id: Id) -> Response:
    with transaction() as session:
        found = service.mute(session, actor.account_id, rule_id, None)
        return _back(request, f"{found.name} tells again.")


@router.post("/alerts/rules/{rule_id}/delete")
def remove_rule(request: Request, actor: CurrentActor, rule_id: Id) -> Response:
    with transaction() as session:
        service.remove_rule(session, actor.account_id, rule_id)
    return _back(request, "The rule and its history are deleted.")


@router.post("/alerts/destinations")
def add_destination(
    request: Request,
    actor: CurrentActor,
    destination_name: Text = "",
    destination_kind: Text = "",
    address: Text = "",
) -> Response:
    """A webhook's secret stands in this answer and nowhere else, so it is no redirect."""
    form = Form(
        {
            "destination_name": destination_name,
            "destination_kind": destination_kind,
            "address": address,
        }
    )
    form.require("destination_name", "Give it a name, such as Pager.")
    form.require("address", "Enter the address.")
    if form.valid:
        try:
            with transaction() as session:
                made, secret = service.add_destination(
                    session,
                    actor.account_id,
                    name=destination_name,
                    kind=destination_kind,
                    address=address,
                )
        except BodyInvalid as problem:
            form.refuse("address", problem.message)
        else:
            log.info("alert_destination_added", destination_id=made.id, kind=made.kind)
            if not secret:
                return _back(request, f"{made.name} is told from now on.")
            return render(request, "alerts/created.html", destination=made, secret=secret)
    with transaction() as session:
        return _page(request, session, actor.account_id, Form(USUAL), form)


@router.post("/alerts/destinations/{destination_id}/test")
def test_destination(request: Request, actor: CurrentActor, destination_id: Id) -> Response:
    with transaction() as session:
        found = service.destination(session, actor.account_id, destination_id)
        notices.test(session, found)
        said = f"A test is on its way to {found.name}: see Notices."
    return _back(request, said)


@router.post("/alerts/destinations/{destination_id}/delete")
def remove_destination(request: Request, actor: CurrentActor, destination_id: Id) -> Response:
    with transaction() as session:
        service.remove_destination(session, actor.account_id, destination_id)
    return _back(request, "The destination is deleted.")


def _number(form: Form, name: str) -> float:
    try:
        return float(form.values[name].replace(",", "."))
    except ValueError:
        form.refuse(name, "Enter a number.")
        return 0.0


def _added(form: Form, add: Callable[[Session], object]) -> bool:
    try:
        with transaction() as session:
            add(session)
    except QueueNotFound as problem:
        form.refuse("queue", problem.message)
    except NotFound as problem:
        form.refuse("script", problem.message)
    except BodyInvalid as problem:
        form.refuse("threshold", problem.message.replace("`", ""))
    return form.valid


def _page(
    request: Request, session: Session, account_id: str, form: Form, destination_form: Form
) -> Response:
    shown = Page(per_page=SHOWN)
    found = service.destinations(session, account_id)
    names = _names(session, account_id)
    return render(
        request,
        "alerts/index.html",
        status_code=200 if form.valid and destination_form.valid else 422,
        form=form,
        destination_form=destination_form,
        firing=service.firing(session, account_id),
        rules=[
            (rule, _sentence(rule), names.get(rule.script_id or rule.queue_id or ""), _muted(rule))
            for rule in service.rules(session, account_id)
        ],
        destinations=found,
        kinds={name: f"{kind.meaning} … {kind.unit}" for name, kind in KINDS.items()},
        destination_kinds=DESTINATIONS,
        told={"": "Every destination", **{one.id: one.name for one in found}},
        history=service.page_of_alerts(session, account_id, shown).rows,
        notices=[
            (one, *_state(one))
            for one in service.page_of_deliveries(session, account_id, shown).rows
        ],
    )


def _sentence(rule: Rule) -> str:
    kind = KINDS[rule.kind]
    window = f", within {rule.window_minutes:,} min" if kind.of_scripts else ""
    return f"{kind.meaning} {rule.threshold:g} {kind.unit}{window}"


def _muted(rule: Rule) -> bool:
    return rule.muted_until is not None and rule.muted_until > now()


def _state(one: Delivery) -> tuple[str, str]:
    return _STATES[DeliveryState(one.state)]


def _names(session: Session, account_id: str) -> dict[str, str]:
    """Of the scripts and queues that rules are about, by id."""
    names = {}
    for column, query in (
        (Rule.script_id, scripts.owned_by(account_id)),
        (Rule.queue_id, queues.owned_by(account_id)),
    ):
        owned = query.subquery()
        watched = select(column).where(Rule.account_id == account_id)
        rows = session.execute(select(owned.c.id, owned.c.name).where(owned.c.id.in_(watched)))
        names.update({row.id: row.name for row in rows})
    return names


def _back(request: Request, said: str) -> Response:
    response = RedirectResponse("/alerts", status_code=303)
    flash.put(request, response, said)
    return response

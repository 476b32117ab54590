from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from api.accounts.endpoints import paged
from api.alerts import notices, service
from api.alerts.models import Alert, Delivery, Destination, Rule
from api.clock import iso
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.pagination import RequestedPage, page_of_list
from api.security import CurrentAccount

router = APIRouter(prefix="/accounts/{account_id}/skerry/alerts", tags=["alerts"])
KindName = Literal[
    "error_rate",
    "p95",
    "node_silent",
    "rollout_stuck",
    "certificate",
    "disk",
    "queue_backlog",
    "queue_age",
]


class RuleIn(BaseModel):
    """What to watch. `script` and `queue` are names; without one each script or queue is watched by itself."""

    name: str
    kind: KindName
    threshold: float = Field(allow_inf_nan=False)
    window_minutes: int = 5
    script: str | None = None
    queue: str | None = None
    destination_id: str | None = None


class RuleOut(BaseModel):
    id: str
    name: str
    kind: str
    threshold: float
    window_minutes: int
    script_id: str | None
    queue_id: str | None
    destination_id: str | None
    muted_until: str | None


class MuteIn(BaseModel):
    """Tell nobody until then; null: tell again."""

    until: AwareDatetime | None


class DestinationIn(BaseModel):
    name: str
    kind: Literal["webhook", "mail"]
    address: str


class DestinationOut(BaseModel):
    id: str
    name: str
    kind: str
    address: str


class NewDestination(DestinationOut):
    """With the secret that signs what is sent to a webhook; it is shown this once."""

    secret: str


class AlertOut(BaseModel):
    id: str
    rule_id: str
    rule: str
    subject: str
    value: float
    summary: str
    state: str
    told: bool
    fired_on: str
    resolved_on: str | None


class DeliveryOut(BaseModel):
    id: str
    destination_id: str
    alert_id: str | None
    event: str
    state: str
    attempts: int
    reason: str
    created_on: str
    finished_on: str | None


@router.get("", response_model=PagedEnvelope[list[AlertOut]])
def list_alerts(session: DB, account: CurrentAccount, page: RequestedPage) -> dict[str, Any]:
    """What fired, newest first."""
    listing = service.page_of_alerts(session, account, page)
    return paged(listing, [_alert(one) for one in listing.rows])


@router.get("/deliveries", response_model=PagedEnvelope[list[DeliveryOut]])
def list_deliveries(session: DB, account: CurrentAccount, page: RequestedPage) -> dict[str, Any]:
    """Who was told, and how that went, newest first."""
    listing = service.page_of_deliveries(session, account, page)
    return paged(listing, [_delivery(one) for one in listing.rows])


@router.get("/rules", response_model=PagedEnvelope[list[RuleOut]])
def list_rules(session: DB, account: CurrentAccount, page: RequestedPage) -> dict[str, Any]:
    listing = page_of_list(service.rules(session, account), page)
    return paged(listing, [_rule(one) for one in listing.rows])


@router.post("/rules", response_model=Envelope[RuleOut])
def add_rule(session: DB, account: CurrentAccount, body: RuleIn) -> dict[str, Any]:
    return answer(_rule(service.add_rule(session, account, **body.model_dump())))


@router.delete("/rules/{rule_id}", response_model=Envelope[None])
def remove_rule(session: DB, account: CurrentAccount, rule_id: str) -> dict[str, Any]:
    """With what it ever said."""
    service.remove_rule(session, account, rule_id)
    return answer(None)


@router.put("/rules/{rule_id}/mute", response_model=Envelope[RuleOut])
def mute(session: DB, account: CurrentAccount, rule_id: str, body: MuteIn) -> dict[str, Any]:
    """Tell nobody for a while. What still fires afterwards is told then."""
    return answer(_rule(service.mute(session, account, rule_id, body.until)))


@router.get("/destinations", response_model=PagedEnvelope[list[DestinationOut]])
def list_destinations(session: DB, account: CurrentAccount, page: RequestedPage) -> dict[str, Any]:
    listing = page_of_list(service.destinations(session, account), page)
    return paged(listing, [_destination(one) for one in listing.rows])


@router.post("/destinations", response_model=Envelope[NewDestination])
def add_destination(session: DB, account: CurrentAccount, body: DestinationIn) -> dict[str, Any]:
    made, secret = service.add_destination(session, account, **body.model_dump())
    return answer({**_destination(made), "secret": secret})


@router.delete("/destinations/{destination_id}", response_model=Envelope[None])
def remove_destination(session: DB, account: CurrentAccount, destination_id: str) -> dict[str, Any]:
    service.remove_destination(session, account, destination_id)
    return answer(None)


@router.post("/destinations/{destination_id}/tests", response_model=Envelope[DeliveryOut])
def test_destination(session: DB, account: CurrentAccount, destination_id: str) -> dict[str, Any]:
    """Send a notice that says it is a test; the list of deliveries says how it went."""
    found = service.destination(session, account, destination_id)
    return answer(_delivery(notices.test(session, found)))


def _rule(one: Rule) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "kind": one.kind,
        "threshold": one.threshold,
        "window_minutes": one.window_minutes,
        "script_id": one.script_id,
        "queue_id": one.queue_id,
        "destination_id": one.destination_id,
        "muted_until": _moment(one.muted_until),
    }


def _destination(one: Destination) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "kind": one.kind, "address": one.address}


def _alert(one: Alert) -> dict[str, Any]:
    return {
        "id": one.id,
        "rule_id": one.rule_id,
        "rule": one.rule.name,
        "subject": one.subject_name,
        "value": one.value,
        "summary": one.summary,
        "state": "resolved" if one.resolved_at else "firing",
        "told": one.told,
        "fired_on": iso(one.fired_at),
        "resolved_on": _moment(one.resolved_at),
    }


def _delivery(one: Delivery) -> dict[str, Any]:
    return {
        "id": one.id,
        "destination_id": one.destination_id,
        "alert_id": one.alert_id,
        "event": one.event,
        "state": one.state,
        "attempts": one.attempts,
        "reason": one.reason,
        "created_on": iso(one.created_at),
        "finished_on": _moment(one.finished_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return iso(moment) if moment else None

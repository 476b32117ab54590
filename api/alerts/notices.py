"""What is told to destinations: written down first, sent after the commit, tried again until it is
taken or given up."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from api import sealing
from api.alerts import service
from api.alerts.kinds import KINDS
from api.alerts.models import Alert, Delivery, DeliveryState, Destination, Rule
from api.clock import iso, now
from api.queue import enqueue

# 10 s, 30 s, 90 s … after a failed one; the last is some twenty minutes after the first.
FIRST_RETRY, RETRY_GROWTH, ATTEMPTS_MAX = timedelta(seconds=10), 3, 6
# Longer than a destination may take: a sender that died meanwhile is not waited for.
SENDING_MAX = timedelta(seconds=60)
NUDGE_AT_MOST = 200
KEPT_FOR = timedelta(days=90)
REASON_LENGTH_MAX = 500


@dataclass(frozen=True)
class Notice:
    """Everything that sending needs."""

    delivery_id: str
    kind: str
    address: str
    secret: str
    payload: dict[str, Any]


def tell(session: Session, rule: Rule, alert: Alert, event: str) -> None:
    """Write a notice to each destination of the rule."""
    for one in service.destinations(session, rule.account_id):
        if rule.destination_id in (None, one.id):
            _write(session, one, event, _payload(rule, alert, event), alert.id)


def test(session: Session, destination: Destination) -> Delivery:
    """A notice that says it is a test."""
    payload = {
        "event": "test",
        "text": f"This is a test of the destination {destination.name}. Nothing is wrong.",
        "account_id": destination.account_id,
    }
    return _write(session, destination, "test", payload, None)


def _payload(rule: Rule, alert: Alert, event: str) -> dict[str, Any]:
    word = "Firing" if event == "firing" else "Resolved"
    return {
        "event": event,
        "text": f"{word}: {rule.name}. {alert.summary}",
        "account_id": rule.account_id,
        "rule": {
            "id": rule.id,
            "name": rule.name,
            "kind": rule.kind,
            "threshold": rule.threshold,
            "unit": KINDS[rule.kind].unit,
        },
        "alert": {
            "id": alert.id,
            "subject": alert.subject_name,
            "value": alert.value,
            "fired_on": iso(alert.fired_at),
            "resolved_on": iso(alert.resolved_at) if alert.resolved_at else None,
        },
    }


def _write(
    session: Session,
    destination: Destination,
    event: str,
    payload: dict[str, Any],
    alert_id: str | None,
) -> Delivery:
    made = Delivery(
        account_id=destination.account_id,
        destination_id=destination.id,
        alert_id=alert_id,
        event=event,
        payload=payload,
    )
    session.add(made)
    session.flush()
    enqueue(session, "alerts.deliver", delivery_id=made.id)
    return made


def claim(session: Session, delivery_id: str) -> Notice | None:
    """Take a notice for sending; None when somebody else has, or when it is not its time."""
    moment = now()
    claimed = session.scalar(
        update(Delivery)
        .where(
            Delivery.id == delivery_id,
            Delivery.state.in_((DeliveryState.QUEUED, DeliveryState.SENDING)),
            Delivery.due_at <= moment,
        )
        .values(
            state=DeliveryState.SENDING,
            attempts=Delivery.attempts + 1,
            due_at=moment + SENDING_MAX,
        )
        .returning(Delivery.id)
    )
    if claimed is None:
        return None
    found = session.get_one(Delivery, delivery_id).destination
    payload = session.get_one(Delivery, delivery_id).payload
    secret = sealing.unseal(found.sealed_secret) if found.sealed_secret else ""
    return Notice(delivery_id, found.kind, found.address, secret, payload)


def delivered(session: Session, delivery_id: str) -> None:
    _finish(session, delivery_id, DeliveryState.DELIVERED, "")


def failed(session: Session, delivery_id: str, reason: str) -> None:
    """Try again later, or give up after the last time."""
    found = session.get(Delivery, delivery_id, with_for_update={"of": Delivery})
    if found is None or found.state != DeliveryState.SENDING:
        return
    found.reason = reason[:REASON_LENGTH_MAX]
    if found.attempts >= ATTEMPTS_MAX:
        _finish(session, delivery_id, DeliveryState.FAILED, found.reason)
        return
    found.state = DeliveryState.QUEUED
    found.due_at = now() + FIRST_RETRY * RETRY_GROWTH ** (found.attempts - 1)


def _finish(session: Session, delivery_id: str, state: DeliveryState, reason: str) -> None:
    session.execute(
        update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.state == DeliveryState.SENDING)
        .values(state=state, reason=reason, finished_at=now())
    )


def due(session: Session) -> list[str]:
    """Ids of notices whose time has come: tried before, or never sent for want of a broker."""
    query = (
        select(Delivery.id)
        .where(
            or_(Delivery.state == DeliveryState.QUEUED, Delivery.state == DeliveryState.SENDING),
            Delivery.due_at <= now(),
        )
        .order_by(Delivery.due_at)
    )
    return list(session.scalars(query.limit(NUDGE_AT_MOST)))


def prune(session: Session) -> None:
    """History has an end."""
    before = now() - KEPT_FOR
    session.execute(delete(Delivery).where(Delivery.created_at < before))
    session.execute(delete(Alert).where(Alert.resolved_at < before))

"""Alerts: compare the rules with the present, and tell whoever is to be told."""

import structlog

from api.alerts import backlogs, notices, watching
from api.db import transaction
from api.queue import send
from worker.app import app
from worker.notifying import NotToldError, notify

log = structlog.get_logger()


@app.task(name="alerts.evaluate")
def evaluate() -> None:
    """Fire and resolve, and nudge notices whose time has come."""
    with transaction() as session:
        doors = backlogs.watched(session)
    if doors:
        found = backlogs.ask(doors)
        with transaction() as session:
            backlogs.write(session, found)
    with transaction() as session:
        changes = watching.evaluate(session)
    with transaction() as session:
        notices.prune(session)
        due = notices.due(session)
    for delivery_id in due:
        send("alerts.deliver", delivery_id=delivery_id)
    if changes:
        log.info("alerts_changed", count=changes)


@app.task(name="alerts.deliver")
def deliver(delivery_id: str) -> None:
    """Send one notice. One that was sent by a worker that died before it could say so is sent again:
    its id, which the receiver gets, stays the same."""
    with transaction() as session:
        notice = notices.claim(session, delivery_id)
    if notice is None:
        return
    try:
        notify(notice)
    except NotToldError as error:
        log.warning("notice_not_delivered", delivery_id=delivery_id, reason=str(error))
        with transaction() as session:
            notices.failed(session, delivery_id, str(error))
        return
    with transaction() as session:
        notices.delivered(session, delivery_id)
    log.info("notice_delivered", delivery_id=delivery_id, kind=notice.kind)

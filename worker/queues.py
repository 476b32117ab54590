"""Telling a queue's store how it behaves and who consumes it."""

import structlog

from api.db import transaction
from api.errors import Unavailable
from api.queues import service as queues, store
from worker.app import app

log = structlog.get_logger()


@app.task(name="queues.configure")
def configure(queue_id: str) -> None:
    """What fails is taken up by the sweep. May run twice, and in any order: the store keeps the newest."""
    try:
        with transaction() as session:
            found = queues.configuration(session, queue_id)
        if found is None:
            return
        door, content = found
        store.configure(door, content)
    except Unavailable as error:
        log.info("queue_not_configured", queue_id=queue_id, reason=str(error))
        return
    with transaction() as session:
        queues.configured(session, queue_id, content["revision"])
    log.info("queue_configured", queue_id=queue_id)

"""Keeping what happened for as long as the settings say."""

import structlog

from api.analytics import points
from api.db import transaction
from api.invocations import partitions
from worker.app import app

log = structlog.get_logger()


@app.task(name="invocations.expire")
def expire() -> None:
    """Make the partitions of the next days and drop those that are too old. May run twice."""
    with transaction() as session:
        gone = partitions.expire(session)
        points.expire(session)
    if gone:
        log.info("invocations_expired", partitions=gone)

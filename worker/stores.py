"""Destroying the data of what was deleted."""

import asyncio

import structlog

from api.db import transaction
from api.errors import Unavailable
from api.nodes import stores
from worker.app import app

log = structlog.get_logger()


@app.task(name="data.destroy")
def destroy(discarded_id: str) -> None:
    """Have the node destroy it; what fails is taken up by the sweep. May run twice."""
    try:
        with transaction() as session:
            discarded = stores.door_of_discarded(session, discarded_id)
        if discarded is None:
            return
        done = asyncio.run(stores.destroy(discarded))
    except Unavailable as error:
        log.info("data_not_destroyed", discarded_id=discarded_id, reason=str(error))
        return
    if done:
        with transaction() as session:
            stores.destroyed(session, discarded_id)
    log.info("data_destroyed" if done else "data_not_destroyed", discarded_id=discarded_id)

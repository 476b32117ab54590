"""Cron triggers: what is due becomes a run, and each run is brought to one node."""

import structlog

from api.crons import service as crons
from api.db import transaction
from worker.app import app
from worker.targets import TargetUnreachable, edge_node

log = structlog.get_logger()


@app.task(name="crons.fire")
def fire() -> None:
    """Make a run of every trigger that is due."""
    with transaction() as session:
        count = crons.fire(session)
    if count:
        log.info("crons_fired", count=count)


@app.task(name="crons.run")
def run(run_id: str) -> None:
    """Hand one run to a node. A node that did not take it has not run it; one that may have is the
    last that is asked."""
    with transaction() as session:
        delivery = crons.claim(session, run_id)
    if delivery is None:
        return
    reason = "No node can be reached."
    for node in delivery.nodes:
        try:
            edge_node.schedule(node, delivery)
        except TargetUnreachable as error:
            reason = f"{node.name}: {error}"
            continue
        with transaction() as session:
            crons.taken(session, run_id, node.name)
        log.info("cron_run_taken", run_id=run_id, node=node.name)
        return
    with transaction() as session:
        crons.put_back(session, run_id, reason)
    log.warning("cron_run_put_back", run_id=run_id, reason=reason)

"""Taking up what waits: the row is the work, a lost message only a delay."""

import structlog

from api import health
from api.assets import service as assets
from api.crons import service as crons
from api.db import transaction
from api.deployments import rollouts
from api.nodes import stores
from api.queue import send
from api.queues import service as queues
from api.telemetry import service as telemetry
from api.versions import service as versions
from api.zones import service as zones
from worker.app import app

log = structlog.get_logger()


@app.task(name="rollouts.sweep")
def sweep() -> None:
    """Nudge every rollout that is due: queued and never sent, put back, or sent by a lost push; and
    whatever still has to be destroyed, told to the store of a queue or to a collector, or proven."""
    with transaction() as session:
        waiting = rollouts.waiting_too_long(session)
        crons.sweep(session)
        discarded = stores.discarded(session)
        unconfigured = queues.unconfigured(session)
        telemetry_due = telemetry.due(session)
        unproven = zones.due(session)
    for rollout_id in waiting:
        send("rollouts.push", rollout_id=rollout_id)
    for discarded_id in discarded:
        send("data.destroy", discarded_id=discarded_id)
    for queue_id in unconfigured:
        send("queues.configure", queue_id=queue_id)
    for batch_id in telemetry_due:
        send("telemetry.send", batch_id=batch_id)
    for zone_id in unproven:
        send("zones.verify", zone_id=zone_id)
    if waiting:
        log.info("rollouts_nudged", count=len(waiting))
    health.note_sweep()


@app.task(name="modules.prune")
def prune() -> None:
    """Delete modules that no version refers to any more."""
    with transaction() as session:
        assets.prune_sessions(session)
        crons.prune(session)
        pruned = versions.prune_modules(session)
    if pruned:
        log.info("modules_pruned", count=pruned)

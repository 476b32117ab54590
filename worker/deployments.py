"""Pushing deployments to their targets."""

import structlog

from api.db import transaction
from api.deployments import rollouts
from api.nodes import service as nodes
from worker.app import app
from worker.targets import TargetUnreachable, aws_lambda, edge_node

log = structlog.get_logger()


@app.task(name="rollouts.push")
def push(rollout_id: str) -> None:
    """Bring one target to one deployment. May run twice; only one run sends at a time."""
    with transaction() as session:
        claimed = rollouts.claim(session, rollout_id)
    if claimed is None:
        return
    try:
        generation, reports = _put(claimed)
    except TargetUnreachable as error:
        with transaction() as session:
            rollouts.put_back(session, rollout_id, str(error))
        log.info("rollout_put_back", rollout_id=rollout_id, reason=repr(error.__cause__ or error))
        return
    rollouts.record(claimed.target_id, reports)
    if isinstance(claimed, rollouts.Push):
        with transaction() as session:
            nodes.heard(session, claimed.target_id, generation)
    log.info("rollout_pushed", rollout_id=rollout_id, states=[report.state for report in reports])


def _put(claimed: rollouts.Push | rollouts.LambdaPush) -> tuple[int, list[rollouts.SlotReport]]:
    if isinstance(claimed, rollouts.LambdaPush):
        return aws_lambda.put(claimed)
    return edge_node.put(claimed)

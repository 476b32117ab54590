"""Which Lambda targets a script answers from besides the nodes: chosen, left, and pushed to once more.

Each opens its own short transactions, as the flows do.
"""

import contextlib

import structlog

from api.accounts.actor import Actor
from api.db import transaction
from api.deployments import rollouts as rollout_service, service as deployments
from api.deployments.models import Rollout
from api.errors import ScriptNotFound
from api.scripts import service as scripts
from api.targets import credentials, parity, service as targets

log = structlog.get_logger()


def choose_target(account_id: str, name: str, target_id: str, *, by: Actor) -> Rollout | None:
    """Let a script answer from a Lambda target as well, now and with each deployment from now on.

    Raises NotSupported when what is deployed cannot run there.
    """
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        target = targets.get(session, account_id, target_id)
        deployment = deployments.current(session, script)
        for version, _ in deployment.shares if deployment else ():
            parity.check(version)
        targets.choose(session, script, target)
        log.info("target_chosen", script_id=script.id, target_id=target_id, author_id=by.id)
        if deployment is None:
            return None
        return rollout_service.roll_out_to_lambda(session, target, script, deployment)


def leave_target(account_id: str, name: str, target_id: str) -> Rollout:
    """Take a script off a Lambda target: what Skerry made there is deleted."""
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        target = targets.get(session, account_id, target_id)
        targets.leave(session, script, target)
        deployments.tell_nodes(session, script)  # no front may lead there any more
        return rollout_service.roll_out_to_lambda(session, target, script, None)


def tell_nodes(account_id: str, name: str) -> None:
    """Let every node hear of a script's function that is somewhere else now."""
    with contextlib.suppress(ScriptNotFound), transaction() as session:
        deployments.tell_nodes(session, scripts.lock(session, account_id, name))


def renew_credentials() -> int:
    """Push once more what opens its bindings with an old credential; gives how many functions that were."""
    with transaction() as session:
        due = credentials.due(session)
    for account_id, name, target_id in due:
        with contextlib.suppress(ScriptNotFound), transaction() as session:
            script = scripts.lock(session, account_id, name)
            deployment = deployments.current(session, script)
            chosen = {target.id: target for target in targets.chosen(session, script)}
            if deployment and target_id in chosen:
                rollout_service.roll_out_to_lambda(session, chosen[target_id], script, deployment)
    return len(due)

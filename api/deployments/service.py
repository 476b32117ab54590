"""Decide: which versions of a script answer."""

import time
from collections.abc import Callable, Mapping

from sqlalchemy import Select, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from api.accounts.actor import Actor
from api.clock import now
from api.db import transaction
from api.deployments import rollouts as rollout_service
from api.deployments.models import Deployment, DeploymentShare, DeploymentState, Rollout
from api.errors import DeploymentNotFound, Unavailable
from api.pagination import Listing, Page, paginate
from api.scripts.models import Script
from api.settings import settings
from api.versions.models import Version

# Short enough that a deploy feels immediate, long enough to cost Postgres nothing.
POLL_SECONDS = 0.02


def of_script(script: Script) -> Select[Deployment]:
    """The one door to deployments, newest first."""
    return (
        select(Deployment)
        .where(Deployment.script_id == script.id)
        .order_by(Deployment.number.desc())
    )


def current(session: Session, script: Script) -> Deployment | None:
    """The deployment that the targets should serve."""
    return session.scalar(of_script(script).limit(1))


def page_of_deployments(session: Session, script: Script, page: Page) -> Listing[Deployment]:
    return paginate(session, of_script(script), page)


def get(session: Session, script: Script, deployment_id: str) -> Deployment:
    found = session.scalar(of_script(script).where(Deployment.id == deployment_id))
    if found is None:
        raise DeploymentNotFound(f"{script.name} has no deployment {deployment_id}.")
    return found


def deploy(
    session: Session,
    script: Script,
    shares: Mapping[Version, int],
    *,
    message: str = "",
    triggered_by: str = "promotion",
    by: Actor,
) -> Deployment:
    """Decide that these versions of the locked script answer, and start rolling that out."""
    session.execute(
        update(Deployment)
        .where(Deployment.script_id == script.id, Deployment.state != DeploymentState.SUPERSEDED)
        .values(state=DeploymentState.SUPERSEDED)
    )
    script.deployment_number += 1
    script.modified_at = now()
    deployment = Deployment(
        script=script,
        number=script.deployment_number,
        message=message,
        triggered_by=triggered_by,
        source=by.source,
        author_id=by.id,
        author_email=by.email,
        parts=[
            DeploymentShare(version=version, percentage=percentage)
            for version, percentage in shares.items()
        ],
    )
    session.add(deployment)
    session.flush()
    rollout_service.roll_out(session, script, deployment)
    return deployment


def tell_nodes(session: Session, script: Script) -> None:
    """Send the nodes what is deployed once more: what it leads to has changed."""
    if (deployment := current(session, script)) is not None:
        rollout_service.roll_out_to_nodes(session, script, deployment)


def rollouts(session: Session, deployment: Deployment) -> list[Rollout]:
    """The newest rollout of the deployment on each target."""
    return rollout_service.of_deployment(session, deployment.id)


def await_rollouts(deployment_id: str, timeout_s: float | None = None) -> list[Rollout]:
    """Wait, outside any transaction, until no rollout of the deployment is on its way.

    Gives the rollouts as they are after at most `timeout_s` seconds (default: the setting
    `deploy_wait_seconds`); what still waits goes on without us.
    """
    return _await(lambda session: rollout_service.of_deployment(session, deployment_id), timeout_s)


def await_withdrawal(script_id: str, timeout_s: float | None = None) -> list[Rollout]:
    """The same for the withdrawal of a deleted script."""
    return _await(lambda session: rollout_service.of_withdrawal(session, script_id), timeout_s)


def _await(read: Callable[[Session], list[Rollout]], timeout_s: float | None) -> list[Rollout]:
    """Raises Unavailable when the database is away at the end: what was decided is stored by then,
    and saying that nothing was changed would be wrong."""
    wait = settings().deploy_wait_seconds if timeout_s is None else timeout_s
    deadline = time.monotonic() + wait
    while True:
        try:
            with transaction() as session:
                found = read(session)
                waiting = any(rollout_service.on_its_way(rollout) for rollout in found)
        except (OperationalError, Unavailable) as error:
            if time.monotonic() >= deadline:
                raise Unavailable(
                    "The change is stored, but the database went away before the nodes had "
                    "answered. They get it as soon as the database is back."
                ) from error
        else:
            if not waiting or time.monotonic() >= deadline:
                return found
        time.sleep(POLL_SECONDS)

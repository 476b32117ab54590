from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from api.db import DB
from api.deployments import flows, service
from api.deployments.schemas import DeploymentIn, DeploymentList, DeploymentOut, deployment_out
from api.envelope import Envelope, answer
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.security import CurrentAccount, CurrentActor

router = APIRouter(
    prefix="/accounts/{account_id}/workers/scripts/{name}/deployments", tags=["deployments"]
)
# wrangler shows ten; the dashboard pages through all of them by itself.
LISTED = 10


@router.get("", response_model=Envelope[DeploymentList])
def list_deployments(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """The ten newest deployments, newest first."""
    script = scripts.get(session, account, name)
    rows = session.scalars(service.of_script(script).limit(LISTED))
    return answer({"deployments": [deployment_out(deployment) for deployment in rows]})


@router.get("/{deployment_id}", response_model=Envelope[DeploymentOut])
def get_deployment(
    session: DB,
    account: CurrentAccount,
    name: ScriptName,
    deployment_id: Annotated[str, Path(description="A deployment's id: a UUID.")],
) -> dict[str, Any]:
    """One deployment, with its progress on every target."""
    script = scripts.get(session, account, name)
    deployment = service.get(session, script, deployment_id)
    return answer(deployment_out(deployment, service.rollouts(session, deployment)))


@router.post("", response_model=Envelope[DeploymentOut])
def create_deployment(
    actor: CurrentActor,
    name: ScriptName,
    body: DeploymentIn,
    force: Annotated[bool, Query(description="wrangler sends it on a rollback.")] = False,
) -> dict[str, Any]:
    """Send all traffic to one version, or divide it between two: a promotion, or a rollback to an older
    version. Percentages are whole and add up to 100; a version with 0 is asked by who names it."""
    del force
    deployment = flows.deploy_version(
        actor.account_id,
        name,
        [(share.version_id, share.percentage) for share in body.versions],
        message=(body.annotations.get("workers/message") or "")[:1000],
        triggered_by=(body.annotations.get("workers/triggered_by") or "promotion")[:100],
        by=actor,
    )
    rollouts = flows.settled(deployment)
    return answer(deployment_out(deployment, rollouts), flows.describe(rollouts))

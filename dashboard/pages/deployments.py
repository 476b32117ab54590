"""Deployments of a Worker: the history, a new one of any version, how far it has come."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form as Field, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.accounts.models import Member
from api.db import DB, transaction
from api.deployments import flows, service as deployments
from api.deployments.models import Deployment, DeploymentState
from api.pagination import LAST_PAGE, Page
from api.scripts import service as scripts
from api.scripts.urls import script_url
from api.versions import service as versions
from dashboard import flash, progress as progress_of_nodes
from dashboard.addresses import Id, ScriptName, worker_path
from dashboard.pages.versions import SOURCES, author
from dashboard.paging import Paging
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render
from gallery import templates

PER_PAGE = 25
router = APIRouter()

# Deployment state → kind of status and word.
_STATES = {
    DeploymentState.PENDING: ("moving", "Deploying"),
    DeploymentState.LIVE: ("live", "Live"),
    DeploymentState.SUPERSEDED: ("idle", "Replaced"),
    DeploymentState.FAILED: ("failed", "Failed"),
}
_CAUSES = {"rollback": "Roll back", "secret": "Secrets changed", "settings": "Settings changed"}


@dataclass(frozen=True)
class DeploymentRow:
    """A deployment as a line of a table."""

    deployment: Deployment
    kind: str
    word: str
    author: str
    source: str
    message: str


def _row(deployment: Deployment, member: Member) -> DeploymentRow:
    kind, word = _STATES[DeploymentState(deployment.state)]
    return DeploymentRow(
        deployment=deployment,
        kind=kind,
        word=word,
        author=author(deployment, member),
        source=SOURCES.get(deployment.source, deployment.source),
        message=deployment.message or _CAUSES.get(deployment.triggered_by, ""),
    )


@router.get("/workers/{name}/deployments")
def index(
    request: Request,
    session: DB,
    member: CurrentMember,
    name: ScriptName,
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    script = scripts.get(session, member.account, name)
    wanted = Page(page=page, per_page=PER_PAGE)
    listing = deployments.page_of_deployments(session, script, wanted)
    return render(
        request,
        "deployments/index.html",
        script=script,
        url=script_url(script),
        rows=[_row(deployment, member) for deployment in listing.rows],
        paging=Paging(worker_path(name, "deployments"), page, PER_PAGE, listing.total),
    )


@router.post("/workers/{name}/deployments")
def create(
    request: Request, actor: CurrentActor, name: ScriptName, version_id: Annotated[Id, Field()]
) -> Response:
    """Deploy a version that is there: a roll back, or forward again."""
    with transaction() as session:
        script = scripts.get(session, actor.account_id, name)
        wanted = versions.get(session, script, str(version_id))
        live = deployments.current(session, script)
        back = live is not None and wanted.number < live.main.number
    if back:
        flows.roll_back(actor.account_id, name, wanted.id, by=actor)
    else:
        flows.deploy_version(actor.account_id, name, [(wanted.id, 100)], by=actor)
    response = RedirectResponse(worker_path(name), status_code=303)
    verb = "Rolling back to" if back else "Deploying"
    flash.put(request, response, f"{verb} version {wanted.number}.")
    return response


@router.get("/workers/{name}/deployments/{deployment_id}/progress")
def progress(
    request: Request,
    session: DB,
    member: CurrentMember,
    name: ScriptName,
    deployment_id: Id,
    created: str = "",
) -> Response:
    """The nodes' lines, asked for again and again until they are final.

    `created` names the template on the page of a new Worker, which is another page once it failed.
    """
    if "HX-Request" not in request.headers:
        return RedirectResponse(worker_path(name), status_code=303)
    script = scripts.get(session, member.account, name)
    deployment = deployments.get(session, script, str(deployment_id))
    found = progress_of_nodes.of(deployment, deployments.rollouts(session, deployment))
    if created and found.settled and found.kind == "failed":
        return Response(headers={"HX-Refresh": "true"})
    announced = f"{script.name}: {found.summary}" if found.settled else None
    return render(
        request,
        "deployments/_progress.html",
        script=script,
        progress=found,
        announced=announced,
        template=templates.find(created),
    )

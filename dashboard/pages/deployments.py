"""Deployments of a Worker: what is live, the history, a new one of one or two versions, how far it has come."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form as Field, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.accounts.actor import Actor
from api.accounts.models import Member
from api.db import DB, transaction
from api.deployments import flows, service as deployments, shares
from api.deployments.models import Deployment, DeploymentState
from api.errors import Refused, VersionNotFound
from api.pagination import LAST_PAGE, Page
from api.scripts import service as scripts
from api.scripts.models import Script
from api.scripts.urls import script_url
from api.versions import service as versions
from api.versions.models import Version
from dashboard import flash, progress as progress_of_nodes
from dashboard.addresses import Id, ScriptName, with_query, worker_path
from dashboard.forms import Form, SentFields
from dashboard.pages.versions import ROLL_BACK, SOURCES, author, verb_of
from dashboard.paging import Paging
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render
from gallery import templates

PER_PAGE = 25
# Where a gradual deployment begins, and its usual steps.
FIRST_STEP, STEPS = 10, (1, 10, 25, 50, 75, 100)
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


@dataclass(frozen=True)
class LiveShare:
    """A version that gets requests now, and what can be done about that."""

    version: Version
    percentage: int
    action: str | None
    """What the button says that sends all requests to it; None when it has them."""
    metrics: str
    """Its figures alone."""


def _live_shares(script: Script, live: Deployment | None) -> list[LiveShare]:
    if live is None:
        return []
    metrics = worker_path(script.name, "metrics")
    return [
        LiveShare(
            version=version,
            percentage=percentage,
            action=None if percentage == 100 else _action(version, live),
            metrics=with_query(metrics, {"version": version.id[:8]}),
        )
        for version, percentage in live.shares
    ]


def _action(version: Version, live: Deployment) -> str:
    verb = verb_of(version, live)
    return f"{verb} version {version.number}" + ("" if verb == ROLL_BACK else " at 100 %")


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
    live = deployments.current(session, script)
    rollouts = deployments.rollouts(session, live) if live else []
    return render(
        request,
        "deployments/index.html",
        script=script,
        url=script_url(script),
        live=_live_shares(script, live),
        progress=progress_of_nodes.of(live, rollouts) if live else None,
        rows=[_row(deployment, member) for deployment in listing.rows],
        paging=Paging(worker_path(name, "deployments"), page, PER_PAGE, listing.total),
    )


@router.get("/workers/{name}/deployments/new")
def new(
    request: Request,
    session: DB,
    member: CurrentMember,
    name: ScriptName,
    version_id: Annotated[Id, Query()],
    percentage: Annotated[int | None, Query(ge=0, le=100)] = None,
) -> Response:
    """How many of the requests a version is to get."""
    script = scripts.get(session, member.account, name)
    wanted = versions.get(session, script, str(version_id))
    live = deployments.current(session, script)
    present = dict(live.shares).get(wanted, FIRST_STEP) if live else 100
    share = present if percentage is None else percentage
    return _form_page(request, session, script, wanted, Form({"percentage": str(share)}))


def _form_page(
    request: Request, session: Session, script: Script, wanted: Version, form: Form
) -> Response:
    live = deployments.current(session, script)
    others = [version for version, _ in live.shares if version != wanted] if live else []
    path = worker_path(script.name, "deployments", "new")
    steps = {step: {"version_id": wanted.id, "percentage": str(step)} for step in STEPS}
    context: dict[str, Any] = {
        "script": script,
        "version": wanted,
        "others": {other.id: f"Version {other.number}" for other in others},
        "live": _live_shares(script, live),
        "whole": shares.why_whole(session, script, [wanted, *others]),
        "steps": {step: with_query(path, query) for step, query in steps.items()},
        "form": form,
    }
    return render(
        request, "deployments/new.html", status_code=200 if form.valid else 422, **context
    )


@router.post("/workers/{name}/deployments")
def create(
    request: Request,
    actor: CurrentActor,
    name: ScriptName,
    version_id: Annotated[Id, Field()],
    sent: SentFields,
) -> Response:
    """Deploy a version that is there: a roll back, or forward again. With a `percentage` of less than 100 the
    version `rest_id` gets the other requests."""
    # Read here: to FastAPI an empty field is one that was not sent, and that means all of them.
    share_text = sent.get("percentage", "100").strip()
    form = Form({"percentage": share_text, "rest_id": sent.get("rest_id", "")})
    share = _share_of(form)
    with transaction() as session:
        script = scripts.get(session, actor.account_id, name)
        wanted = versions.get(session, script, str(version_id))
        if share < 100 and form.valid:
            _check_rest(session, script, wanted, form)
        if not form.valid:
            return _form_page(request, session, script, wanted, form)
        live = deployments.current(session, script)
        back = share == 100 and verb_of(wanted, live) == ROLL_BACK
    if share < 100:
        return _split(request, actor, script, wanted, form)
    if back:
        flows.roll_back(actor.account_id, name, wanted.id, by=actor)
    else:
        flows.deploy_version(actor.account_id, name, [(wanted.id, 100)], by=actor)
    response = RedirectResponse(worker_path(name), status_code=303)
    verb = "Rolling back to" if back else "Deploying"
    flash.put(request, response, f"{verb} version {wanted.number}.")
    return response


def _share_of(form: Form) -> int:
    text = form.values["percentage"]
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 100:
        return int(text)
    form.refuse("percentage", "Enter a whole number from 0 to 100.")
    return 100


def _check_rest(session: Session, script: Script, wanted: Version, form: Form) -> None:
    """Whoever gets the other requests is a version of the script's, and another one."""
    try:
        rest = versions.get(session, script, str(UUID(form.values["rest_id"])))
    except (ValueError, VersionNotFound):
        form.refuse("rest_id", "Choose the version that gets the other requests.")
        return
    if rest.id == wanted.id:
        form.refuse("rest_id", "Choose another version for the other requests.")


def _split(request: Request, actor: Actor, script: Script, wanted: Version, form: Form) -> Response:
    share, rest_id = int(form.values["percentage"]), str(UUID(form.values["rest_id"]))
    pairs = [(wanted.id, share), (rest_id, 100 - share)]
    try:
        deployment = flows.deploy_version(actor.account_id, script.name, pairs, by=actor)
    except Refused as problem:
        form.refuse("", problem.message)
        with transaction() as session:
            return _form_page(request, session, script, wanted, form)
    response = RedirectResponse(worker_path(script.name, "deployments"), status_code=303)
    said = " and ".join(f"{part} % to version {one.number}" for one, part in deployment.shares)
    flash.put(request, response, f"Sending {said}.")
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

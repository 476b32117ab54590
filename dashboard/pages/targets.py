"""Lambda targets: added, tested, removed; and which of them a Worker goes to, as what, at what price."""

from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.accounts.models import Member
from api.comparison import service as comparison
from api.db import DB, transaction
from api.deployments import lambdas, rollouts
from api.deployments.models import Rollout
from api.errors import AlreadyExists, Conflict, NotSupported
from api.scripts import service as scripts
from api.scripts.models import Script
from api.targets import permissions, service as targets
from api.targets.access import Access
from api.targets.costs import Estimate, Traffic, estimate
from api.targets.models import LambdaFunction, LambdaTarget
from api.targets.permissions import Permission
from api.targets.schemas import TargetIn
from dashboard import flash, progress
from dashboard.addresses import ScriptName, worker_path
from dashboard.forms import Form, SentFields
from dashboard.pages.scripts import worker
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

log = structlog.get_logger()
router = APIRouter()
TargetId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_NUMBERS = ("memory_mib", "timeout_seconds", "log_retention_days")
_DEFAULTS = {
    "region": "eu-central-1",
    "memory_mib": "256",
    "timeout_seconds": "30",
    "architecture": "arm64",
    "log_retention_days": "30",
}


@dataclass(frozen=True)
class Choice:
    """A target on a Worker's page."""

    target: LambdaTarget
    chosen: bool
    function: LambdaFunction | None
    rollout: Rollout | None
    kind: str
    word: str
    cost: Estimate

    @property
    def drift(self) -> list[str]:
        """What somebody else has changed, a sentence each."""
        return self.function.drift.splitlines() if self.function else []


# --- the account's targets --------------------------------------------------------------------


@router.get("/targets")
def index(request: Request, session: DB, member: CurrentMember) -> Response:
    return _list(request, session, member, Form(_DEFAULTS))


@router.post("/targets")
def create(request: Request, session: DB, member: CurrentMember, fields: SentFields) -> Response:
    form = Form({**_DEFAULTS, **fields})
    target = _added(session, member, form)
    if target is None:
        return _list(request, session, member, form)
    log.info("target_added", target_id=target.id, member_id=member.id)
    response = RedirectResponse(f"/targets/{target.id}", status_code=303)
    flash.put(request, response, f"{target.name} is added. Test its credentials next.")
    return response


def _added(session: Session, member: Member, form: Form) -> LambdaTarget | None:
    """The new target, or None with what is wrong beside the fields."""
    for name in _NUMBERS:
        if not form.values[name].strip().isdigit():
            form.refuse(name, "Enter a whole number.")
    if not form.valid:
        return None
    values = {name: form.values.get(name, "").strip() for name in TargetIn.model_fields}
    try:
        wanted = TargetIn.model_validate(values)
    except ValidationError as error:
        form.refuse("", str(error.errors()[0]["msg"]))
        return None
    if found := targets.complaints(wanted):
        form.errors.update(found)
        return None
    try:
        return targets.add(session, member.account_id, wanted)
    except AlreadyExists as problem:
        form.refuse("name", problem.message)
        return None


def _list(request: Request, session: Session, member: Member, form: Form) -> Response:
    return render(
        request,
        "targets/index.html",
        status_code=200 if form.valid else 422,
        form=form,
        targets=targets.of_account(session, member.account_id),
        architectures={name: name for name in targets.ARCHITECTURES},
        retentions={str(days): f"{days} days" for days in targets.RETENTION_DAYS},
        name_length_max=targets.NAME_LENGTH_MAX,
    )


@router.get("/targets/{target_id}")
def show(request: Request, session: DB, member: CurrentMember, target_id: TargetId) -> Response:
    return _show(request, targets.get(session, member.account_id, target_id))


@router.post("/targets/{target_id}/test")
def test(request: Request, member: CurrentMember, target_id: TargetId) -> Response:
    """Not answered with a redirect: what AWS says is nowhere else."""
    with transaction() as session:
        target = targets.get(session, member.account_id, target_id)
        access, role_arn = Access.of(target), target.role_arn
    found = permissions.dry_run(access, role_arn)
    with transaction() as session:
        return _show(request, targets.get(session, member.account_id, target_id), found)


@router.post("/targets/{target_id}/delete")
def destroy(request: Request, session: DB, member: CurrentMember, target_id: TargetId) -> Response:
    form = Form()
    try:
        target = targets.remove(session, member.account_id, target_id)
    except Conflict as problem:
        form.refuse("", problem.message)
        return _show(request, targets.get(session, member.account_id, target_id), form=form)
    log.info("target_removed", target_id=target_id, member_id=member.id)
    response = RedirectResponse("/targets", status_code=303)
    flash.put(request, response, f"{target.name} is removed. Nothing was changed in AWS.")
    return response


def _show(
    request: Request,
    target: LambdaTarget,
    found: list[Permission] | None = None,
    form: Form | None = None,
) -> Response:
    return render(
        request,
        "targets/show.html",
        status_code=422 if form else 200,
        form=form or Form(),
        target=target,
        permissions=found,
        missing=[one for one in found or [] if not one.granted],
    )


# --- a Worker's targets -----------------------------------------------------------------------


@router.get("/workers/{name}/targets")
def of_worker(request: Request, session: DB, member: CurrentMember, name: ScriptName) -> Response:
    return _of_worker(request, session, member.account_id, name, Form())


@router.post("/workers/{name}/targets/{target_id}/choose")
def choose(
    request: Request, actor: CurrentActor, name: ScriptName, target_id: TargetId
) -> Response:
    form = Form()
    try:
        lambdas.choose_target(actor.account_id, name, target_id, by=actor)
    except NotSupported as problem:
        form.refuse("", problem.message)
        with transaction() as session:
            return _of_worker(request, session, actor.account_id, name, form)
    return _back(
        request, name, f"{name} is pushed there now, and with each deployment from now on."
    )


@router.post("/workers/{name}/targets/{target_id}/leave")
def leave(request: Request, actor: CurrentActor, name: ScriptName, target_id: TargetId) -> Response:
    lambdas.leave_target(actor.account_id, name, target_id)
    return _back(request, name, f"{name} leaves; its function is deleted in AWS.")


def _back(request: Request, name: str, said: str) -> Response:
    response = RedirectResponse(worker_path(name, "targets"), status_code=303)
    flash.put(request, response, said)
    return response


def _of_worker(
    request: Request, session: Session, account_id: str, name: str, form: Form
) -> Response:
    script = scripts.get(session, account_id, name)
    traffic = comparison.traffic(session, script)
    return render(
        request,
        "targets/worker.html",
        status_code=200 if form.valid else 422,
        form=form,
        choices=_choices(session, script, traffic),
        lines=comparison.report(session, script),
        traffic=traffic,
        **worker(script),
    )


def _choices(session: Session, script: Script, traffic: Traffic) -> list[Choice]:
    chosen = {target.id for target in targets.chosen(session, script)}
    known = targets.functions(session, script)
    newest = {rollout.target_id: rollout for rollout in rollouts.newest_of(session, script)}
    return [
        _choice(target, target.id in chosen, known.get(target.id), newest.get(target.id), traffic)
        for target in targets.of_account(session, script.account_id)
    ]


def _choice(
    target: LambdaTarget,
    chosen: bool,
    function: LambdaFunction | None,
    rollout: Rollout | None,
    traffic: Traffic,
) -> Choice:
    kind, word = progress.words_of(rollout) if rollout else ("idle", "Not chosen")
    if rollout and rollout.deployment_id is None:
        kind, word = (
            ("idle", "Not chosen") if not function else (kind, f"Withdrawal: {word.lower()}")
        )
    return Choice(target, chosen, function, rollout, kind, word, estimate(target, traffic))

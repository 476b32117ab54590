"""Workflows: which there are, their instances, and one instance with its steps."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Form as Field, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.accounts.actor import Actor
from api.db import DB, transaction
from api.errors import Conflict, InstanceExists, NotFound, Problem, Refused, Unavailable
from api.nodes.stores import StoreDoor
from api.pagination import LAST_PAGE, Page
from api.workflows import flows, instances, service
from api.workflows.history import history
from dashboard import flash
from dashboard.addresses import with_query, worker_path
from dashboard.forms import Form
from dashboard.paging import Paging
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

PER_PAGE = 25
HOME = "/workflows"
# Of parameters that are typed.
PARAMS_LENGTH_MAX = 64 * 1024
# How a status looks, and what it is called.
LOOKS = {
    "queued": ("idle", "Queued"),
    "running": ("moving", "Running"),
    "waiting": ("moving", "Waiting"),
    "waitingForPause": ("moving", "About to pause"),
    "paused": ("idle", "Paused"),
    "rollingBack": ("moving", "Rolling back"),
    "complete": ("live", "Complete"),
    "errored": ("failed", "Failed"),
    "terminated": ("failed", "Terminated"),
}
# What a person can do to an instance, by its status, and what is said then.
_ACTIONS = {
    "pause": ({"queued", "running", "waiting"}, "Pause", "It pauses."),
    "resume": ({"paused", "waitingForPause"}, "Resume", "It goes on."),
    "terminate": (set(instances.GOING_ON), "Terminate", "It is terminated."),
    "restart": (set(instances.STATUSES), "Restart", "It runs again from the start."),
}

# What a list can be narrowed to.
_FILTERS = ("running", "waiting", "paused", "complete", "errored", "terminated")

log = structlog.get_logger()
router = APIRouter(prefix=HOME)
InstanceId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
Action = Literal["pause", "resume", "terminate", "restart"]


def path_of(name: str, *rest: str) -> str:
    return "/".join([HOME, name, *rest])


@router.get("")
def index(
    request: Request,
    session: DB,
    member: CurrentMember,
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    found = service.page_of_workflows(
        session, member.account_id, Page(page=page, per_page=PER_PAGE)
    )
    return render(
        request,
        "workflows/index.html",
        workflows=found.rows,
        path_of=path_of,
        worker_path=worker_path,
        paging=Paging(HOME, page, PER_PAGE, found.total),
    )


@router.get("/{name}")
def show(
    request: Request,
    actor: CurrentActor,
    name: str,
    status: Annotated[str, Query(pattern=f"^({'|'.join(LOOKS)})?$")] = "",
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    return _show(request, actor, name, Form(), status, page)


@router.post("/{name}")
def trigger(
    request: Request,
    actor: CurrentActor,
    name: str,
    params: Annotated[str, Field()] = "",
    id: Annotated[str, Field()] = "",  # noqa: A002 - the field's name
) -> Response:
    """Create an instance."""
    form = Form({"params": params, "id": id})
    given = _params(form)
    if form.valid:
        try:
            made = instances.create(_door(actor, name), id.strip() or None, given)
        except (Conflict, Refused) as problem:
            form.refuse("id" if problem.code == InstanceExists.code else "", problem.message)
        else:
            log.info("instance_created", workflow=name, by=actor.id)
            return RedirectResponse(path_of(name, "instances", made), status_code=303)
    return _show(request, actor, name, form, "", 1)


def _params(form: Form) -> Any:
    text = form.values.get("params", "").strip()
    if not text:
        return None
    if len(text) > PARAMS_LENGTH_MAX:
        form.refuse("params", "Send more than 64 KiB with wrangler.")
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        form.refuse("params", f"This is no JSON: {error}.")
        return None


def _door(actor: Actor, name: str) -> StoreDoor:
    with transaction() as session:
        return instances.door(session, actor.account_id, name)


def _show(
    request: Request, actor: Actor, name: str, form: Form, status: str, page: int
) -> Response:
    with transaction() as session:
        workflow = service.get(session, actor.account_id, name)
        about = {"class_name": workflow.class_name, "script": workflow.script.name}
    rows, total, problem = _instances(actor, name, status, page)
    here = path_of(name)
    return render(
        request,
        "workflows/show.html",
        status_code=200 if form.valid else 422,
        name=name,
        workflow=about,
        worker_path=worker_path,
        here=here,
        form=form,
        instances=rows,
        problem=problem,
        statuses=[("All", here), *((LOOKS[one][1], _filtered(here, one)) for one in _FILTERS)],
        current=_filtered(here, status),
        looks=LOOKS,
        chosen=status,
        paging=Paging(here, page, PER_PAGE, total, {"status": status}),
    )


def _filtered(here: str, status: str) -> str:
    return with_query(here, {"status": status}) if status else here


def _instances(
    actor: Actor, name: str, status: str, page: int
) -> tuple[list[dict[str, Any]], int, str]:
    """A page of them, how many there are, and why they cannot be listed."""
    try:
        found, total = instances.page(
            _door(actor, name), Page(page=page, per_page=PER_PAGE), instances.Filter(status)
        )
    except (Unavailable, Conflict) as problem:
        return [], 0, problem.message
    times = ("created_on", "modified_on")
    return [{**one, **{key: _time(one[key]) for key in times}} for one in found], total, ""


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@router.get("/{name}/delete")
def confirm(request: Request, session: DB, member: CurrentMember, name: str) -> Response:
    workflow = service.get(session, member.account_id, name)
    return render(
        request,
        "workflows/delete.html",
        name=workflow.name,
        script=workflow.script.name,
        here=path_of(name),
    )


@router.post("/{name}/delete")
def destroy(request: Request, actor: CurrentActor, name: str) -> Response:
    flows.delete(actor.account_id, name)
    response = RedirectResponse(HOME, status_code=303)
    flash.put(request, response, f"{name} is deleted.")
    return response


@router.get("/{name}/instances/{instance_id}")
def instance(request: Request, actor: CurrentActor, name: str, instance_id: InstanceId) -> Response:
    """One instance and what it did."""
    said = instances.describe(_door(actor, name), instance_id)
    told = history(said["events"])
    return render(
        request,
        "workflows/instance.html",
        name=name,
        id=instance_id,
        here=path_of(name, "instances", instance_id),
        up=path_of(name),
        status=said["status"],
        look=LOOKS[said["status"]],
        error=said["error"],
        output=_json(said["output"]),
        params=_json(told["params"]),
        times={key: _time(told[key]) for key in ("queued", "start", "end")},
        steps=[_step(one) for one in told["steps"]],
        form=Form(),
        actions=[
            (action, label)
            for action, (statuses, label, _) in _ACTIONS.items()
            if said["status"] in statuses
        ],
    )


_KINDS = {
    "step": "Step",
    "sleep": "Sleep",
    "waitForEvent": "Event",
    "rollback": "Rollback",
    "termination": "Termination",
}


def _step(told: dict[str, Any]) -> dict[str, Any]:
    attempts = told.get("attempts") or []
    failures = [one["error"] for one in attempts if one["error"]]
    error = told.get("error") or (failures[-1] if failures and not told.get("success") else None)
    done = told.get("success") if "attempts" in told else told.get("finished")
    if told["type"] == "termination":
        done = True
    look = ("live", "Done") if done and not told.get("error") else ("moving", "Going on")
    if told.get("success") is False or told.get("error"):
        look = ("failed", "Failed")
    return {
        "name": told.get("name") or "Terminated",
        "kind": _KINDS[told["type"]],
        "attempts": len(attempts),
        "look": look,
        "start": _time(told.get("start")),
        "end": _time(told.get("end")),
        "output": _json(told.get("output")),
        "error": error,
    }


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


@router.post("/{name}/instances/{instance_id}/events")
def send_event(
    request: Request,
    actor: CurrentActor,
    name: str,
    instance_id: InstanceId,
    type: Annotated[str, Field()] = "",  # noqa: A002 - the field's name
    params: Annotated[str, Field()] = "",
) -> Response:
    """Send what a step may wait for."""
    form = Form({"type": type, "params": params})
    kind = form.require("type", "Give the type of the event.").strip()
    payload = _params(form)
    if not form.valid:
        return _said(request, name, instance_id, next(iter(form.errors.values())))
    instances.send_event(_door(actor, name), instance_id, kind, payload)
    return _said(request, name, instance_id, "The event is sent.")


@router.post("/{name}/instances/{instance_id}/{action}")
def change(
    request: Request, actor: CurrentActor, name: str, instance_id: InstanceId, action: Action
) -> Response:
    try:
        instances.change(_door(actor, name), instance_id, action)
    except NotFound:
        raise
    except Problem as problem:
        return _said(request, name, instance_id, problem.message)
    return _said(request, name, instance_id, _ACTIONS[action][2])


def _said(request: Request, name: str, instance_id: str, words: str) -> Response:
    response = RedirectResponse(path_of(name, "instances", instance_id), status_code=303)
    flash.put(request, response, words)
    return response

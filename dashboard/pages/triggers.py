"""Cron triggers of a Worker: which there are, when they come next, what they did."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form as Field, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.crons import service as crons
from api.crons.models import CronRun, RunState
from api.db import DB, transaction
from api.errors import Refused
from api.pagination import Page
from api.scripts import service as scripts
from api.scripts.models import Script
from dashboard import flash
from dashboard.addresses import ScriptName, worker_path
from dashboard.forms import Form
from dashboard.pages.scripts import worker
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

TIMES_SHOWN, RUNS_SHOWN = 5, 25
POLL_SECONDS = 1
router = APIRouter()
Text = Annotated[str, Field()]

# Outcome → kind of status and words.
_OUTCOMES = {
    "ok": ("live", "Succeeded"),
    "exception": ("failed", "Threw an exception"),
    "exceededCpu": ("failed", "Used too much CPU"),
    "exceededMemory": ("failed", "Used too much memory"),
    "canceled": ("failed", "Cancelled"),
    "unknown": ("failed", "Unknown"),
}
_STATES = {RunState.QUEUED: "Waiting", RunState.SENT: "Starting", RunState.RUNNING: "Running"}


@dataclass(frozen=True)
class TriggerRow:
    cron: str
    times: list[datetime]


@dataclass(frozen=True)
class RunRow:
    run: CronRun
    kind: str
    word: str


@router.get("/workers/{name}/triggers")
def index(request: Request, session: DB, member: CurrentMember, name: ScriptName) -> Response:
    return _page(request, session, scripts.get(session, member.account, name), Form())


@router.get("/workers/{name}/triggers/runs")
def runs(request: Request, session: DB, member: CurrentMember, name: ScriptName) -> Response:
    """The history alone, for as long as something in it runs."""
    script = scripts.get(session, member.account, name)
    return _page(request, session, script, Form(), "triggers/_runs.html")


@router.post("/workers/{name}/triggers")
def add(request: Request, actor: CurrentActor, name: ScriptName, cron: Text = "") -> Response:
    form = Form({"cron": cron.strip()})
    wanted = form.require("cron", "Enter five fields, such as */15 * * * *.")
    if form.valid:
        try:
            _replace(actor.account_id, name, lambda present: [*present, wanted])
        except Refused as problem:
            form.refuse("cron", problem.message)
        else:
            return _back(request, name, f"{name} is called at {wanted} from now on.")
    with transaction() as session:
        return _page(request, session, scripts.get(session, actor.account_id, name), form)


@router.post("/workers/{name}/triggers/remove")
def remove(request: Request, actor: CurrentActor, name: ScriptName, cron: Text) -> Response:
    _replace(actor.account_id, name, lambda present: [one for one in present if one != cron])
    return _back(request, name, f"The trigger {cron} was removed.")


@router.post("/workers/{name}/triggers/run")
def run(request: Request, actor: CurrentActor, name: ScriptName, cron: Text) -> Response:
    with transaction() as session:
        crons.run_now(session, scripts.get(session, actor.account_id, name), cron)
    return _back(request, name, f"{name} is called as at {cron}.")


def _replace(account_id: str, name: str, change: Callable[[list[str]], list[str]]) -> None:
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        present = [trigger.cron for trigger in crons.triggers(session, script)]
        crons.replace_triggers(session, script, change(present))


def _page(
    request: Request, session: Session, script: Script, form: Form, fragment: str | None = None
) -> Response:
    listing = crons.page_of_runs(session, script, Page(per_page=RUNS_SHOWN))
    return render(
        request,
        "triggers/index.html",
        fragment,
        status_code=200 if form.valid else 422,
        form=form,
        triggers=[
            TriggerRow(one.cron, crons.coming(one.cron, TIMES_SHOWN))
            for one in crons.triggers(session, script)
        ],
        runs=[_row(run) for run in listing.rows],
        running=any(run.state != RunState.FINISHED for run in listing.rows),
        poll_seconds=POLL_SECONDS,
        **worker(script),
    )


def _row(run: CronRun) -> RunRow:
    if run.state != RunState.FINISHED:
        return RunRow(run, "moving", _STATES[RunState(run.state)])
    kind, word = _OUTCOMES.get(run.outcome, ("failed", run.outcome))
    return RunRow(run, kind, word)


def _back(request: Request, name: str, said: str) -> Response:
    response = RedirectResponse(worker_path(name, "triggers"), status_code=303)
    flash.put(request, response, said)
    return response

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, RootModel

from api.accounts.endpoints import paged
from api.clock import iso
from api.crons import service
from api.crons.models import CronRun, CronTrigger
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.pagination import RequestedPage
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.security import CurrentAccount

router = APIRouter(prefix="/accounts/{account_id}/workers/scripts/{name}", tags=["schedules"])


class ScheduleIn(BaseModel):
    cron: str = Field(examples=["*/5 * * * *"])


class SchedulesIn(RootModel[list[ScheduleIn]]):
    """All of a script's cron triggers."""


class ScheduleOut(BaseModel):
    cron: str
    created_on: str
    modified_on: str


class SchedulesOut(BaseModel):
    schedules: list[ScheduleOut]


class RunIn(BaseModel):
    """Which of the script's triggers to act for."""

    cron: str


class RunOut(BaseModel):
    """One occurrence; `outcome` is empty until it has ended."""

    id: str
    cron: str
    scheduled_on: str
    manual: bool
    late: bool
    state: str
    outcome: str
    reason: str
    duration_ms: int | None
    node: str
    logs: list[str]


@router.put("/schedules", response_model=Envelope[SchedulesOut])
def put_schedules(
    session: DB, account: CurrentAccount, name: ScriptName, body: SchedulesIn
) -> dict[str, Any]:
    """Replace all cron triggers. They are in UTC, unless `CRON_TZ=…` stands in front."""
    script = scripts.lock(session, account.id, name)
    crons = [schedule.cron for schedule in body.root]
    return answer(_schedules(service.replace_triggers(session, script, crons)))


@router.get("/schedules", response_model=Envelope[SchedulesOut])
def get_schedules(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    return answer(_schedules(service.triggers(session, scripts.get(session, account, name))))


@router.get("/schedules/runs", response_model=PagedEnvelope[list[RunOut]])
def list_runs(
    session: DB, account: CurrentAccount, name: ScriptName, page: RequestedPage
) -> dict[str, Any]:
    """What ran, newest first; ours, not Cloudflare's."""
    script = scripts.get(session, account, name)
    listing = service.page_of_runs(session, script, page)
    return paged(listing, [_run(run) for run in listing.rows])


@router.post("/schedules/runs", response_model=Envelope[RunOut])
def run_now(session: DB, account: CurrentAccount, name: ScriptName, body: RunIn) -> dict[str, Any]:
    """Call the handler now, as one of the triggers would; ours, not Cloudflare's."""
    script = scripts.get(session, account, name)
    return answer(_run(service.run_now(session, script, body.cron)))


def _schedules(triggers: list[CronTrigger]) -> dict[str, Any]:
    return {
        "schedules": [
            {
                "cron": trigger.cron,
                "created_on": iso(trigger.created_at),
                "modified_on": iso(trigger.modified_at),
            }
            for trigger in triggers
        ]
    }


def _run(run: CronRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "cron": run.cron,
        "scheduled_on": iso(run.scheduled_at),
        "manual": run.manual,
        "late": run.late,
        "state": run.state,
        "outcome": run.outcome,
        "reason": run.reason,
        "duration_ms": run.duration_ms,
        "node": run.node_name,
        "logs": run.logs,
    }

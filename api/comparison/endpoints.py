"""Which targets a script has, what it would be like there, and choosing; paths of Skerry's own."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from api.comparison import service as comparison
from api.db import DB
from api.deployments import lambdas
from api.envelope import Envelope, answer
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.security import CurrentAccount, CurrentActor
from api.targets import service as targets
from api.targets.costs import estimate
from api.targets.schemas import TargetId

router = APIRouter(
    prefix="/accounts/{account_id}/workers/scripts/{name}/skerry-targets", tags=["targets"]
)


class LineOut(BaseModel):
    kind: str
    name: str
    verdict: str
    how: str


class CostOut(BaseModel):
    """A month of the script's own traffic, by what AWS bills."""

    currency: str
    as_of: str
    requests: float
    compute: float
    transfer: float
    total: float


class ChoiceOut(BaseModel):
    id: str
    name: str
    chosen: bool
    function: str
    """What it is called in AWS; empty before the first push."""
    url: str
    drift: list[str]
    monthly_cost: CostOut


class ReportOut(BaseModel):
    lines: list[LineOut]
    targets: list[ChoiceOut]


@router.get("", response_model=Envelope[ReportOut])
def report(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """Everything that the script uses and how it is on AWS Lambda; its targets and their price."""
    script = scripts.get(session, account, name)
    traffic = comparison.traffic(session, script)
    chosen = {target.id for target in targets.chosen(session, script)}
    known = targets.functions(session, script)
    choices = []
    for target in targets.of_account(session, account.id):
        cost, function = estimate(target, traffic), known.get(target.id)
        choices.append(
            {
                "id": target.id,
                "name": target.name,
                "chosen": target.id in chosen,
                "function": function.name if function else "",
                "url": function.url if function else "",
                "drift": function.drift.splitlines() if function else [],
                "monthly_cost": {**vars(cost), "total": cost.total},
            }
        )
    lines = [vars(line) for line in comparison.report(session, script)]
    return answer({"lines": lines, "targets": choices})


@router.put("/{target_id}", response_model=Envelope[TargetId])
def choose(
    account: CurrentAccount, actor: CurrentActor, name: ScriptName, target_id: str
) -> dict[str, Any]:
    """Let the script answer from a Lambda target as well; refused if it cannot run there."""
    lambdas.choose_target(account.id, name, target_id, by=actor)
    return answer({"id": target_id})


@router.delete("/{target_id}", response_model=Envelope[TargetId])
def leave(account: CurrentAccount, name: ScriptName, target_id: str) -> dict[str, Any]:
    """Take the script off a Lambda target; what Skerry made there is deleted."""
    lambdas.leave_target(account.id, name, target_id)
    return answer({"id": target_id})

from typing import Any

from fastapi import APIRouter

from api.bindings.kinds import PRODUCTION
from api.db import DB
from api.deployments import callers, flows
from api.envelope import Envelope, answer
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.scripts.schemas import ReferencesOut
from api.security import CurrentAccount, CurrentActor

router = APIRouter(prefix="/accounts/{account_id}/workers", tags=["scripts"])


@router.delete("/services/{name}", response_model=Envelope[None])
def delete_service(actor: CurrentActor, name: ScriptName, force: bool = False) -> dict[str, Any]:
    """Delete a script with all its versions and secrets (the path that wrangler takes); with `force` also
    one that consumes a queue."""
    removed = flows.delete_script(actor.account_id, name, by=actor, force=force)
    return answer(None, flows.describe(removed))


@router.delete("/scripts/{name}", response_model=Envelope[None])
def delete_script(actor: CurrentActor, name: ScriptName, force: bool = False) -> dict[str, Any]:
    """Delete a script with all its versions and secrets."""
    removed = flows.delete_script(actor.account_id, name, by=actor, force=force)
    return answer(None, flows.describe(removed))


@router.get("/scripts/{name}/references", response_model=Envelope[ReferencesOut])
def get_references(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """What depends on the script: wrangler asks before it deletes one."""
    script = scripts.get(session, account, name)
    incoming = [
        {"service": one.name, "environment": PRODUCTION}
        for one in callers.callers(session, account.id, script.name)
    ]
    return answer(
        {"services": {"incoming": incoming}, "durable_objects": [], "dispatch_outbounds": []}
    )

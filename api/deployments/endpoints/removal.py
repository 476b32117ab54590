from typing import Any

from fastapi import APIRouter

from api.deployments import flows
from api.envelope import Envelope, answer
from api.scripts.endpoints import ScriptName
from api.security import CurrentActor

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

from typing import Annotated, Any

from fastapi import APIRouter, Body

from api.deployments import flows
from api.envelope import Envelope, answer
from api.scripts.endpoints import ScriptName, settings_of
from api.scripts.schemas import ScriptSettings
from api.security import CurrentActor

router = APIRouter(prefix="/accounts/{account_id}/workers", tags=["settings"])


@router.patch("/scripts/{name}/script-settings", response_model=Envelope[ScriptSettings])
def change_script_settings(
    actor: CurrentActor, name: ScriptName, body: Annotated[ScriptSettings, Body()]
) -> dict[str, Any]:
    """Change the settings that are named; the rest stays. `scaling` goes to the nodes at once."""
    changes = body.model_dump(exclude_unset=True)
    script, deployment = flows.change_settings(actor.account_id, name, changes)
    messages = flows.describe(flows.settled(deployment)) if deployment else []
    return answer(settings_of(script), messages)

from typing import Any

from fastapi import APIRouter

from api.accounts.schemas import SubdomainIn, SubdomainOut
from api.deployments import flows
from api.deployments.schemas import SubdomainSwitch
from api.envelope import Envelope, answer
from api.scripts.endpoints import ScriptName
from api.scripts.schemas import SubdomainState
from api.security import CurrentAccount, CurrentActor

router = APIRouter(prefix="/accounts/{account_id}/workers", tags=["subdomains"])


@router.post("/scripts/{name}/subdomain", response_model=Envelope[SubdomainState])
def switch_subdomain(
    actor: CurrentActor, name: ScriptName, body: SubdomainSwitch
) -> dict[str, Any]:
    """Switch the script's live URL on or off."""
    script, deployment = flows.set_subdomain(actor.account_id, name, enabled=body.enabled)
    messages = flows.describe(flows.settled(deployment)) if deployment else []
    if body.previews_enabled:
        messages.append("Preview URLs are not supported by Skerry yet and stay off.")
    return answer({"enabled": script.subdomain_enabled, "previews_enabled": False}, messages)


@router.put("/subdomain", response_model=Envelope[SubdomainOut])
def put_subdomain(account: CurrentAccount, body: SubdomainIn) -> dict[str, Any]:
    """Rename the account's subdomain: every live URL changes with it."""
    flows.rename_subdomain(account, body.subdomain)
    return answer({"subdomain": body.subdomain})

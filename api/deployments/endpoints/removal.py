from typing import Any

from fastapi import APIRouter

from api.db import DB
from api.deployments import callers, flows
from api.envelope import Envelope, answer
from api.objects import service as objects
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.scripts.schemas import ENVIRONMENT, ReferencesOut
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
    leading = callers.leading_to(session, account.id, script.name)
    of_classes = [(one, binding) for one, binding in leading if binding.type == objects.BINDING]
    of_it = [one.name for one, binding in leading if binding.type != objects.BINDING]
    namespaces = {one.class_name: one.namespace_id for one in objects.of_script(session, script)}
    incoming = [{"service": one, "environment": ENVIRONMENT} for one in dict.fromkeys(of_it)]
    classes = [
        {
            "service": one.name,
            "environment": ENVIRONMENT,
            "name": binding.name,
            "durable_object_namespace_id": namespaces.get(binding.attributes["class_name"], ""),
            "durable_object_namespace_name": binding.attributes["class_name"],
        }
        for one, binding in of_classes
    ]
    return answer(
        {"services": {"incoming": incoming}, "durable_objects": classes, "dispatch_outbounds": []}
    )

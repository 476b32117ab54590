"""Scripts that call each other: what a service binding names has to be there, and is not deleted unasked
while it is bound."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.bindings.kinds import callee_of
from api.bindings.models import Binding
from api.deployments import service as deployments
from api.errors import ScriptCalled, ServiceBindingNotFound
from api.scripts import service as scripts
from api.scripts.models import Script
from api.versions.models import Version

SERVICE = "service"


def check(
    session: Session, account_id: str, own_name: str, bindings: Iterable[dict[str, Any]]
) -> None:
    """Raises ServiceBindingNotFound for a binding to a script that the account does not have; the others
    stay until the end of the transaction. A script may call itself before it is there."""
    for binding in bindings:
        name = callee_of(binding) if binding["type"] == SERVICE else own_name
        if name == own_name:
            continue
        # Deleting waits for this lock; deploying the callee, which may call back, does not.
        query = scripts.owned_by(account_id).where(Script.name == name)
        held = query.with_for_update(read=True, key_share=True, of=Script)
        if session.scalar(held) is None:
            raise ServiceBindingNotFound(_missing(session, account_id, binding, name))


def _missing(session: Session, account_id: str, binding: dict[str, Any], name: str) -> str:
    service = str(binding["service"])
    if name != service and scripts.find(session, account_id, service):
        said = f"Target environment '{binding['environment']}' not found for target script '{service}'."
    else:
        said = f"Target script '{name}' not found."
    return (
        f"Could not resolve service binding '{binding['name']}'. {said} Please verify the target "
        f"script and try again. Nothing was changed: deploy {name} first."
    )


def callers(session: Session, account_id: str, name: str) -> list[Script]:
    """The other scripts whose deployed version binds the script of that name, by name."""
    candidates = (
        scripts.owned_by(account_id)
        .where(
            Script.name != name,
            Script.id.in_(
                select(Version.script_id)
                .join(Binding, Binding.version_id == Version.id)
                .where(Binding.type == SERVICE)
            ),
        )
        .order_by(Script.name)
    )
    return [one for one in session.scalars(candidates) if name in callees(session, one)]


def callees(session: Session, script: Script) -> set[str]:
    """The names of the scripts that its deployed version binds."""
    deployment = deployments.current(session, script)
    return {
        callee_of(binding.attributes)
        for version, _ in (deployment.shares if deployment else [])
        for binding in version.bindings
        if binding.type == SERVICE
    }


def refuse_called(session: Session, account_id: str, script: Script) -> None:
    """Raises ScriptCalled while other scripts bind it; until the end of the transaction no other can."""
    session.refresh(script, with_for_update=True)
    names = ", ".join(one.name for one in callers(session, account_id, script.name))
    if names:
        raise ScriptCalled(
            f"{script.name} is bound by the deployed version of {names}. Nothing was deleted. Deploy "
            "without the binding first, or delete it all the same with force=true: their calls fail "
            "from then on."
        )

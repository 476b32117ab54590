"""Scripts that call each other, or bind each other's Durable Objects or workflows: what a binding names has
to be there, and a script is not deleted unasked while it is bound."""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.bindings.kinds import CALLING_KINDS, callee_of, named_script
from api.bindings.models import Binding
from api.deployments import service as deployments
from api.errors import ScriptCalled, ServiceBindingNotFound
from api.objects import service as objects
from api.scripts import service as scripts
from api.scripts.models import Script
from api.versions.models import Version
from api.workflows import service as workflows

SERVICE = "service"
_WORDS = {
    SERVICE: "service",
    objects.BINDING: "Durable Object",
    workflows.BINDING: "workflow",
}
# Besides the script itself, what of it has to be there.
_OF_IT: dict[str, Callable[[Session, Script, dict[str, Any]], None]] = {
    objects.BINDING: objects.check_others,
    workflows.BINDING: workflows.check_others,
}


def check(
    session: Session, account_id: str, own_name: str, bindings: Iterable[dict[str, Any]]
) -> None:
    """Raises ServiceBindingNotFound for a binding to a script that the account does not have, and what the
    kind raises for one to a class or a workflow that this does not have; the scripts stay until the end of
    the transaction. A script may call itself before it is there."""
    for binding in bindings:
        name = callee_of(binding)
        if name in ("", own_name):
            continue
        # Deleting waits for this lock; deploying the callee, which may call back, does not.
        query = scripts.owned_by(account_id).where(Script.name == name)
        callee = session.scalar(query.with_for_update(read=True, key_share=True, of=Script))
        if callee is None:
            raise ServiceBindingNotFound(_missing(session, account_id, binding, name))
        if check_it := _OF_IT.get(binding["type"]):
            check_it(session, callee, binding)


def _missing(session: Session, account_id: str, binding: dict[str, Any], name: str) -> str:
    script = named_script(binding)
    if name != script and scripts.find(session, account_id, script):
        said = (
            f"Target environment '{binding['environment']}' not found for target script '{script}'."
        )
    else:
        said = f"Target script '{name}' not found."
    kind = _WORDS[binding["type"]]
    return (
        f"Could not resolve {kind} binding '{binding['name']}'. {said} Please verify the target "
        f"script and try again. Nothing was changed: deploy {name} first."
    )


def callers(session: Session, account_id: str, name: str) -> list[Script]:
    """The other scripts whose deployed version binds the script of that name, by name."""
    return list(dict.fromkeys(script for script, _ in leading_to(session, account_id, name)))


def leading_to(session: Session, account_id: str, name: str) -> list[tuple[Script, Binding]]:
    """The same with each binding that does."""
    candidates = (
        scripts.owned_by(account_id)
        .where(
            Script.name != name,
            Script.id.in_(
                select(Version.script_id)
                .join(Binding, Binding.version_id == Version.id)
                .where(Binding.type.in_(CALLING_KINDS))
            ),
        )
        .order_by(Script.name)
    )
    return [
        (script, binding)
        for script in session.scalars(candidates)
        for binding in _bindings(session, script)
        if binding.type in CALLING_KINDS and callee_of(binding.attributes) == name
    ]


def _bindings(session: Session, script: Script) -> list[Binding]:
    deployment = deployments.current(session, script)
    shares = deployment.shares if deployment else []
    return [binding for version, _ in shares for binding in version.bindings]


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

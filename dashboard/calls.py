"""Who calls whom: the service bindings of a Worker, and those that lead to it."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from api.bindings.kinds import callee_of
from api.deployments import callers as called
from api.scripts import service as scripts
from api.scripts.models import Script
from api.versions.models import Version


@dataclass(frozen=True)
class Call:
    """One service binding as a line of a table."""

    binding: str
    callee: str
    entrypoint: str
    """Empty: the default one."""
    there: bool
    """Whether the account has the callee."""


def calls_of(session: Session, script: Script, version: Version | None) -> list[Call]:
    """What the running version may call."""
    bound = [one for one in (version.bindings if version else []) if one.type == called.SERVICE]
    return [_call(session, script, one.name, one.attributes) for one in bound]


def _call(session: Session, script: Script, binding: str, attributes: dict[str, object]) -> Call:
    callee = callee_of(attributes)
    there = scripts.find(session, script.account_id, callee) is not None
    return Call(binding, callee, str(attributes.get("entrypoint") or ""), there)


def callers_of(session: Session, script: Script) -> list[str]:
    """The names of the other Workers that call it."""
    return [one.name for one in called.callers(session, script.account_id, script.name)]

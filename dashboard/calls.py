"""Who calls whom: the bindings of a Worker that lead to Workers, and those that lead to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from api.bindings.kinds import CALLING_KINDS, callee_of
from api.bindings.models import Binding
from api.deployments import callers as called
from api.scripts import service as scripts
from api.scripts.models import Script
from api.versions.models import Version

_OF_KIND = {
    "service": ("entrypoint", "entrypoint"),
    "durable_object_namespace": ("Durable Objects", "class_name"),
    "workflow": ("workflow", "workflow_name"),
}


@dataclass(frozen=True)
class Call:
    """One binding to a Worker as a line of a table."""

    binding: str
    callee: str
    what: str
    """Of the callee: an entrypoint, a class with Durable Objects, a workflow."""
    name: str
    """Of that; empty: the default entrypoint."""
    there: bool
    """Whether the account has the callee."""


def calls_of(session: Session, script: Script, versions: Sequence[Version]) -> list[Call]:
    """What the running versions may call, each once."""
    found = [
        _call(session, script, one)
        for version in versions
        for one in version.bindings
        if one.type in CALLING_KINDS and callee_of(one.attributes)
    ]
    return list(dict.fromkeys(found))


def _call(session: Session, script: Script, binding: Binding) -> Call:
    callee = callee_of(binding.attributes)
    there = scripts.find(session, script.account_id, callee) is not None
    what, field = _OF_KIND[binding.type]
    return Call(binding.name, callee, what, str(binding.attributes.get(field) or ""), there)


def callers_of(session: Session, script: Script) -> list[str]:
    """The names of the other Workers that call it."""
    return [one.name for one in called.callers(session, script.account_id, script.name)]

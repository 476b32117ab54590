"""Workflows: which a script has, and what an upload makes of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api import ids
from api.bindings.kinds import callee_of
from api.clock import now
from api.errors import AlreadyExists, ScriptRejected, WorkflowBindingNotFound, WorkflowNotFound
from api.pagination import Listing, Page, paginate
from api.scripts.models import Script
from api.workflows.models import Workflow

BINDING = "workflow"
NAME_LENGTH_MAX = 64


@dataclass(frozen=True)
class WorkflowClass:
    """A workflow of a script's, as a node is told of it."""

    name: str
    class_name: str
    id: str
    limits: dict[str, Any] = field(default_factory=dict)
    """In the words of the runtime's engine."""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "class_name": self.class_name,
            "id": self.id,
            "limits": self.limits,
        }


def owned_by(account_id: str) -> Select[Workflow]:
    """The one door to workflows: those of an account."""
    return select(Workflow).where(Workflow.account_id == account_id)


def find(session: Session, account_id: str, name: str) -> Workflow | None:
    return session.scalar(owned_by(account_id).where(Workflow.name == name))


def get(session: Session, account_id: str, name: str, *, lock: bool = False) -> Workflow:
    """Raises WorkflowNotFound, for a stranger's too."""
    query = owned_by(account_id).where(Workflow.name == name)
    found = session.scalar(query.with_for_update(of=Workflow) if lock else query)
    if found is None:
        raise WorkflowNotFound(f"There is no workflow {name[:80]} on this account.")
    return found


def page_of_workflows(
    session: Session, account_id: str, page: Page, search: str = ""
) -> Listing[Workflow]:
    query = owned_by(account_id).order_by(Workflow.name)
    if search:
        query = query.where(Workflow.name.contains(search, autoescape=True))
    return paginate(session, query, page)


# --- of a version -------------------------------------------------------------------------------


def check_bindings(bindings: Iterable[dict[str, Any]], script_name: str) -> list[dict[str, Any]]:
    """The bindings as a version keeps them: those to the script's own workflows name no script. Raises
    ScriptRejected for two of these that disagree."""
    checked, classes = [], dict[str, str]()
    for binding in bindings:
        if binding["type"] == BINDING and callee_of(binding) in ("", script_name):
            name, class_name = binding["workflow_name"], binding["class_name"]
            if classes.setdefault(name, class_name) != class_name:
                raise ScriptRejected(
                    f"Two bindings give the workflow {name} different classes: {classes[name]} and "
                    f"{class_name}. Nothing was changed."
                )
            kept = ("name", "type", "workflow_name", "class_name")
            binding = {key: binding[key] for key in kept}
        checked.append(binding)
    return checked


def bound(bindings: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Class by name of the script's own workflows that checked bindings lead to."""
    own = [one for one in bindings if one["type"] == BINDING and not callee_of(one)]
    return {one["workflow_name"]: one["class_name"] for one in own}


def check_others(session: Session, script: Script, binding: dict[str, Any]) -> None:
    """Raises WorkflowBindingNotFound for a binding to a workflow that this other script does not have."""
    name = binding["workflow_name"]
    found = find(session, script.account_id, name)
    if found is None or found.script_id != script.id:
        raise WorkflowBindingNotFound(
            f"Cannot create binding {binding['name']}: the Worker {script.name} has no workflow called "
            f"{name} (class '{binding['class_name']}'). Nothing was changed: deploy {script.name} with it "
            "first."
        )


def plan(
    session: Session, account_id: str, bindings: Iterable[dict[str, Any]]
) -> list[WorkflowClass]:
    """What an upload's bindings will lead to, new ones under any id; nothing is changed."""
    wanted = bound(bindings)
    rows = _rows(session, account_id, wanted)
    return [
        WorkflowClass(name, class_name, rows[name].id if name in rows else ids.hex32())
        for name, class_name in wanted.items()
    ]


def of_version(
    session: Session, script: Script, bindings: Iterable[dict[str, Any]]
) -> list[WorkflowClass]:
    """What a version's bindings lead to: the workflows among them that its script has now."""
    wanted = bound(bindings)
    rows = _rows(session, script.account_id, wanted)
    return [
        WorkflowClass(name, class_name, rows[name].id, _limits(rows[name].options))
        for name, class_name in wanted.items()
        if name in rows and rows[name].script_id == script.id
    ]


def _rows(session: Session, account_id: str, names: Iterable[str]) -> dict[str, Workflow]:
    if not (names := list(names)):
        return {}
    rows = session.scalars(owned_by(account_id).where(Workflow.name.in_(names)))
    return {row.name: row for row in rows}


def _limits(options: dict[str, Any]) -> dict[str, Any]:
    """From wrangler's words to the engine's."""
    limits: dict[str, Any] = {}
    if steps := (options.get("limits") or {}).get("steps"):
        limits["steps"] = steps
    retention = options.get("default_retention") or {}
    found = {key: retention.get(f"{key}_retention") for key in ("success", "error")}
    if any(value is not None for value in found.values()):
        limits["retention"] = {key: value for key, value in found.items() if value is not None}
    return limits


def refuse_taken(session: Session, account_id: str, bindings: Iterable[dict[str, Any]]) -> None:
    """Raises AlreadyExists for a binding to a workflow that is there, for a script that is to have its
    own."""
    if rows := _rows(session, account_id, bound(bindings)):
        raise AlreadyExists(
            f"There is a workflow called {min(rows)} already. Nothing was changed. Choose another name."
        )


# --- changing -----------------------------------------------------------------------------------


def put(
    session: Session, script: Script, name: str, class_name: str, *, take: bool = True
) -> tuple[Workflow, Script | None]:
    """Make a workflow the locked script's; gives it, and the script that had it before. Without `take`
    one that is there stays as it is."""
    session.execute(
        insert(Workflow)
        .values(
            id=ids.hex32(),
            account_id=script.account_id,
            script_id=script.id,
            name=name,
            class_name=class_name,
            options={},
            created_at=now(),
            modified_at=now(),
        )
        .on_conflict_do_nothing(index_elements=["account_id", "name"])
    )
    row = get(session, script.account_id, name, lock=True)
    giver = row.script if row.script_id != script.id else None
    if not take or (giver is None and row.class_name == class_name):
        return row, None
    row.script, row.class_name, row.modified_at = script, class_name, now()
    session.flush()
    return row, giver


def carry_out(
    session: Session, script: Script, bindings: Iterable[dict[str, Any]], *, take: bool
) -> list[Script]:
    """Have every workflow that the bindings lead to; gives the scripts that lost one."""
    givers: dict[str, Script] = {}
    for name, class_name in sorted(bound(bindings).items()):
        _, giver = put(session, script, name, class_name, take=take)
        if giver is not None:
            givers[giver.id] = giver
    return list(givers.values())


def delete_all(session: Session, script: Script) -> list[str]:
    """Forget all workflows of a script; gives the ids whose data is to be discarded."""
    gone = list(session.scalars(select(Workflow.id).where(Workflow.script_id == script.id)))
    session.execute(delete(Workflow).where(Workflow.script_id == script.id))
    return gone

"""Namespaces of Durable Objects: which a script has, and what an upload makes of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from api import ids
from api.bindings.kinds import callee_of
from api.errors import (
    MigrationRefused,
    MigrationTagMismatch,
    ObjectClassNotConfigured,
    ObjectNamespaceNotFound,
    VersionBeforeMigration,
)
from api.objects.models import ObjectNamespace
from api.objects.steps import Migrations, Move, Step
from api.pagination import Listing, Page, paginate
from api.scripts import service as scripts
from api.scripts.models import Script

BINDING = "durable_object_namespace"
# What a version remembers of the moment it was uploaded.
TAG_OPTION = "migration_tag"


@dataclass(frozen=True)
class ObjectClass:
    """A class with Durable Objects, as a node is told of it."""

    class_name: str
    namespace_id: str
    sqlite: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "class_name": self.class_name,
            "namespace_id": self.namespace_id,
            "sqlite": self.sqlite,
        }


@dataclass
class Plan:
    """What a script's classes are after an upload, by name."""

    classes: dict[str, ObjectClass]
    tag: str | None
    deleted: list[str] = field(default_factory=list)
    """Ids of namespaces whose data goes."""
    givers: dict[str, Script] = field(default_factory=dict)
    """The scripts that lose a class to this one, by id."""


def owned_by(account_id: str) -> Select[ObjectNamespace]:
    """The one door to namespaces: those of an account's scripts."""
    return (
        select(ObjectNamespace)
        .join(ObjectNamespace.script)
        .where(Script.account_id == account_id, Script.deleted_at.is_(None))
    )


def get(session: Session, account_id: str, namespace_id: str) -> ObjectNamespace:
    """Raises ObjectNamespaceNotFound, for a stranger's too."""
    found = session.scalar(owned_by(account_id).where(ObjectNamespace.id == namespace_id))
    if found is None:
        raise ObjectNamespaceNotFound(f"There is no namespace {namespace_id[:80]}.")
    return found


def page_of_namespaces(session: Session, account_id: str, page: Page) -> Listing[ObjectNamespace]:
    query = owned_by(account_id).order_by(Script.name, ObjectNamespace.class_name)
    return paginate(session, query, page)


def of_script(session: Session, script: Script | None) -> list[ObjectClass]:
    """The classes that a script has now."""
    if script is None:
        return []
    query = select(ObjectNamespace).where(ObjectNamespace.script_id == script.id)
    rows = session.scalars(query.order_by(ObjectNamespace.class_name))
    return [ObjectClass(row.class_name, row.id, row.sqlite) for row in rows]


# --- planning -----------------------------------------------------------------------------------


def plan(
    session: Session, account_id: str, script: Script | None, migrations: Migrations | None
) -> Plan:
    """What the migrations make of the script's classes; nothing is changed. Raises
    MigrationTagMismatch and MigrationRefused."""
    tag = script.migration_tag if script else None
    found = Plan({one.class_name: one for one in of_script(session, script)}, tag)
    if migrations is None:
        return found
    if migrations.old_tag != tag:
        raise MigrationTagMismatch(
            f'Migration tag precondition failed: the upload expects "{migrations.old_tag or ""}", '
            f'and the current tag is "{tag or ""}". Nothing was changed.'
        )
    for step in migrations.steps:
        _apply(session, account_id, found, step)
    found.tag = migrations.new_tag or tag
    return found


def _apply(session: Session, account_id: str, found: Plan, step: Step) -> None:
    for name in (*step.new, *step.new_sqlite):
        _free(found, "new-class", name)
        found.classes[name] = ObjectClass(name, ids.hex32(), name in step.new_sqlite)
    for move in step.transferred:
        _free(found, "transfer-class", move.to_class)
        giver, one = _given(session, account_id, move)
        found.givers[giver.id] = giver
        found.classes[move.to_class] = replace(one, class_name=move.to_class)
    renamed = [_taken(found, "rename-class", move.from_class) for move in step.renamed]
    for move, one in zip(step.renamed, renamed, strict=True):
        _free(found, "rename-class", move.to_class)
        found.classes[move.to_class] = replace(one, class_name=move.to_class)
    for name in step.deleted:
        found.deleted.append(_taken(found, "delete-class", name).namespace_id)


def _free(found: Plan, what: str, name: str) -> None:
    if name in found.classes:
        raise MigrationRefused(
            f"Cannot apply {what} migration to class '{name}' that is already depended on by existing "
            "Durable Objects. Nothing was changed."
        )


def _taken(found: Plan, what: str, name: str) -> ObjectClass:
    if name not in found.classes:
        raise MigrationRefused(
            f"Cannot apply {what} migration to class '{name}': it has no Durable Objects. "
            "Nothing was changed."
        )
    return found.classes.pop(name)


def _given(session: Session, account_id: str, move: Move) -> tuple[Script, ObjectClass]:
    giver = scripts.find(session, account_id, move.from_script)
    for one in of_script(session, giver):
        if giver and one.class_name == move.from_class:
            return giver, one
    raise MigrationRefused(
        f"Cannot apply transfer-class migration: the Worker {move.from_script} has no class "
        f"'{move.from_class}' with Durable Objects. Nothing was changed."
    )


def carry_out(session: Session, script: Script, planned: Plan) -> None:
    """Make a locked script's namespaces what was planned in this transaction. The data of those that
    are deleted is for the caller to discard."""
    wanted = {one.namespace_id: one for one in planned.classes.values()}
    rows = {
        row.id: row
        for row in session.scalars(
            select(ObjectNamespace).where(
                ObjectNamespace.id.in_([*wanted, *planned.deleted]),
            )
        )
    }
    for id_ in planned.deleted:
        if id_ in rows:
            session.delete(rows.pop(id_))
    for id_, row in rows.items():
        # Names may be exchanged: first out of each other's way.
        if row.class_name != wanted[id_].class_name:
            row.class_name = f"{row.class_name}\n{id_}"
    session.flush()
    for id_, one in wanted.items():
        known = rows.get(id_)
        if known is None:
            session.add(
                ObjectNamespace(
                    id=id_, script_id=script.id, class_name=one.class_name, sqlite=one.sqlite
                )
            )
        else:
            known.class_name, known.script_id = one.class_name, script.id
    script.migration_tag = planned.tag
    session.flush()


def delete_all(session: Session, script: Script) -> list[str]:
    """Forget all namespaces of a script; gives the ids whose data is to be discarded."""
    gone = [one.namespace_id for one in of_script(session, script)]
    session.execute(delete(ObjectNamespace).where(ObjectNamespace.script_id == script.id))
    script.migration_tag = None
    return gone


# --- checking -----------------------------------------------------------------------------------


def check_bindings(
    bindings: Iterable[dict[str, Any]], planned: Plan, script_name: str
) -> list[dict[str, Any]]:
    """The bindings as a version keeps them: those to the script's own classes name no script. Raises
    ObjectClassNotConfigured for one of these to a class without Durable Objects."""
    checked = []
    for binding in bindings:
        if binding["type"] == BINDING and callee_of(binding) in ("", script_name):
            _check_class(binding["class_name"], planned)
            binding = {key: binding[key] for key in ("name", "type", "class_name")}
        checked.append(binding)
    return checked


def _check_class(name: str, planned: Plan) -> None:
    if name not in planned.classes:
        raise ObjectClassNotConfigured(
            f"Cannot create binding for class '{name}' because it is not currently configured to "
            "implement Durable Objects. Did you forget to apply a new_sqlite_classes migration to "
            "it? Nothing was changed."
        )


def check_others(session: Session, script: Script, binding: dict[str, Any]) -> None:
    """Raises ObjectClassNotConfigured for a binding to a class that this other script does not have."""
    class_name = binding["class_name"]
    if class_name not in {one.class_name for one in of_script(session, script)}:
        raise ObjectClassNotConfigured(
            f"Cannot create binding {binding['name']} for class '{class_name}' of the Worker {script.name}, "
            "because it is not currently configured to implement Durable Objects. Nothing was changed: "
            f"deploy {script.name} with a new_sqlite_classes migration for it first."
        )


def namespace_id_of(
    session: Session, account_id: str, script_name: str, class_name: str
) -> str | None:
    """Where the objects of another script's class are; None when it has no such class now."""
    query = owned_by(account_id).where(
        Script.name == script_name, ObjectNamespace.class_name == class_name
    )
    found = session.scalar(query)
    return found.id if found else None


def check_deployable(script: Script, tag: str | None, number: int) -> None:
    """Raises VersionBeforeMigration for a version from before the script's latest migration: its
    classes are not those that the objects have now."""
    if tag != script.migration_tag:
        raise VersionBeforeMigration(
            f"Version {number} of {script.name} was uploaded before its Durable Objects were migrated "
            f'(tag "{tag or ""}", now "{script.migration_tag or ""}"), so it cannot be deployed again. '
            "Nothing was changed."
        )

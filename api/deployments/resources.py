"""Bindings that lead to something of the account's: it has to be there, and stays while it is bound."""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.bindings.kinds import RESOURCE_KINDS, callee_of
from api.bindings.models import Binding
from api.d1 import service as d1
from api.db import Model
from api.deployments import service as deployments
from api.errors import MigrationRefused, NotSupported, Problem
from api.kv import service as kv
from api.nodes import stores
from api.objects import service as objects
from api.objects.service import BINDING, Plan, of_script
from api.queues import service as queues
from api.r2 import service as r2
from api.scripts import service as scripts
from api.scripts.models import Script
from api.versions.bundle import NewResource, Upload
from api.versions.models import Version
from api.workflows import service as workflows

Check = Callable[[Session, str, dict[str, Any]], None]
"""Raises Cloudflare's error for a binding to what the account does not have; else holds it until the
end of the transaction."""

STORAGE: dict[str, Check] = {
    "kv_namespace": kv.check_binding,
    "d1": d1.check_binding,
    "r2_bucket": r2.check_binding,
    "queue": queues.check_binding,
}
MAKE: dict[str, Callable[[Session, str, str, str], object]] = {
    "kv_namespace": kv.create,
    "d1": d1.create,
    "r2_bucket": r2.make,
    "queue": queues.make,
}
REMOVE: dict[str, Callable[[Session, str, str], None]] = {
    "kv_namespace": kv.remove,
    "d1": d1.remove,
    "r2_bucket": r2.remove,
    "queue": queues.remove,
}


def planned(
    session: Session, account_id: str, script: Script | None, name: str, upload: Upload
) -> tuple[Upload, Plan]:
    """The upload with the classes and workflows that it binds, as they are after its migrations, and
    what these do."""
    plan = objects.plan(session, account_id, script, upload.migrations)
    checked = objects.check_bindings(upload.bindings, plan, name)
    checked = workflows.check_bindings(checked, name)
    bound = upload.with_bindings(checked).with_objects(plan.classes.values())
    return bound.with_workflows(workflows.plan(session, account_id, checked)), plan


def check(
    session: Session,
    account_id: str,
    bindings: Iterable[dict[str, Any]],
    makes: Iterable[NewResource] = (),
) -> None:
    """Raises what the binding's kind raises, NotSupported when the nodes do not share the data.
    `makes` is what need not be there yet."""
    bound = [binding for binding in bindings if binding["type"] in STORAGE]
    if bound and stores.node_count(session) > 1 and not stores.shared_bucket(session):
        raise NotSupported(
            f"Binding {bound[0]['name']} stores data, and this platform has several nodes, which need "
            "one bucket for that (SKERRY_BUCKET), the same on all of them. Nothing was changed."
        )
    coming = {(one.type, one.id) for one in makes}
    for binding in bound:
        type_ = binding["type"]
        if (type_, binding[RESOURCE_KINDS[type_]]) not in coming:
            STORAGE[type_](session, account_id, binding)


def refuse_bound_elsewhere(session: Session, planned: Plan) -> None:
    """Raises MigrationRefused for a class that comes from a script whose deployed version binds it."""
    wanted = {one.namespace_id for one in planned.classes.values()}
    for giver in planned.givers.values():
        given = {one.class_name for one in of_script(session, giver) if one.namespace_id in wanted}
        deployment = deployments.current(session, giver)
        for version, _ in deployment.shares if deployment else ():
            for binding in version.bindings:
                own = binding.type == BINDING and not callee_of(binding.attributes)
                if own and binding.attributes["class_name"] in given:
                    raise MigrationRefused(
                        f"The deployed version of {giver.name} still binds the class "
                        f"'{binding.attributes['class_name']}' ({binding.name}). Nothing was changed. "
                        "Deploy it without that binding first."
                    )


def make(session: Session, account_id: str, makes: Iterable[NewResource]) -> None:
    """Make what a version is to bind. Raises what its kind raises, for a title in use for example."""
    for one in makes:
        MAKE[one.type](session, account_id, one.title, one.id)


def remove(session: Session, account_id: str, made: Iterable[dict[str, str]]) -> None:
    """Take back what was made with a script that is gone."""
    for one in made:
        REMOVE[one["type"]](session, account_id, one["id"])


def refuse_bound(
    session: Session, row: Model, account_id: str, type_: str, id_: str, problem: type[Problem]
) -> None:
    """Lock a resource's row; raises `problem` while a deployed version binds it."""
    session.refresh(row, with_for_update=True)
    names = ", ".join(script.name for script in bound_by(session, account_id, type_, id_))
    if names:
        raise problem(
            f"It is bound by the deployed version of {names}. Nothing was deleted. Deploy without "
            "the binding, or delete the Worker first."
        )


def bound_by(session: Session, account_id: str, type_: str, id_: str) -> list[Script]:
    """The scripts whose deployed version binds it, by name."""
    query = (
        scripts.owned_by(account_id)
        .where(
            Script.id.in_(
                select(Version.script_id)
                .join(Binding, Binding.version_id == Version.id)
                .where(
                    Binding.type == type_,
                    Binding.attributes[RESOURCE_KINDS[type_]].as_string() == id_,
                )
            )
        )
        .order_by(Script.name)
    )
    return [script for script in session.scalars(query) if _deployed(session, script, type_, id_)]


def _deployed(session: Session, script: Script, type_: str, id_: str) -> bool:
    deployment = deployments.current(session, script)
    return deployment is not None and any(
        binding.type == type_ and binding.attributes.get(RESOURCE_KINDS[type_]) == id_
        for version, _ in deployment.shares
        for binding in version.bindings
    )

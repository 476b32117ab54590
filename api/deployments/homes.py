"""Which Workers run on their account's home alone: those with Durable Objects or workflows, and those that
call one or bind what it has."""

from collections import defaultdict

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from api.bindings.kinds import CALLING_KINDS, callee_of
from api.bindings.models import Binding
from api.deployments.models import Deployment, DeploymentShare, DeploymentState
from api.nodes import homes
from api.objects import service as objects
from api.scripts import service as scripts
from api.scripts.models import Script
from api.workflows import service as workflows


def settle(session: Session, script: Script, deployment: Deployment | None) -> list[Deployment]:
    """Note of the script that is to be rolled out whether it runs at home. Answers what is deployed of
    others for which that changes with it: they have to be rolled out again."""
    if deployment is None:
        return []
    owners = {one.script_id for one in session.scalars(objects.owned_by(script.account_id))}
    owners |= {one.script_id for one in session.scalars(workflows.owned_by(script.account_id))}
    if not owners and not script.at_home:
        return []
    homes.settle(session, script.account)
    at_home = _reaching(owners, _callers(session, script.account_id))
    changed = [
        one
        for one in session.scalars(scripts.owned_by(script.account_id).order_by(Script.id))
        if one.at_home != (one.id in at_home)
    ]
    for one in changed:
        one.at_home = one.id in at_home
    session.flush()
    others = [one.id for one in changed if one.id != script.id]
    return list(session.scalars(_deployed().where(Deployment.script_id.in_(others))))


def _callers(session: Session, account_id: str) -> dict[str, set[str]]:
    """The ids of the scripts whose deployed version binds a script, by its id."""
    ids = {one.name: one.id for one in session.scalars(scripts.owned_by(account_id))}
    calls = session.execute(
        _deployed()
        .join(DeploymentShare, DeploymentShare.deployment_id == Deployment.id)
        .join(Binding, Binding.version_id == DeploymentShare.version_id)
        .where(Deployment.script_id.in_(ids.values()), Binding.type.in_(CALLING_KINDS))
        .with_only_columns(Deployment.script_id, Binding.attributes)
    )
    callers: dict[str, set[str]] = defaultdict(set)
    for caller, attributes in calls:
        if callee := ids.get(callee_of(attributes)):
            callers[callee].add(caller)
    return callers


def _deployed() -> Select[Deployment]:
    return select(Deployment).where(Deployment.state != DeploymentState.SUPERSEDED)


def _reaching(owners: set[str], callers: dict[str, set[str]]) -> set[str]:
    """The owners, those who call them, those who call these, and so on."""
    found, new = set(owners), set(owners)
    while new:
        new = {one for callee in new for one in callers.get(callee, ())} - found
        found |= new
    return found

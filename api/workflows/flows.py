"""Workflows that are made, changed and deleted by themselves, which exchanges their script's process.

Each flow opens its own transactions, because it waits for the nodes; never call one inside one.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api.clock import now
from api.db import transaction
from api.deployments import rollouts, service as deployments
from api.deployments.models import Deployment
from api.errors import NotSupported
from api.nodes import stores
from api.objects.models import KIND as OBJECTS
from api.scripts import service as scripts
from api.scripts.models import Script
from api.versions import service as versions
from api.workflows import service
from api.workflows.models import Workflow

_REFUSED = {
    "schedules": "Schedules of a workflow (use a cron trigger whose handler creates an instance)",
    "concurrency": "A limit of a workflow's concurrency",
}


@dataclass(frozen=True)
class Wanted:
    """A workflow as it is put."""

    script_name: str
    class_name: str
    options: dict[str, Any]


def put(account_id: str, name: str, wanted: Wanted) -> Workflow:
    """Make a workflow, or change whose and how it is; waits for the nodes. Raises NotSupported,
    ScriptNotFound."""
    for key, words in _REFUSED.items():
        if wanted.options.get(key):
            raise NotSupported(
                f"{words} is not supported by Skerry yet. The workflow {name} was not changed."
            )
    with transaction() as session:
        script = scripts.lock(session, account_id, wanted.script_name)
        before = service.find(session, account_id, name)
        same = before is not None and before.script_id == script.id
        options = {key: value for key, value in wanted.options.items() if value}
        if same and before and before.options == options and before.class_name == wanted.class_name:
            return before
        row, giver = service.put(session, script, name, wanted.class_name)
        same = same and row.options == options
        row.options, row.modified_at = options, now()
        session.flush()
        changed = [] if same else [*([giver] if giver else []), script]
        waiting = _roll_out(session, changed)
    _await(waiting)
    return row


def delete(account_id: str, name: str) -> None:
    """Delete a workflow with all its instances, running ones too; waits for the nodes. Raises
    WorkflowNotFound."""
    with transaction() as session:
        script = scripts.lock(
            session, account_id, service.get(session, account_id, name).script.name
        )
        row = service.get(session, account_id, name, lock=True)
        stores.discard(session, account_id, OBJECTS, row.id)
        session.delete(row)
        session.flush()
        waiting = _roll_out(session, [script])
    _await(waiting)


def _roll_out(session: Session, changed: list[Script]) -> list[Deployment]:
    """Exchange what runs of these scripts, in this order: who loses a workflow lets go of it first."""
    current = [(script, deployments.current(session, script)) for script in changed]
    for script, deployment in current:
        if deployment is not None:
            rollouts.roll_out(session, script, deployment)
    return [deployment for _, deployment in current if deployment is not None]


def _await(waiting: list[Deployment]) -> None:
    for deployment in waiting:
        deployments.await_rollouts(deployment.id)


def version_id(session: Session, workflow: Workflow) -> str:
    """Of the code that its instances run: the deployed version's, else the newest's."""
    deployment = deployments.current(session, workflow.script)
    version = deployment.main if deployment else versions.latest(session, workflow.script)
    return version.id if version else ""

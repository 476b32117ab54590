"""What happens across chapters: from an upload to the nodes, and back out.

Each flow opens its own short transactions, because between them it starts a bundle or waits for
nodes. Never call one inside a transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import delete
from sqlalchemy.orm import Session

from api.accounts import service as accounts
from api.accounts.actor import Actor
from api.accounts.models import Account
from api.assets import service as assets
from api.clock import now
from api.crons import service as crons
from api.db import transaction
from api.deployments import (
    callers,
    resources,
    rollouts as rollout_service,
    service as deployments,
    shares,
)
from api.deployments.models import Deployment, Rollout, RolloutState
from api.errors import (
    AlreadyExists,
    BodyInvalid,
    Conflict,
    ScriptRejected,
    SecretNotChangeable,
    SecretNotFound,
    VersionHasMigration,
    VersionNotFound,
)
from api.nodes import stores
from api.objects import service as objects
from api.objects.models import KIND as OBJECTS
from api.queues import service as queues
from api.scripts import service as scripts
from api.scripts.models import Script
from api.targets import service as targets
from api.versions import checking, service as versions
from api.versions.bundle import Upload
from api.versions.models import Version
from api.workflows import service as workflows
from api.zones import leading

log = structlog.get_logger()


@dataclass(frozen=True)
class Deployed:
    """What came of a flow."""

    script: Script
    version: Version
    deployment: Deployment | None = None
    warnings: list[str] = field(default_factory=list)


# --- uploading --------------------------------------------------------------------------------


def upload_and_deploy(
    account_id: str,
    name: str,
    upload: Upload,
    *,
    by: Actor,
    message: str = "",
    subdomain: bool | None = None,
    must_be_new: bool = False,
    cron_triggers: Sequence[str] = (),
    consumes: Sequence[str] = (),
) -> Deployed:
    """Upload a version and send all traffic to it; the script is made if there is none.

    `subdomain` switches the live URL on or off in the same step; None leaves it as it is.
    `cron_triggers` are set for a new script, which consumes the queues called `consumes`.
    """
    scripts.check_name(name)

    def write(session: Session, prepared: Upload, start: checking.Start) -> Deployed:
        script = scripts.lock_or_create(session, account_id, name)
        if must_be_new:
            _refuse_existing(script)
            workflows.refuse_taken(session, account_id, prepared.bindings)
        if subdomain is not None:
            script.subdomain_enabled = subdomain
        if cron_triggers:
            crons.replace_triggers(session, script, list(cron_triggers))
        scripts.observe(script, upload.options.get("observability"))
        _migrate(session, script, prepared)
        lost = workflows.carry_out(session, script, prepared.bindings, take=True)
        _let_go(session, lost)
        version = versions.store(session, script, prepared, start, by=by)
        deployment = deployments.deploy(
            session,
            script,
            {version: 100},
            message=message or upload.message,
            triggered_by=upload.triggered_by,
            by=by,
        )
        _tell_callers(session, script, prepared)
        queues.consume_all(session, script, consumes)
        return Deployed(script, version, deployment)

    if must_be_new:
        with transaction() as session:
            if found := scripts.find(session, account_id, name):
                _refuse_existing(found)
    return _upload(account_id, name, upload, write)


def create_worker(
    account_id: str,
    name: str,
    upload: Upload,
    *,
    by: Actor,
    crons: Sequence[str] = (),
    consumes: Sequence[str] = (),
) -> Deployed:
    """Make a script from a template, live at once, or leave nothing behind; waits for the nodes.

    Raises AlreadyExists for a name in use, and ScriptRejected when a node cannot start it: it is
    removed then. What a node says after the wait is for the person to act on: `remove_failed`.
    """
    deployed = upload_and_deploy(
        account_id,
        name,
        upload,
        by=by,
        subdomain=True,
        must_be_new=True,
        cron_triggers=crons,
        consumes=consumes,
    )
    if deployed.deployment and _failures(deployments.await_rollouts(deployed.deployment.id)):
        raise ScriptRejected(remove_failed(account_id, name, by=by))
    return deployed


def remove_failed(account_id: str, name: str, *, by: Actor) -> str:
    """Remove a script whose first deployment failed; says which node said what.

    Raises Conflict if it did not fail, or if anything was uploaded or deployed since.
    """
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        deployment = deployments.current(session, script)
        failed = _failures(deployments.rollouts(session, deployment)) if deployment else []
        if not failed or (script.version_number, script.deployment_number) != (1, 1):
            raise Conflict(
                f"{name} has been deployed since, or starts after all. Nothing was removed."
            )
        said = f"{failed[0].target.name} could not start it: {failed[0].reason}"
        made = deployment.main.options.get("made", []) if deployment else []
        queues.leave_script(session, script, force=True)
        _remove(session, script)
        resources.remove(session, account_id, made)
    deployments.await_withdrawal(script.id)
    log.info("failed_script_removed", script_id=script.id, author_id=by.id)
    return f"{said}\n{name} was removed again, and nothing is left of it."


def _failures(rollouts: list[Rollout]) -> list[Rollout]:
    return [rollout for rollout in rollouts if rollout.state == RolloutState.FAILED]


def upload_version(account_id: str, name: str, upload: Upload, *, by: Actor) -> Deployed:
    """Upload a version of an existing script without deploying it."""
    if upload.migrations:
        raise VersionHasMigration(
            "Version upload failed. You attempted to upload a version of a Worker that includes a "
            "Durable Object migration, but migrations must be fully applied via a non-versioned "
            "deployment: use `wrangler deploy`. Nothing was changed."
        )
    with transaction() as session:
        scripts.get(session, account_id, name)

    def write(session: Session, prepared: Upload, start: checking.Start) -> Deployed:
        script = scripts.lock(session, account_id, name)
        workflows.carry_out(session, script, prepared.bindings, take=False)
        return Deployed(script, versions.store(session, script, prepared, start, by=by))

    return _upload(account_id, name, upload, write)


def _refuse_existing(script: Script) -> None:
    # A script that was made a moment ago in this transaction has no version yet.
    if script.version_number:
        raise AlreadyExists(
            f"There is a Worker called {script.name} already. Nothing was changed. "
            "Open it, or choose another name."
        )


def _upload(
    account_id: str,
    name: str,
    upload: Upload,
    write: Callable[[Session, Upload, checking.Start], Deployed],
) -> Deployed:
    """Resolve bindings (transaction), start the bundle once (none), write it (transaction)."""
    with transaction() as session:
        prepared = _prepared(session, account_id, name, upload)
    start = checking.start_once(prepared, script_name=name)
    with transaction() as session:
        scripts.take_turn(session, account_id)
        resources.make(session, account_id, upload.makes)
        # Again: a secret may have been set while the bundle was starting.
        prepared = _prepared(session, account_id, name, upload)
        deployed = write(session, prepared, start)
    warnings = [*upload.warnings, *start.warnings]
    return Deployed(deployed.script, deployed.version, deployed.deployment, warnings)


def _prepared(session: Session, account_id: str, name: str, upload: Upload) -> Upload:
    """The upload with everything that it keeps, inherits or has uploaded before."""
    script = scripts.find(session, account_id, name)
    with_bindings = versions.resolved(session, script, upload)
    with_bindings, planned = resources.planned(session, account_id, script, name, with_bindings)
    resources.check(session, account_id, with_bindings.bindings, upload.makes)
    resources.refuse_bound_elsewhere(session, planned)
    callers.check(session, account_id, name, with_bindings.bindings)
    return assets.resolved(session, account_id, name, with_bindings)


def _migrate(session: Session, script: Script, prepared: Upload) -> None:
    """Carry out what the upload's migrations say of the locked script's Durable Objects."""
    if prepared.migrations is None:
        return
    planned = objects.plan(session, script.account_id, script, prepared.migrations)
    # What was checked is what is written: the ids of new namespaces are chosen once.
    planned.classes = {one.class_name: one for one in prepared.objects}
    objects.carry_out(session, script, planned)
    for id_ in planned.deleted:
        stores.discard(session, script.account_id, OBJECTS, id_)
    _let_go(session, planned.givers.values())


def _tell_callers(session: Session, script: Script, prepared: Upload) -> None:
    """Who binds a class makes its ids, and has to know where its objects are after a migration."""
    if prepared.migrations:
        for caller in callers.callers(session, script.account_id, script.name):
            deployments.tell_nodes(session, caller)


def _let_go(session: Session, givers: Iterable[Script]) -> None:
    """Before the script that takes it: what others give has to be let go of."""
    for giver in givers:
        deployment = deployments.current(session, giver)
        if deployment is not None:
            rollout_service.roll_out(session, giver, deployment)


# --- deploying --------------------------------------------------------------------------------


def deploy_version(
    account_id: str,
    name: str,
    wanted: Iterable[tuple[str, float]],
    *,
    by: Actor,
    message: str = "",
    triggered_by: str = "promotion",
) -> Deployment:
    """Send traffic to one or two versions that are there, by their ids with percentages: a promotion,
    a step of a gradual one, or a roll back to an older version."""
    checked = shares.check(wanted)
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        found = {versions.get(session, script, id_): share for id_, share in checked.items()}
        shares.refuse_one_home(session, script, list(found))
        for version in found:
            tag = version.options.get(objects.TAG_OPTION)
            objects.check_deployable(script, tag, version.number)
            bindings = [one.public() for one in version.bindings]
            resources.check(session, account_id, bindings)
            callers.check(session, account_id, name, bindings)
        return deployments.deploy(
            session, script, found, message=message, triggered_by=triggered_by, by=by
        )


def roll_back(account_id: str, name: str, version_id: str, *, by: Actor) -> Deployment:
    """Deploy an older version again."""
    return deploy_version(
        account_id, name, [(version_id, 100)], by=by, message="Rollback", triggered_by="rollback"
    )


def settled(deployment: Deployment) -> list[Rollout]:
    """Wait for the nodes; raises ScriptRejected when every one of them refused."""
    rollouts = deployments.await_rollouts(deployment.id)
    if rollouts and all(rollout.state == RolloutState.FAILED for rollout in rollouts):
        raise ScriptRejected(
            f"Deployment {deployment.id} was stored, but no node could start it, and the version "
            f"before keeps answering. {rollouts[0].target.name} said: {rollouts[0].reason}"
        )
    return rollouts


def describe(rollouts: list[Rollout]) -> list[str]:
    """One sentence a target: what a deploy's answer says about the nodes."""
    if not rollouts:
        return ["No node is enrolled yet: the deployment is stored and waits for the first one."]
    return [_describe(rollout) for rollout in rollouts]


def _describe(rollout: Rollout) -> str:
    name = rollout.target.name
    if rollout.state == RolloutState.ACKNOWLEDGED and rollout.deployment_id is None:
        return f"{name} withdrew it."
    if rollout.state == RolloutState.ACKNOWLEDGED:
        return f"{name} acknowledged generation {rollout.generation}."
    if rollout.state == RolloutState.FAILED:
        return f"{name} could not start it and keeps the version before: {rollout.reason}"
    if rollout.state == RolloutState.SUPERSEDED:
        return f"{name} was sent a newer deployment meanwhile."
    return f"{name} has not answered yet; it gets the deployment as soon as it can be reached."


# --- secrets ----------------------------------------------------------------------------------


def change_secrets(
    account_id: str,
    name: str,
    changes: Mapping[str, str | None],
    *,
    by: Actor,
    message: str = "",
    tag: str = "",
    deploy: bool = True,
) -> Deployed:
    """A version that differs from the latest in its secrets only; None deletes one.

    With `deploy` it gets all traffic, which raises SecretNotChangeable if the latest version is
    not the deployed one: the change would put untested code live.
    """
    with transaction() as session:
        script = scripts.get(session, account_id, name)
        upload = _with_secrets(session, script, changes, deploying=deploy)
    start = checking.start_once(upload, script_name=name)
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        upload = _with_secrets(session, script, changes, deploying=deploy)
        upload = upload.annotated(message=message, tag=tag, triggered_by="secret")
        version = versions.store(session, script, upload, start, by=by)
        if not deploy:
            return Deployed(script, version)
        deployment = deployments.deploy(
            session, script, {version: 100}, message=message, triggered_by="secret", by=by
        )
        return Deployed(script, version, deployment)


def _with_secrets(
    session: Session, script: Script, changes: Mapping[str, str | None], *, deploying: bool
) -> Upload:
    if not changes:
        raise BodyInvalid("No secret is named that is to be set or deleted. Nothing was changed.")
    latest = versions.latest(session, script)
    if latest is None:
        raise VersionNotFound(f"{script.name} has no version yet. Deploy it first.")
    deployed = deployments.current(session, script)
    if deploying and (split := shares.split_words(deployed)):
        raise SecretNotChangeable(
            f"The requests are split between {split}, so setting a secret would send all "
            "of them to one. Nothing was changed. Deploy one version at 100 % first, or use "
            "`wrangler versions secret put`."
        )
    if deploying and (deployed is None or latest.id != deployed.main.id):
        raise SecretNotChangeable(
            "The latest version is not the deployed one, so setting a secret would put it live. "
            "Nothing was changed. Deploy the latest version first, or use "
            "`wrangler versions secret put`."
        )
    upload = versions.as_upload(session, latest)
    kept = [binding for binding in upload.bindings if binding["name"] not in changes]
    _refuse_unknown(latest, changes)
    added = [
        {"name": secret, "type": "secret_text", "text": text}
        for secret, text in changes.items()
        if text is not None
    ]
    return upload.with_bindings(kept + added)


def _refuse_unknown(latest: Version, changes: Mapping[str, str | None]) -> None:
    present = {binding.name: binding.type for binding in latest.bindings}
    for name, text in changes.items():
        if text is None and present.get(name) != "secret_text":
            raise SecretNotFound(f"There is no secret called {name}. Nothing was changed.")
        if text is not None and present.get(name, "secret_text") != "secret_text":
            raise AlreadyExists(
                f"{name} is a binding of type {present[name]} already. Nothing was changed."
            )


# --- reachability, settings and the end -------------------------------------------------------


def set_subdomain(account_id: str, name: str, *, enabled: bool) -> tuple[Script, Deployment | None]:
    """Switch the live URL on or off; the deployment that is rolled out again, if there is one."""
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        changed = script.subdomain_enabled != enabled
        script.subdomain_enabled = enabled
        deployment = deployments.current(session, script)
        if changed and deployment is not None:
            rollout_service.roll_out(session, script, deployment)
        return script, deployment


def change_settings(
    account_id: str, name: str, changes: dict[str, Any]
) -> tuple[Script, Deployment | None]:
    """Change a script's settings; the deployment that is rolled out again, if nodes must hear of it."""
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        if not scripts.change_settings(script, changes):
            return script, None
        deployment = deployments.current(session, script)
        if deployment is not None:
            rollout_service.roll_out(session, script, deployment)
        return script, deployment


def rename_subdomain(account: Account, subdomain: str) -> None:
    """Move every script of the account to host names under another subdomain."""
    with transaction() as session:
        mine = session.merge(account)
        if not accounts.rename_subdomain(session, mine, subdomain):
            return
        # All scripts before any node: the order in which every flow locks.
        for script in scripts.lock_all(session, mine.id):
            deployment = deployments.current(session, script)
            if script.subdomain_enabled and deployment is not None:
                rollout_service.roll_out(session, script, deployment)


def delete_script(
    account_id: str,
    name: str,
    *,
    by: Actor,
    force: bool = False,
    unless_called: bool | None = None,
) -> list[Rollout]:
    """Withdraw a script everywhere and delete its versions and secrets; waits for the nodes.

    Raises ScriptConsumes for the consumer of a queue and ScriptCalled while other scripts bind it,
    unless `force` is given; `unless_called` says for the latter alone whether it is raised.
    """
    del by  # the audit log will want it
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        if not force if unless_called is None else unless_called:
            callers.refuse_called(session, account_id, script)
        queues.leave_script(session, script, force=force)
        _remove(session, script)
    return deployments.await_withdrawal(script.id)


def _remove(session: Session, script: Script) -> None:
    script.deleted_at = now()
    crons.delete_all(session, script)
    leading.delete_all(session, script)
    for id_ in objects.delete_all(session, script):
        stores.discard(session, script.account_id, OBJECTS, id_)
    for id_ in workflows.delete_all(session, script):
        stores.discard(session, script.account_id, OBJECTS, id_)
    session.execute(delete(Deployment).where(Deployment.script_id == script.id))
    versions.delete_all(session, script)
    rollout_service.roll_out(session, script, None)
    for target in targets.chosen(session, script):
        targets.leave(session, script, target)

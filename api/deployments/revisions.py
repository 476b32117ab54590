"""Revise: a new version that differs from the one that runs in one respect.

Its flows open their own transactions, as those of `flows` do; never call one inside a transaction.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from api.accounts.actor import Actor
from api.assets import service as assets
from api.bindings.kinds import check_bindings
from api.db import transaction
from api.deployments import resources, service as deployments, shares
from api.deployments.flows import Deployed
from api.errors import (
    AlreadyExists,
    BindingNotFound,
    NewerVersion,
    SettingsNotChangeable,
    VersionNotFound,
)
from api.scripts import service as scripts, urls
from api.scripts.models import Script
from api.versions import checking, service as versions
from api.versions.bundle import Upload
from api.versions.metadata import check_date
from api.versions.models import Version
from api.versions.previewing import Preview, PreviewRequest, run_once

Edit = Callable[[Upload], Upload]


def running(session: Session, script: Script) -> Version:
    """What a revision starts from: the deployed version (of two, that with the larger
    share), or the latest while none is deployed."""
    deployment = deployments.current(session, script)
    version = deployment.main if deployment else versions.latest(session, script)
    if version is None:
        raise VersionNotFound(f"{script.name} has no version yet. Deploy it first.")
    return version


def revise(
    account_id: str,
    name: str,
    edit: Edit,
    *,
    by: Actor,
    message: str,
    triggered_by: str = "upload",
    deploy: bool = True,
    newest_seen: int | None = None,
) -> Deployed:
    """Store what `edit` makes of the running version, and send all traffic to it.

    Raises NewerVersion if another version went live while this one was started for the check, or if
    there is a version with a higher number than `newest_seen`. Raises SettingsNotChangeable for a change of
    settings while two versions share the requests.
    """
    settings_only = deploy and triggered_by == "settings"
    with transaction() as session:
        script = scripts.get(session, account_id, name)
        _refuse_unseen(script, newest_seen)
        if settings_only:
            _refuse_split(session, script)
        before = running(session, script)
        started_id = before.id
        upload = edit(versions.as_upload(session, before))
    start = checking.start_once(upload, script_name=name)
    with transaction() as session:
        script = scripts.lock(session, account_id, name)
        _refuse_unseen(script, newest_seen)
        if settings_only:
            _refuse_split(session, script)
        if running(session, script).id != started_id:
            raise NewerVersion(
                f"Another version of {name} was deployed while this one was checked. Nothing was "
                "changed. Look at what runs now, and save again."
            )
        upload = upload.annotated(message=message, tag="", triggered_by=triggered_by)
        version = versions.store(session, script, upload, start, by=by)
        deployment = None
        if deploy:
            deployment = deployments.deploy(
                session, script, {version: 100}, message=message, triggered_by=triggered_by, by=by
            )
        return Deployed(script, version, deployment, start.warnings)


def _refuse_unseen(script: Script, newest_seen: int | None) -> None:
    if newest_seen is not None and script.version_number > newest_seen:
        raise NewerVersion(
            f"There is a newer version of {script.name} by now: {script.version_number}. "
            "Nothing was saved."
        )


def _refuse_split(session: Session, script: Script) -> None:
    """Who changes a setting has not asked for the end of a gradual deployment."""
    if split := shares.split_words(deployments.current(session, script)):
        raise SettingsNotChangeable(
            f"The requests are split between {split}, so a changed setting would send all "
            "of them to one. Nothing was changed. Deploy one version at 100 % first."
        )


def preview(account_id: str, name: str, edit: Edit, request: PreviewRequest) -> Preview:
    """Ask once what `edit` makes of the running version; nothing is stored."""
    with transaction() as session:
        script = scripts.get(session, account_id, name)
        upload = edit(versions.as_upload(session, running(session, script)))
        origin = urls.origin(urls.hostname(script))
    return run_once(upload, request, script_name=name, origin=origin)


def preview_upload(account_id: str, name: str, upload: Upload, request: PreviewRequest) -> Preview:
    """Ask an upload once, with the bindings that it keeps and inherits; nothing is stored."""
    with transaction() as session:
        script = scripts.get(session, account_id, name)
        upload = assets.resolved(
            session, account_id, name, versions.resolved(session, script, upload)
        )
        upload, _ = resources.planned(session, account_id, script, name, upload)
        origin = urls.origin(urls.hostname(script))
    return run_once(upload, request, script_name=name, origin=origin)


def put_binding(
    account_id: str, name: str, binding: dict[str, Any], *, replacing: str | None, by: Actor
) -> Deployed:
    """Add a variable or secret, or put it in the place of the one called `replacing`.

    A secret without a text keeps the text of the secret that it replaces. Raises AlreadyExists for
    a name in use, BindingNotFound if there is nothing to replace.
    """

    def edit(upload: Upload) -> Upload:
        return upload.with_bindings(check_bindings(_with(upload.bindings, binding, replacing)))

    said = f"{binding['name']} {'changed' if replacing else 'added'}"
    return revise(account_id, name, edit, by=by, message=said, triggered_by="settings")


def _with(
    present: list[dict[str, Any]], binding: dict[str, Any], replacing: str | None
) -> list[dict[str, Any]]:
    names = [other["name"] for other in present]
    if binding["name"] != replacing and binding["name"] in names:
        raise AlreadyExists(f"There is a binding called {binding['name']} already.")
    if replacing is None:
        return [*present, binding]
    if replacing not in names:
        raise BindingNotFound(f"There is no variable or secret called {replacing} any more.")
    place = names.index(replacing)
    kept = present[place].get("text") if present[place]["type"] == "secret_text" else None
    if binding["type"] == "secret_text" and "text" not in binding and kept is not None:
        binding = {**binding, "text": kept}
    return [*present[:place], binding, *present[place + 1 :]]


def set_bindings(
    account_id: str, name: str, changes: list[dict[str, Any]], *, by: Actor
) -> Deployed:
    """Give variables and secrets these values, new ones too; the others stay as they are."""
    by_name = {binding["name"]: binding for binding in changes}

    def edit(upload: Upload) -> Upload:
        present = [binding["name"] for binding in upload.bindings]
        kept = [by_name.get(binding["name"], binding) for binding in upload.bindings]
        added = [binding for binding in changes if binding["name"] not in present]
        return upload.with_bindings(check_bindings([*kept, *added]))

    said = f"{', '.join(by_name)} changed"[:1000]
    return revise(account_id, name, edit, by=by, message=said, triggered_by="settings")


def remove_binding(account_id: str, name: str, binding_name: str, *, by: Actor) -> Deployed:
    """Take a variable or secret away; raises BindingNotFound if there is none of that name."""

    def edit(upload: Upload) -> Upload:
        kept = [binding for binding in upload.bindings if binding["name"] != binding_name]
        if len(kept) == len(upload.bindings):
            raise BindingNotFound(f"There is no variable or secret called {binding_name} any more.")
        return upload.with_bindings(kept)

    said = f"{binding_name} removed"
    return revise(account_id, name, edit, by=by, message=said, triggered_by="settings")


def set_compatibility(
    account_id: str, name: str, date: str, flags: list[str], *, by: Actor
) -> Deployed:
    """Run the same modules with another compatibility date and other flags."""
    date = check_date(date)

    def edit(upload: Upload) -> Upload:
        return replace(upload, compatibility_date=date, compatibility_flags=flags)

    return revise(
        account_id, name, edit, by=by, message="Compatibility changed", triggered_by="settings"
    )


def set_cpu_limit(account_id: str, name: str, cpu_ms: int | None, *, by: Actor) -> Deployed:
    """Run the same modules with another limit of CPU; None leaves it to the node."""

    def edit(upload: Upload) -> Upload:
        limits = {**upload.options.get("limits", {}), "cpu_ms": cpu_ms}
        kept = {key: value for key, value in limits.items() if value is not None}
        return replace(upload, options={**upload.options, "limits": kept})

    return revise(account_id, name, edit, by=by, message="Limits changed", triggered_by="settings")

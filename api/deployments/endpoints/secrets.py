import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from api.bindings.kinds import SECRET_KINDS, VARIABLE_KINDS, check_bindings
from api.db import DB
from api.deployments import flows, revisions
from api.deployments.schemas import BulkSecret, BulkSecretsIn, LatestVersionIn, SecretIn, SecretOut
from api.envelope import Envelope, answer
from api.errors import NotSupported, SecretNotFound, UploadMalformed
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.security import CurrentAccount, CurrentActor
from api.versions import service as versions
from api.versions.multipart import opened_form, text_part
from api.versions.schemas import SettingsOut, VersionOut, version_out

router = APIRouter(prefix="/accounts/{account_id}/workers", tags=["secrets"])


def _secrets_of(session: DB, account: CurrentAccount, name: str) -> list[dict[str, str]]:
    latest = versions.latest(session, scripts.get(session, account, name))
    bindings = latest.bindings if latest else []
    return [{"name": b.name, "type": b.type} for b in bindings if b.type in SECRET_KINDS]


def _change(actor: CurrentActor, name: str, changes: dict[str, str | None]) -> list[str]:
    check_bindings([_secret(key, text) for key, text in changes.items() if text is not None])
    changed = flows.change_secrets(actor.account_id, name, changes, by=actor)
    assert changed.deployment is not None  # noqa: S101 - without `deploy=False` there is one
    return flows.describe(flows.settled(changed.deployment))


def _secret(name: str, text: str) -> dict[str, str]:
    return {"name": name, "type": "secret_text", "text": text}


def _texts(secrets: dict[str, BulkSecret | None]) -> dict[str, str | None]:
    return {name: secret.text if secret else None for name, secret in secrets.items()}


@router.get("/scripts/{name}/secrets", response_model=Envelope[list[SecretOut]])
def list_secrets(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """The names of the latest version's secrets. Their text is never given out."""
    return answer(_secrets_of(session, account, name))


@router.put("/scripts/{name}/secrets", response_model=Envelope[SecretOut])
def put_secret(actor: CurrentActor, name: ScriptName, body: SecretIn) -> dict[str, Any]:
    """Set a secret: makes a version with it and deploys that."""
    progress = _change(actor, name, {body.name: body.text})
    return answer({"name": body.name, "type": body.type}, progress)


@router.patch("/scripts/{name}/secrets-bulk", response_model=Envelope[list[SecretOut]])
def change_secrets(actor: CurrentActor, name: ScriptName, body: BulkSecretsIn) -> dict[str, Any]:
    """Set and delete several secrets in one new version."""
    progress = _change(actor, name, _texts(body.secrets))
    kept = [key for key, secret in body.secrets.items() if secret]
    return answer([{"name": key, "type": "secret_text"} for key in kept], progress)


@router.get("/scripts/{name}/secrets/{secret_name:path}", response_model=Envelope[SecretOut])
def get_secret(
    session: DB, account: CurrentAccount, name: ScriptName, secret_name: str
) -> dict[str, Any]:
    """Whether there is such a secret."""
    for secret in _secrets_of(session, account, name):
        if secret["name"] == secret_name:
            return answer(secret)
    raise SecretNotFound(f"There is no secret called {secret_name}.")


@router.delete("/scripts/{name}/secrets/{secret_name:path}", response_model=Envelope[None])
def delete_secret(
    actor: CurrentActor, name: ScriptName, secret_name: str, url_encoded: bool = False
) -> dict[str, Any]:
    """Delete a secret: makes a version without it and deploys that."""
    del url_encoded
    return answer(None, _change(actor, name, {secret_name: None}))


@router.patch("/workers/{name}/versions/latest", response_model=Envelope[VersionOut])
def change_latest_version(
    actor: CurrentActor, name: ScriptName, body: LatestVersionIn
) -> dict[str, Any]:
    """A version that differs from the latest in its secrets, without deploying it."""
    changes = _texts(body.env)
    check_bindings([_secret(key, text) for key, text in changes.items() if text is not None])
    changed = flows.change_secrets(
        actor.account_id,
        name,
        changes,
        by=actor,
        message=(body.annotations.get("workers/message") or "")[:1000],
        tag=(body.annotations.get("workers/tag") or "")[:100],
        deploy=False,
    )
    return answer(version_out(changed.version))


# --- wrangler 3 and 4.86 set several secrets by patching the settings -------------------------


async def settings_part(request: Request) -> list[dict[str, Any]]:
    """The `bindings` of the multipart part `settings`."""
    async with opened_form(request) as form:
        text = await text_part(form, "settings")
    try:
        bindings = json.loads(text)["bindings"]
        if not all(isinstance(b["name"], str) and isinstance(b["type"], str) for b in bindings):
            raise TypeError("name and type must be text")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UploadMalformed("`settings` must be JSON with a list of `bindings`.") from error
    return list(bindings)


_SETTINGS_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["settings"],
                    "properties": {"settings": {"type": "string"}},
                }
            }
        },
    }
}


@router.patch(
    "/scripts/{name}/settings", response_model=Envelope[SettingsOut], openapi_extra=_SETTINGS_SCHEMA
)
def patch_settings(
    actor: CurrentActor,
    name: ScriptName,
    bindings: Annotated[list[dict[str, Any]], Depends(settings_part)],
) -> dict[str, Any]:
    """Set the secrets and variables among the bindings; those without a value, or not named, are kept."""
    changes: dict[str, str | None] = {}
    variables: list[dict[str, Any]] = []
    for binding in bindings:
        if binding["type"] in SECRET_KINDS and binding.get("text") is not None:
            changes[binding["name"]] = binding["text"]
        elif binding["type"] in VARIABLE_KINDS and set(binding) - {"name", "type"}:
            variables.append(binding)
        elif set(binding) - {"name", "type"} and binding["type"] not in SECRET_KINDS:
            raise NotSupported(
                f"Only variables and secrets can be changed without an upload; {binding['name']} is none. "
                "Nothing was changed: deploy the script with the new binding."
            )
    secrets = [_secret(key, text) for key, text in changes.items() if text is not None]
    checked = check_bindings([*variables, *secrets])
    if variables:
        changed = revisions.set_bindings(actor.account_id, name, checked, by=actor)
    else:
        changed = flows.change_secrets(actor.account_id, name, changes, by=actor)
    version = changed.version
    return answer(
        {
            "bindings": [binding.public() for binding in version.bindings],
            "compatibility_date": version.compatibility_date,
            "compatibility_flags": version.compatibility_flags,
        },
        flows.describe(flows.settled(changed.deployment)) if changed.deployment else [],
    )

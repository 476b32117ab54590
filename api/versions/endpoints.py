from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from api.accounts.endpoints import paged
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.errors import VersionNotFound
from api.pagination import RequestedPage
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName, tags_of
from api.security import CurrentAccount
from api.versions import service
from api.versions.content import encode_modules
from api.versions.models import Version
from api.versions.schemas import SettingsOut, VersionList, VersionOut, annotations_of, version_out

router = APIRouter(prefix="/accounts/{account_id}/workers/scripts/{name}", tags=["versions"])
VersionId = Annotated[str, Path(description="A version's id: a UUID.")]


@router.get("/versions", response_model=PagedEnvelope[VersionList])
def list_versions(
    session: DB,
    account: CurrentAccount,
    name: ScriptName,
    page: RequestedPage,
    deployable: Annotated[bool, Query(description="Every stored version is deployable.")] = False,
) -> dict[str, Any]:
    """The versions of a script, newest first."""
    del deployable
    script = scripts.get(session, account, name)
    listing = service.page_of_versions(session, script, page)
    items = [version_out(version) for version in listing.rows]
    return {**paged(listing, []), "result": {"items": items}}


@router.get("/versions/{version_id}", response_model=Envelope[VersionOut])
def get_version(
    session: DB, account: CurrentAccount, name: ScriptName, version_id: VersionId
) -> dict[str, Any]:
    script = scripts.get(session, account, name)
    return answer(version_out(service.get(session, script, version_id)))


@router.get("/settings", response_model=Envelope[SettingsOut])
def get_settings(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """Bindings and compatibility of the latest version."""
    script = scripts.get(session, account, name)
    version = _latest(session, account, name)
    return answer(
        {
            "bindings": [binding.public() for binding in version.bindings],
            "compatibility_date": version.compatibility_date,
            "compatibility_flags": version.compatibility_flags,
            "tags": tags_of(script),
            "annotations": annotations_of(version.message, version.tag, version.triggered_by),
        }
    )


@router.get(
    "/content/v2",
    response_class=Response,
    responses={200: {"content": {"multipart/form-data": {}}}},
)
def get_content(
    session: DB,
    account: CurrentAccount,
    name: ScriptName,
    version: Annotated[
        str | None, Query(description="A version's id; the latest without it.")
    ] = None,
) -> Response:
    """The modules of a version as a multipart form; `cf-entrypoint` names the main one."""
    script = scripts.get(session, account, name)
    found = service.get(session, script, version) if version else _latest(session, account, name)
    body, content_type = encode_modules(service.as_upload(session, found))
    return Response(body, media_type=content_type, headers={"cf-entrypoint": found.main_module})


def _latest(session: DB, account: CurrentAccount, name: str) -> Version:
    version = service.latest(session, scripts.get(session, account, name))
    if version is None:
        raise VersionNotFound(f"{name} has no version yet. Deploy it first.")
    return version

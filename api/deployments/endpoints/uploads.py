from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.deployments import flows, revisions
from api.deployments.schemas import UploadedScript, uploaded_out
from api.envelope import Envelope, answer
from api.scripts.endpoints import ScriptName
from api.security import CurrentActor
from api.versions.multipart import MULTIPART_SCHEMA, MultipartPreview, MultipartUpload
from api.versions.schemas import PreviewOut, VersionOut, preview_out, version_out

router = APIRouter(prefix="/accounts/{account_id}/workers/scripts/{name}", tags=["uploads"])
Strict = Annotated[str | None, Query(description="A missing `inherit` binding is always refused.")]


@router.put("", response_model=Envelope[UploadedScript], openapi_extra=MULTIPART_SCHEMA)
def upload_script(
    actor: CurrentActor, name: ScriptName, upload: MultipartUpload, bindings_inherit: Strict = None
) -> dict[str, Any]:
    """Upload a version and send all traffic to it; makes the script if there is none."""
    del bindings_inherit
    deployed = flows.upload_and_deploy(actor.account_id, name, upload, by=actor)
    assert deployed.deployment is not None  # noqa: S101 - this flow always deploys
    progress = flows.describe(flows.settled(deployed.deployment))
    return answer(uploaded_out(deployed), [*deployed.warnings, *progress])


@router.post("/versions", response_model=Envelope[VersionOut], openapi_extra=MULTIPART_SCHEMA)
def upload_version(
    actor: CurrentActor, name: ScriptName, upload: MultipartUpload, bindings_inherit: Strict = None
) -> dict[str, Any]:
    """Upload a version without deploying it."""
    del bindings_inherit
    uploaded = flows.upload_version(actor.account_id, name, upload, by=actor)
    return answer(version_out(uploaded.version), uploaded.warnings)


@router.post("/preview", response_model=Envelope[PreviewOut], openapi_extra=MULTIPART_SCHEMA)
def preview_script(
    actor: CurrentActor, name: ScriptName, wanted: MultipartPreview
) -> dict[str, Any]:
    """Run an upload once without storing it; ours, not Cloudflare's.

    `request` of the metadata is what it is asked: `method`, `path`, `headers`, `body`. It runs with
    its bindings, reaches nothing outside, and has 8 seconds to answer.
    """
    upload, request = wanted
    return answer(preview_out(revisions.preview_upload(actor.account_id, name, upload, request)))

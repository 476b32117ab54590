from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from api.assets import service, tokens
from api.db import DB
from api.envelope import Envelope, answer
from api.errors import NotAuthenticated, UploadMalformed
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.security import AccountId, Credentials, CurrentAccount
from api.versions.multipart import opened_form

router = APIRouter(prefix="/accounts/{account_id}/workers", tags=["assets"])


class SessionIn(BaseModel):
    """Every file by its path: `hash` names the content, `size` is in bytes."""

    manifest: dict[str, dict[str, Any]]


class SessionOut(BaseModel):
    jwt: str
    buckets: list[list[str]]


class BucketOut(BaseModel):
    jwt: str | None = None


_BUCKET_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "format": "binary"},
                }
            }
        },
    }
}


@router.post("/scripts/{name}/assets-upload-session", response_model=Envelope[SessionOut])
def open_session(
    session: DB, account: CurrentAccount, name: ScriptName, body: SessionIn
) -> dict[str, Any]:
    """Begin an upload of static assets; the script need not exist yet."""
    scripts.check_name(name)
    token, buckets = service.open_session(session, account, name, body.manifest)
    return answer({"jwt": token, "buckets": buckets})


async def sent_bucket(request: Request, credentials: Credentials) -> tuple[str, dict[str, bytes]]:
    """The session's token, and files as base64 by the hash that is the name of their part."""
    if credentials is None:
        raise NotAuthenticated("Send the upload session's token as `Authorization: Bearer …`.")
    token = credentials.credentials
    tokens.session_of(token, tokens.UPLOADING)
    async with opened_form(request) as form:
        return token, {
            name: await part.read() if isinstance(part, UploadFile) else part.encode()
            for name, part in form.multi_items()
        }


@router.post(
    "/assets/upload",
    response_model=Envelope[BucketOut],
    responses={201: {"model": Envelope[BucketOut], "description": "The upload is complete."}},
    openapi_extra=_BUCKET_SCHEMA,
)
def upload_bucket(
    session: DB,
    response: Response,
    account_id: AccountId,
    sent: Annotated[tuple[str, dict[str, bytes]], Depends(sent_bucket)],
    base64: Annotated[bool, Query(description="Files are always sent as base64.")] = True,
) -> dict[str, Any]:
    """Take some of the files; the last request's answer has the token for the deploy.

    `Authorization` is the session's token, not an API token.
    """
    del account_id
    if not base64:
        raise UploadMalformed("Send the files as base64, with `?base64=true`.")
    token = service.take_bucket(session, *sent)
    response.status_code = 201 if token else 200
    return answer({"jwt": token})

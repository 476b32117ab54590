"""Files of SQL on their way in and out, under an address that only whoever asked for it knows: wrangler
sends no token there."""

import hashlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from api import sealing
from api.d1 import queries
from api.db import transaction
from api.errors import NotAuthenticated, TooLarge, Unavailable
from api.nodes import stores
from api.nodes.stores import Store, StoreDoor

FILE_BYTES_MAX = 512 * 1024 * 1024
ADDRESS_SECONDS = 3600.0

router = APIRouter(prefix="/d1-files", include_in_schema=False)


def address(request: Request, account_id: str, database_id: str, **more: Any) -> str:
    """An address that is good for an hour."""
    sealed = sealing.seal(
        json.dumps(
            {
                "account_id": account_id,
                "database_id": database_id,
                "until": time.time() + ADDRESS_SECONDS,
                **more,
            }
        )
    )
    return f"{request.base_url}client/v4{router.prefix}/{sealed.decode()}"


def _opened(token: str) -> tuple[dict[str, Any], StoreDoor]:
    try:
        found: dict[str, Any] = json.loads(sealing.unseal(token.encode()))
        if found["until"] < time.time():
            raise ValueError("it is too old")
    except (Unavailable, ValueError, KeyError) as error:
        raise NotAuthenticated("This address is wrong, or too old. Begin again.") from error
    with transaction() as session:
        return found, stores.door(session, found["account_id"], "d1", found["database_id"])


@router.put("/{token}")
async def upload(request: Request, token: str) -> Response:
    """Keep the file beside the database; the answer's ETag is its MD5."""
    found, door = _opened(token)
    digest = hashlib.md5(usedforsecurity=False)

    async def chunks() -> AsyncIterator[bytes]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > FILE_BYTES_MAX:
                raise TooLarge(f"A file of SQL has at most {FILE_BYTES_MAX:,} bytes.")
            digest.update(chunk)
            yield chunk

    async with stores.opened(door) as store:
        await queries.upload(store, str(found["file"]), chunks())
    return Response(headers={"ETag": f'"{digest.hexdigest()}"'})


@router.get("/{token}")
async def export(token: str) -> Response:
    """The database as SQL."""
    found, door = _opened(token)
    client = stores.client_of(door)
    try:
        answer = await queries.dump(Store(door, client), json.dumps(found["options"]).encode())
    except Exception:
        await client.aclose()
        raise
    return StreamingResponse(
        answer.aiter_raw(),
        media_type="application/sql",
        background=BackgroundTask(client.aclose),
    )

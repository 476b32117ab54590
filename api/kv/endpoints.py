from typing import Annotated, Any, Literal
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from api.accounts.endpoints import paged
from api.db import DB, transaction
from api.deployments import resources
from api.envelope import Envelope, PagedEnvelope, answer
from api.errors import KVBulkTooLarge, KVNamespaceBound
from api.kv import service, values
from api.kv.bodies import BULK_GET_KEYS_MAX, Keys, Pairs, json_body, limited, read_form
from api.kv.schemas import (
    BulkGetIn,
    BulkGetOut,
    BulkOut,
    KeysEnvelope,
    NamespaceIn,
    NamespaceOut,
    namespace_out,
)
from api.nodes import stores
from api.nodes.stores import Store, StoreDoor
from api.pagination import RequestedPage
from api.security import CurrentAccount, CurrentActor

router = APIRouter(prefix="/accounts/{account_id}/storage/kv/namespaces", tags=["kv"])
# What asks the store of a node, which the document's tests do not have.
data_router = APIRouter(prefix=router.prefix + "/{namespace_id}", tags=["kv data"])
NamespaceId = Annotated[str, Path(description="32 hex digits.")]


@router.get("", response_model=PagedEnvelope[list[NamespaceOut]])
def list_namespaces(
    session: DB,
    account: CurrentAccount,
    page: RequestedPage,
    order: Literal["id", "title"] = "title",
    direction: Literal["asc", "desc"] = "asc",
) -> dict[str, Any]:
    listing = service.page_of_namespaces(
        session, account.id, page, order=order, descending=direction == "desc"
    )
    return paged(listing, [namespace_out(namespace) for namespace in listing.rows])


@router.post("", response_model=Envelope[NamespaceOut])
def create_namespace(session: DB, account: CurrentAccount, body: NamespaceIn) -> dict[str, Any]:
    return answer(namespace_out(service.create(session, account.id, body.title)))


@router.get("/{namespace_id}", response_model=Envelope[NamespaceOut])
def get_namespace(
    session: DB, account: CurrentAccount, namespace_id: NamespaceId
) -> dict[str, Any]:
    return answer(namespace_out(service.get(session, account.id, namespace_id)))


@router.put("/{namespace_id}", response_model=Envelope[NamespaceOut])
def rename_namespace(
    session: DB, account: CurrentAccount, namespace_id: NamespaceId, body: NamespaceIn
) -> dict[str, Any]:
    return answer(namespace_out(service.rename(session, account.id, namespace_id, body.title)))


@router.delete("/{namespace_id}", response_model=Envelope[None])
def delete_namespace(
    session: DB, account: CurrentAccount, namespace_id: NamespaceId
) -> dict[str, Any]:
    """Delete a namespace with all its keys, unless a deployed Worker binds it."""
    namespace = service.get(session, account.id, namespace_id)
    resources.refuse_bound(
        session, namespace, account.id, "kv_namespace", namespace.id, KVNamespaceBound
    )
    service.delete(session, namespace)
    return answer(None)


# --- what is in it ------------------------------------------------------------------------------


def opened_namespace(actor: CurrentActor, namespace_id: NamespaceId) -> StoreDoor:
    """The way to the namespace's keys, read in a transaction of its own: no transaction stays open
    while a value passes."""
    with transaction() as session:
        namespace = service.get(session, actor.account_id, namespace_id)
        return stores.door(session, actor.account_id, service.KIND, namespace.id)


Opened = Annotated[StoreDoor, Depends(opened_namespace)]


def named_key(request: Request) -> str:
    """The key as it was sent: what is behind the last but decoded once, slashes and all."""
    path = request.scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
    for marker in ("/values/", "/metadata/"):
        _, found, encoded = path.partition(marker)
        if found:
            return values.check_key(unquote(encoded))
    return values.check_key("")


KeyName = Annotated[str, Depends(named_key)]
_KEY_IN_PATH: dict[str, Any] = {
    "parameters": [{"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}]
}
_BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The value as it is."}
}


@data_router.get("/keys", response_model=KeysEnvelope, response_model_exclude_none=True)
async def list_keys(
    opened: Opened,
    prefix: str = "",
    cursor: str = "",
    limit: Annotated[int, Query(ge=10, le=values.LIST_MAX)] = values.LIST_MAX,
) -> dict[str, Any]:
    """Keys in their order, with expiration and metadata."""
    async with stores.opened(opened) as store:
        keys, following = await values.list_keys(store, prefix=prefix, cursor=cursor, limit=limit)
    return {**answer(keys), "result_info": {"count": len(keys), "cursor": following}}


@data_router.get("/values/{key:path}", response_class=StreamingResponse, responses=_BINARY)
async def get_value(opened: Opened, key: KeyName) -> Response:
    """The value, without an envelope."""
    client = stores.client_of(opened)
    try:
        found = await values.get(Store(opened, client), key)
    except Exception:
        await client.aclose()
        raise
    headers = (
        {"Content-Length": found.headers["content-length"]}
        if "content-length" in found.headers
        else {}
    )
    return StreamingResponse(
        found.aiter_raw(),
        headers=headers,
        media_type="application/octet-stream",
        background=BackgroundTask(client.aclose),
    )


@data_router.put(
    "/values/{key:path}",
    response_model=Envelope[None],
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
    },
)
async def put_value(
    request: Request,
    opened: Opened,
    key: KeyName,
    expiration: str | None = None,
    expiration_ttl: str | None = None,
) -> dict[str, Any]:
    """Write a value of up to 25 MiB: the body, or the part `value` of a form beside `metadata`."""
    expires = {"expiration": expiration, "expiration_ttl": expiration_ttl}
    async with stores.opened(opened) as store:
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            form = await read_form(request)
            with form.value:
                metadata = form.metadata.decode("utf-8", "replace")
                await values.put(store, key, form.chunks(), metadata=metadata, **expires)
        else:
            await values.put(store, key, limited(request.stream()), **expires)
    return answer(None)


@data_router.delete("/values/{key:path}", response_model=Envelope[None])
async def delete_value(opened: Opened, key: KeyName) -> dict[str, Any]:
    """Delete a key; also one that is not there."""
    async with stores.opened(opened) as store:
        await values.delete(store, key)
    return answer(None)


@data_router.get("/metadata/{key:path}", response_model=Envelope[Any])
async def get_metadata(opened: Opened, key: KeyName) -> dict[str, Any]:
    async with stores.opened(opened) as store:
        return answer((await values.find(store, key)).get("metadata"))


_PAIRS_SCHEMA = {"type": "array", "items": {"type": "object", "required": ["key", "value"]}}
_KEYS_SCHEMA = {"type": "array", "items": {"type": "string"}}


@data_router.put("/bulk", response_model=Envelope[BulkOut], openapi_extra=json_body(_PAIRS_SCHEMA))
async def put_many(opened: Opened, pairs: Pairs) -> dict[str, Any]:
    """Write up to 10,000 keys."""
    async with stores.opened(opened) as store:
        return _bulk_answer(len(pairs), await values.put_many(store, pairs))


@data_router.delete(
    "/bulk", response_model=Envelope[BulkOut], openapi_extra=json_body(_KEYS_SCHEMA)
)
async def delete_many(opened: Opened, keys: Keys) -> dict[str, Any]:
    """Delete up to 10,000 keys."""
    async with stores.opened(opened) as store:
        return _bulk_answer(len(keys), await values.delete_many(store, keys))


@data_router.post(
    "/bulk/delete", response_model=Envelope[BulkOut], openapi_extra=json_body(_KEYS_SCHEMA)
)
async def delete_many_by_post(opened: Opened, keys: Keys) -> dict[str, Any]:
    """The same, as the SDKs ask for it."""
    return await delete_many(opened, keys)


@data_router.post("/bulk/get", response_model=Envelope[BulkGetOut])
async def get_many(opened: Opened, body: BulkGetIn) -> dict[str, Any]:
    """The values of up to 100 keys."""
    if not 1 <= len(body.keys) <= BULK_GET_KEYS_MAX:
        raise KVBulkTooLarge(
            f"You can request 1 to {BULK_GET_KEYS_MAX} keys, not {len(body.keys)}."
        )
    keys = [values.check_key(key) for key in body.keys]
    async with stores.opened(opened) as store:
        found = await values.get_many(store, keys, kind=body.type, with_metadata=body.withMetadata)
    wrapped = {
        key: value if value is None or body.withMetadata else {"value": value}
        for key, value in found.items()
    }
    return answer({"values": wrapped})


def _bulk_answer(count: int, failed: list[str]) -> dict[str, Any]:
    return answer({"successful_key_count": count - len(failed), "unsuccessful_keys": failed})

"""Objects over REST, as `wrangler r2 object` asks. Content streams through and is never held."""

from email.utils import parsedate_to_datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse

from api.clock import iso_of_milliseconds
from api.db import DB, transaction
from api.envelope import Envelope, Failure, answer
from api.errors import R2Refused, Refused
from api.middleware import sent_content_type
from api.nodes.stores import StoreDoor
from api.r2 import flows, service, store
from api.r2.content import streaming
from api.r2.protocol import Facts, http_fields
from api.r2.schemas import ListedObject, ListInfo, ObjectKey, ObjectOut
from api.security import CurrentAccount, CurrentActor

KEY_BYTES_MAX = 1024
router = APIRouter(prefix="/accounts/{account_id}/r2/buckets/{bucket}/objects", tags=["r2 data"])


class ObjectsOut(Envelope[list[ListedObject]]):
    result_info: ListInfo


def named_object(key: Annotated[str, Path(description="Slashes stay as they are.")]) -> str:
    """The key of the path. Raises R2Refused for one that no object can have."""
    if not key or len(key.encode(errors="surrogatepass")) > KEY_BYTES_MAX or "\0" in key:
        raise R2Refused("The specified object name is not valid.", v4code=10020)
    return key


def calling_door(actor: CurrentActor, bucket: str) -> StoreDoor:
    """The bucket of the path, looked up in a transaction that ends before anything streams."""
    with transaction() as session:
        return flows.door_of(session, actor.account_id, bucket)


CurrentDoor = Annotated[StoreDoor, Depends(calling_door)]
ObjectName = Annotated[str, Depends(named_object)]
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The object's content."},
    206: {"content": {"application/octet-stream": {}}, "description": "The part asked for."},
    416: {"model": Failure, "description": "The object has no such part."},
}


@router.get("", response_model=ObjectsOut)
def list_objects(
    session: DB,
    account: CurrentAccount,
    bucket: str,
    prefix: Annotated[str, Query(max_length=1024)] = "",
    delimiter: Annotated[str, Query(max_length=16)] = "",
    cursor: str | None = None,
    per_page: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> dict[str, Any]:
    """A page of the bucket's objects in the order of their keys; `delimited` are the folders."""
    asked: dict[str, Any] = {
        "method": "list",
        "prefix": prefix,
        "limit": per_page,
        "include": [0, 1],
    }
    if delimiter:
        asked["delimiter"] = delimiter
    if cursor:
        asked["cursor"] = cursor
    page = store.ask(flows.door_of(session, account.id, bucket), asked)
    info = {
        "cursor": page.get("cursor"),
        "is_truncated": page["truncated"],
        "per_page": per_page,
        "delimited": page["delimitedPrefixes"],
    }
    objects = [listed_out(Facts.of(entry)) for entry in page["objects"]]
    return {**answer(objects), "result_info": info}


@router.put("/{key:path}", response_model=Envelope[ObjectOut])
async def put_object(request: Request, door: CurrentDoor, key: ObjectName) -> dict[str, Any]:
    """Store the body under a key; its headers are the object's metadata."""
    length = request.headers.get("content-length")
    said = await store.put(
        door, _asked(request, key), request.stream(), int(length) if length else None
    )
    return answer(object_out(Facts.of(said)))


@router.get("/{key:path}", response_class=StreamingResponse, responses=_CONTENT)
async def get_object(request: Request, door: CurrentDoor, key: ObjectName) -> StreamingResponse:
    """The content of an object."""
    asked: dict[str, Any] = {"method": "get", "object": key}
    if "range" in request.headers:
        asked["rangeHeader"] = request.headers["range"]
    return await streaming(door, asked)


@router.delete("/{key:path}", response_model=Envelope[ObjectKey])
def delete_object(door: CurrentDoor, key: ObjectName) -> dict[str, Any]:
    """Delete an object; one that does not exist is deleted, too."""
    store.tell(door, {"method": "delete", "object": key})
    return answer({"key": key})


def _asked(request: Request, key: str) -> dict[str, Any]:
    headers = dict(request.headers)
    headers.pop("content-type", None)
    if sent := sent_content_type(request.scope):
        headers["content-type"] = sent
    fields: dict[str, Any] = http_fields(headers)
    if "expires" in headers:
        fields["cacheExpiry"] = _milliseconds(headers["expires"])
    storage_class = headers.get("cf-r2-storage-class", service.STORAGE_CLASSES[0])
    return {
        "method": "put",
        "object": key,
        "httpFields": fields,
        "storageClass": service.checked_class(storage_class),
    }


def _milliseconds(date: str) -> int:
    try:
        return int(parsedate_to_datetime(date).timestamp() * 1000)
    except ValueError as error:
        raise Refused(f"`expires` is no date: {date[:80]}. Nothing was stored.") from error


def object_out(facts: Facts) -> dict[str, Any]:
    return {
        "key": facts.key,
        "etag": facts.etag,
        "version": facts.version,
        "size": str(facts.size),
        "uploaded": iso_of_milliseconds(facts.uploaded_ms),
        "storage_class": facts.storage_class,
    }


def listed_out(facts: Facts) -> dict[str, Any]:
    return {
        "key": facts.key,
        "etag": facts.etag,
        "last_modified": iso_of_milliseconds(facts.uploaded_ms),
        "size": facts.size,
        "http_metadata": facts.http,
        "custom_metadata": facts.custom,
        "storage_class": facts.storage_class,
    }

"""Buckets over S3: listed, made, looked at, deleted; the objects in one listed and deleted together."""

from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.clock import iso, iso_of_milliseconds
from api.db import transaction
from api.r2 import flows, service, store
from api.r2.protocol import Facts
from api.s3 import payload, xml
from api.s3.caller import Call
from api.s3.objects import storage_class
from api.s3.problems import S3Problem, not_implemented

DELETED_MOST = 1000


def answered(name: str, pairs: xml.Pairs) -> Response:
    return Response(xml.document(name, pairs), media_type="application/xml")


async def list_buckets(call: Call) -> Response:
    def read() -> list[tuple[str, Any]]:
        with transaction() as session:
            return [
                ("Bucket", [("Name", one.name), ("CreationDate", iso(one.created_at))])
                for one in service.all_of(session, call.account_id)
            ]

    owner = [("ID", call.account_id), ("DisplayName", call.account_id)]
    found = await run_in_threadpool(read)
    return answered("ListAllMyBucketsResult", [("Owner", owner), ("Buckets", found)])


async def create(call: Call) -> Response:
    def make() -> None:
        with transaction() as session:
            service.create(session, call.account_id, call.bucket)

    await run_in_threadpool(make)
    return Response(headers={"Location": f"/{call.bucket}"})


async def look(call: Call) -> Response:
    await run_in_threadpool(call.door)
    return Response(headers={"x-amz-bucket-region": "auto"})


async def location(call: Call) -> Response:
    await run_in_threadpool(call.door)
    return answered("LocationConstraint", [])


async def delete(call: Call) -> Response:
    def end() -> None:
        with transaction() as session:
            flows.delete(session, call.account_id, call.bucket)

    await run_in_threadpool(end)
    return Response(status_code=204)


async def list_objects(call: Call) -> Response:
    """ListObjectsV2; the first version's markers are not kept."""
    if call.query.get("list-type") != "2":
        raise not_implemented("ListObjects (use ListObjectsV2)")
    limit = call.limit("max-keys")
    asked: dict[str, Any] = {"method": "list", "limit": max(limit, 1)}
    for name, parameter in (
        ("prefix", "prefix"),
        ("delimiter", "delimiter"),
        ("cursor", "continuation-token"),
        ("startAfter", "start-after"),
    ):
        if call.query.get(parameter):
            asked[name] = call.query[parameter]
    door = await run_in_threadpool(call.door)
    page = await run_in_threadpool(store.ask, door, asked)
    if limit == 0:
        page = {"objects": [], "delimitedPrefixes": [], "truncated": False}
    return answered("ListBucketResult", _page(call, page, limit))


def _page(call: Call, page: dict[str, Any], limit: int) -> list[tuple[str, Any]]:
    def shown(text: str) -> str:
        return quote(text, safe="/") if call.query.get("encoding-type") == "url" else text

    objects = [Facts.of(entry) for entry in page["objects"]]
    pairs: list[tuple[str, Any]] = [
        ("Name", call.bucket),
        ("Prefix", shown(call.query.get("prefix", ""))),
        ("MaxKeys", limit),
        ("KeyCount", len(objects) + len(page["delimitedPrefixes"])),
        ("IsTruncated", page["truncated"]),
    ]
    for name, parameter in (("Delimiter", "delimiter"), ("StartAfter", "start-after")):
        if parameter in call.query:
            pairs.append((name, shown(call.query[parameter])))
    for name, value in (
        ("EncodingType", call.query.get("encoding-type")),
        ("ContinuationToken", call.query.get("continuation-token")),
        ("NextContinuationToken", page.get("cursor")),
    ):
        if value:
            pairs.append((name, value))
    pairs += [
        (
            "Contents",
            [
                ("Key", shown(one.key)),
                ("LastModified", iso_of_milliseconds(one.uploaded_ms)),
                ("ETag", f'"{one.etag}"'),
                ("Size", one.size),
                ("StorageClass", storage_class(one)),
            ],
        )
        for one in objects
    ]
    pairs += [("CommonPrefixes", [("Prefix", shown(one))]) for one in page["delimitedPrefixes"]]
    return pairs


async def delete_objects(call: Call) -> Response:
    root = xml.parsed(await body_of(call), "Delete")
    keys = [xml.text_of(one, "Key") for one in xml.children(root, "Object")]
    if not 1 <= len(keys) <= DELETED_MOST:
        raise S3Problem("MalformedXML", 400, f"Between 1 and {DELETED_MOST} keys can be deleted.")
    door = await run_in_threadpool(call.door)
    await run_in_threadpool(store.tell, door, {"method": "delete", "objects": keys})
    quiet = xml.text_of(root, "Quiet") == "true"
    return answered("DeleteResult", [] if quiet else [("Deleted", [("Key", key)]) for key in keys])


async def body_of(call: Call) -> bytes:
    """A body in XML, read whole and checked against what was signed."""
    body = bytearray()
    parts = payload.content_of(call.claim, call.secret, call.headers, call.request.stream())
    async for part in parts:
        body += part
        if len(body) > xml.BODY_BYTES_MAX:
            raise S3Problem("MaxMessageLengthExceeded", 400, "Your request was too large.")
    return bytes(body)

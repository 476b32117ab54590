"""One object over S3: put, get, head, copied, deleted."""

from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.clock import iso_of_milliseconds
from api.errors import PreconditionFailed
from api.r2 import store
from api.r2.content import object_headers, streaming
from api.r2.protocol import Facts, custom_fields, http_fields
from api.s3 import payload, xml
from api.s3.caller import META, Call
from api.s3.problems import S3Problem, invalid

CLASSES = {"STANDARD": "Standard", "STANDARD_IA": "InfrequentAccess"}
_CLASS_NAMES = {theirs: ours for ours, theirs in CLASSES.items()}
# A presigned URL may ask for other headers than the object has.
_OVERRIDES = ("type", "language", "disposition", "encoding")


async def put(call: Call) -> Response:
    if "x-amz-copy-source" in call.headers:
        return await _copy(call)
    asked = {"method": "put", "object": call.key, **metadata_of(call), **conditions_of(call)}
    facts = Facts.of(await send(call, asked))
    return Response(headers={"ETag": f'"{facts.etag}"', "x-amz-version-id": facts.version})


async def send(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    """Have the store take the body of the call, once it has turned out to be what was signed."""
    if md5 := payload.md5_of(call.headers):
        asked["md5"] = md5
    size = payload.size_of(call.claim, call.headers)
    content = payload.content_of(call.claim, call.secret, call.headers, call.request.stream())
    door = await run_in_threadpool(call.door)
    return await store.put(door, asked, content, size)


async def get(call: Call) -> Response:
    asked: dict[str, Any] = {"method": "get", "object": call.key, **conditions_of(call)}
    if "range" in call.headers:
        asked["rangeHeader"] = call.headers["range"]
    door = await run_in_threadpool(call.door)
    try:
        response = await streaming(door, asked, facts_headers)
    except PreconditionFailed:
        if _only_asks_for_changes(call):
            return Response(status_code=304)
        raise
    for name in _OVERRIDES:
        if wanted := call.query.get(f"response-content-{name}"):
            response.headers[f"content-{name}"] = wanted
    return response


async def head(call: Call) -> Response:
    """As get, without the content: conditions and ranges are the store's to judge."""
    asked: dict[str, Any] = {"method": "get", "object": call.key, **conditions_of(call)}
    door = await run_in_threadpool(call.door)
    try:
        async with store.opened(door, asked) as opened:
            headers = {**object_headers(opened.facts), **facts_headers(opened.facts)}
            return Response(headers=headers)
    except PreconditionFailed:
        if _only_asks_for_changes(call):
            return Response(status_code=304)
        raise


async def delete(call: Call) -> Response:
    door = await run_in_threadpool(call.door)
    await run_in_threadpool(store.tell, door, {"method": "delete", "object": call.key})
    return Response(status_code=204)


async def _copy(call: Call) -> Response:
    """From bucket to bucket of the account, streamed from the one store request into the other."""
    bucket, _, key = unquote(call.headers["x-amz-copy-source"]).lstrip("/").partition("/")
    if not key:
        raise invalid("x-amz-copy-source is not BUCKET/KEY.")
    source, target = await run_in_threadpool(call.door, bucket), await run_in_threadpool(call.door)
    async with store.opened(source, {"method": "get", "object": key}) as opened:
        asked = {"method": "put", "object": call.key, **_copied(call, opened.facts)}
        facts = Facts.of(await store.put(target, asked, opened.content, opened.facts.size))
    answer = [("LastModified", iso_of_milliseconds(facts.uploaded_ms)), ("ETag", f'"{facts.etag}"')]
    return Response(xml.document("CopyObjectResult", answer), media_type="application/xml")


def _copied(call: Call, facts: Facts) -> dict[str, Any]:
    if call.headers.get("x-amz-metadata-directive", "COPY").upper() == "REPLACE":
        return metadata_of(call)
    return {
        "httpFields": facts.http,
        "customFields": custom_fields(facts.custom),
        "storageClass": facts.storage_class,
    }


def metadata_of(call: Call) -> dict[str, Any]:
    """What is said of an object in the headers of the request that makes it."""
    fields: dict[str, Any] = http_fields(call.headers)
    # The wrapping of the body, which is taken off, is no encoding of the object.
    encodings = [part.strip() for part in fields.pop("contentEncoding", "").split(",")]
    if kept := ", ".join(part for part in encodings if part and part != "aws-chunked"):
        fields["contentEncoding"] = kept
    if "expires" in call.headers:
        fields["cacheExpiry"] = _milliseconds(call.headers["expires"])
    name = call.headers.get("x-amz-storage-class", "STANDARD")
    if name not in CLASSES:
        raise S3Problem("InvalidStorageClass", 400, "The storage class you specified is not valid.")
    return {
        "httpFields": fields,
        "customFields": custom_fields(call.metadata),
        "storageClass": CLASSES[name],
    }


def conditions_of(call: Call) -> dict[str, Any]:
    """`onlyIf` of the store's protocol, from the headers of HTTP."""
    found: dict[str, Any] = {}
    for header, name in (("if-match", "etagMatches"), ("if-none-match", "etagDoesNotMatch")):
        if header in call.headers:
            found[name] = [_etag(text) for text in call.headers[header].split(",")]
    for header, name in (
        ("if-modified-since", "uploadedAfter"),
        ("if-unmodified-since", "uploadedBefore"),
    ):
        if header in call.headers:
            # To the second, and a moment that is the same counts as not after and as not before.
            shift = 1000 if name == "uploadedBefore" else 0
            found[name] = _milliseconds(call.headers[header]) + shift
    return {"onlyIf": {**found, "secondsGranularity": True}} if found else {}


def _etag(text: str) -> dict[str, str]:
    text = text.strip()
    if text == "*":
        return {"type": "wildcard", "value": ""}
    kind = "weak" if text.startswith("W/") else "strong"
    return {"type": kind, "value": text.removeprefix("W/").strip('"')}


def _only_asks_for_changes(call: Call) -> bool:
    return not {"if-match", "if-unmodified-since"} & set(call.headers)


def facts_headers(facts: Facts) -> dict[str, str]:
    """What S3 says of an object besides HTTP's own headers."""
    headers = {f"{META}{name}": value for name, value in facts.custom.items()}
    headers["x-amz-version-id"] = facts.version
    if facts.storage_class != "Standard":
        headers["x-amz-storage-class"] = storage_class(facts)
    return headers


def storage_class(facts: Facts) -> str:
    return _CLASS_NAMES.get(facts.storage_class, "STANDARD")


def _milliseconds(date: str) -> int:
    try:
        return int(parsedate_to_datetime(date).timestamp() * 1000)
    except ValueError as error:
        raise invalid(f"This is no date: {date[:80]}") from error

"""Uploads in parts over S3."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.clock import iso_of_milliseconds
from api.r2 import store
from api.r2.protocol import Facts
from api.s3 import xml
from api.s3.buckets import answered, body_of
from api.s3.caller import Call
from api.s3.objects import metadata_of, send
from api.s3.problems import S3Problem, invalid, not_implemented


async def create(call: Call) -> Response:
    asked = {"method": "createMultipartUpload", "object": call.key, **metadata_of(call)}
    made = await _tell(call, asked)
    pairs = [("Bucket", call.bucket), ("Key", call.key), ("UploadId", made["uploadId"])]
    return answered("InitiateMultipartUploadResult", pairs)


async def put_part(call: Call) -> Response:
    if "x-amz-copy-source" in call.headers:
        raise not_implemented("UploadPartCopy")
    number = call.query["partNumber"]
    if not number.isdecimal():
        raise invalid("partNumber must be a number.")
    asked = {**_upload(call, "uploadPart"), "partNumber": int(number[:6])}
    part = await send(call, asked)
    return Response(headers={"ETag": f'"{part["etag"]}"'})


async def complete(call: Call) -> Response:
    root = xml.parsed(await body_of(call), "CompleteMultipartUpload")
    parts = [_part(xml.text_of(one, "PartNumber"), one) for one in xml.children(root, "Part")]
    if not parts:
        raise S3Problem("MalformedXML", 400, "There are no parts.")
    asked = {**_upload(call, "completeMultipartUpload"), "parts": parts}
    # Asked first: the store has another answer for an upload that never was.
    await _ask(call, _upload(call, "listParts"))
    facts = Facts.of(await _tell(call, asked))
    pairs = [("Bucket", call.bucket), ("Key", call.key), ("ETag", f'"{facts.etag}"')]
    return answered("CompleteMultipartUploadResult", pairs)


def _part(number: str, element: Any) -> dict[str, Any]:
    if not number.isdecimal():
        raise S3Problem("MalformedXML", 400, "A part has no number.")
    return {"part": int(number[:6]), "etag": xml.text_of(element, "ETag").strip('"')}


async def abort(call: Call) -> Response:
    await _ask(call, _upload(call, "listParts"))
    await _tell(call, _upload(call, "abortMultipartUpload"))
    return Response(status_code=204)


async def list_parts(call: Call) -> Response:
    found = await _ask(call, _upload(call, "listParts"))
    pairs: list[tuple[str, Any]] = [
        ("Bucket", call.bucket),
        ("Key", call.key),
        ("UploadId", call.query["uploadId"]),
        ("IsTruncated", False),
    ]
    pairs += [
        (
            "Part",
            [
                ("PartNumber", one["part"]),
                ("LastModified", iso_of_milliseconds(one["uploaded"])),
                ("ETag", f'"{one["etag"]}"'),
                ("Size", one["size"]),
            ],
        )
        for one in found["parts"]
    ]
    return answered("ListPartsResult", pairs)


async def list_uploads(call: Call) -> Response:
    asked = {"method": "listUploads", "prefix": call.query.get("prefix", "")}
    found = await _ask(call, asked)
    pairs: list[tuple[str, Any]] = [("Bucket", call.bucket), ("IsTruncated", False)]
    pairs += [
        (
            "Upload",
            [
                ("Key", one["key"]),
                ("UploadId", one["uploadId"]),
                ("Initiated", iso_of_milliseconds(one["began"])),
            ],
        )
        for one in found["uploads"]
    ]
    return answered("ListMultipartUploadsResult", pairs)


def _upload(call: Call, method: str) -> dict[str, Any]:
    return {"method": method, "object": call.key, "uploadId": call.query["uploadId"]}


async def _ask(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    return await run_in_threadpool(store.ask, await run_in_threadpool(call.door), asked)


async def _tell(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    return await run_in_threadpool(store.tell, await run_in_threadpool(call.door), asked)

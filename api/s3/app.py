"""The S3-compatible endpoint: an ASGI application of its own under `/s3`, with buckets in the path.

Which operation a request asks for is said by its method, whether it names a key, and its query.
"""

from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api import ids
from api.errors import Problem
from api.s3 import buckets, caller, objects, problems, uploads, xml
from api.s3.caller import Call
from api.s3.problems import S3Problem, not_implemented

Operation = Callable[[Call], Awaitable[Response]]
log = structlog.get_logger()

# By method and what of the query decides, the first that fits.
_OF_KEY: tuple[tuple[str, str, Operation], ...] = (
    ("PUT", "partNumber", uploads.put_part),
    ("PUT", "", objects.put),
    ("GET", "uploadId", uploads.list_parts),
    ("GET", "", objects.get),
    ("HEAD", "", objects.head),
    ("DELETE", "uploadId", uploads.abort),
    ("DELETE", "", objects.delete),
    ("POST", "uploads", uploads.create),
    ("POST", "uploadId", uploads.complete),
)
_OF_BUCKET: tuple[tuple[str, str, Operation], ...] = (
    ("GET", "uploads", uploads.list_uploads),
    ("GET", "location", buckets.location),
    ("GET", "", buckets.list_objects),
    ("POST", "delete", buckets.delete_objects),
    ("PUT", "", buckets.create),
    ("HEAD", "", buckets.look),
    ("DELETE", "", buckets.delete),
)
_OF_ACCOUNT: tuple[tuple[str, str, Operation], ...] = (("GET", "", buckets.list_buckets),)
# What Skerry's buckets do not have: their names in the query must not be read as something else.
_MISSING = frozenset(
    [
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "tagging",
        "torrent",
        "versioning",
        "versions",
        "website",
        "attributes",
    ]
)


class S3:
    """One object for the path with and the path without anything behind `/s3`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request_id = ids.hex32()
        request = Request(scope, receive)
        try:
            call = await run_in_threadpool(caller.recognise, request)
            response = await _operation(call)(call)
        except S3Problem as problem:
            response = _refused(problem, request, request_id)
        except Problem as problem:
            response = _refused(problems.of(problem), request, request_id)
        except OperationalError as error:
            log.error("database_away", reason=str(error))
            away = S3Problem("ServiceUnavailable", 503, "The database does not answer. Try again.")
            response = _refused(away, request, request_id)
        except ClientDisconnect:
            return
        response.headers["x-amz-request-id"] = request_id
        await response(scope, receive, send)


def _operation(call: Call) -> Operation:
    table = _OF_KEY if call.key else _OF_BUCKET if call.bucket else _OF_ACCOUNT
    if missing := _MISSING & call.query.keys():
        raise not_implemented(f"?{min(missing)}")
    for method, parameter, operation in table:
        if method == call.request.method and (not parameter or parameter in call.query):
            return operation
    raise S3Problem("MethodNotAllowed", 405, "The specified method is not allowed here.")


def _refused(problem: S3Problem, request: Request, request_id: str) -> Response:
    level = log.error if problem.status >= 500 else log.info
    level("s3_refused", path=request.url.path, code=problem.code, reason=problem.message)
    pairs = [
        ("Code", problem.code),
        ("Message", problem.message),
        ("Resource", request.url.path),
        ("RequestId", request_id),
    ]
    # A client that is still sending learns of it by the closed connection.
    headers = {"Connection": "close"} if request.method in ("PUT", "POST") else {}
    body = b"" if request.method == "HEAD" else xml.document("Error", pairs)
    return Response(body, problem.status, headers, media_type="application/xml")

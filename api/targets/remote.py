"""What functions in AWS bind here: `/client/v4/skerry/bindings/NAME/…`, an ASGI application of its own.

Whoever calls has the credential of one version's function. NAME is a binding of that version. For storage
what is behind it is a request of the runtime's own protocol for such a binding (workerd.md, section 4), which
is passed on to the store of the node; for another script it is a call (calls.py). The adapter's side is
edge/lambda/remote.js.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

import httpx2
import structlog
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.bindings.kinds import RESOURCE_KINDS
from api.bindings.models import Binding
from api.db import transaction
from api.envelope import failure
from api.errors import NotAllowed, Problem
from api.nodes import stores
from api.nodes.stores import REASON_HEADER, Store, StoreDoor
from api.settings import settings
from api.targets import calls, credentials
from api.versions.models import Version

PREFIX = "/client/v4/skerry/bindings"
# An answer with it is Skerry's and not the store's.
REFUSED_HEADER = "x-skerry-refused"

log = structlog.get_logger()

# What the runtime asks of a binding of each kind; a store knows more, for the control plane alone.
_OPERATIONS = {
    "kv": re.compile(r"(GET /[^/]*|(PUT|DELETE) /[^/]+|POST /bulk/get)"),
    "d1": re.compile(r"POST /(query|execute)"),
    "r2": re.compile(r"(GET|PUT) /"),
    "queues": re.compile(r"POST /(message|batch)|GET /metrics"),
    "services": re.compile(r"POST /call"),
}
_KINDS = {
    "kv_namespace": "kv",
    "d1": "d1",
    "r2_bucket": "r2",
    "queue": "queues",
    "service": "services",
}
_R2_READS = frozenset({"head", "get", "list"})
_R2_REQUEST = "cf-r2-request"
_ASKED = re.compile(
    r"content-length|content-type|x-cf-d1-session-commit-token|cf-kv-metadata"
    r"|cf-r2-(request|metadata-size)|x-msg-(fmt|delay-secs)"
)
_ANSWERED = re.compile(
    r"content-length|content-type|x-cf-d1-session-commit-token|cf-kv-metadata|cf-cache-status"
    rf"|cf-r2-(error|metadata-size)|cf-queues-error-(code|cause)|{REASON_HEADER}"
)


def address() -> str:
    """Where functions find their bindings; empty when the platform has no HTTPS address."""
    found = (settings().bindings_url or settings().public_url).rstrip("/")
    return f"{found}{PREFIX}" if found.startswith("https://") else ""


@dataclass(frozen=True)
class _Call:
    request: Request
    name: str
    """Of the binding."""
    path: str
    """Encoded, for the store."""
    secret: str


class Bindings:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            call = _read(request)
            door = await run_in_threadpool(_door, call)
            if isinstance(door, calls.CallDoor):
                await calls.pass_on(door, request, send)
                return
            response = await _forwarded(call, door)
        except Problem as problem:
            response = _refused(problem, request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)


def _read(request: Request) -> _Call:
    path = request.scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
    name, slash, rest = path.removeprefix(f"{PREFIX}/").partition("/")
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise NotAllowed("There is no credential of a function. Nothing was changed.")
    return _Call(request, unquote(name), slash + rest, secret)


def _door(call: _Call) -> StoreDoor | calls.CallDoor:
    """The way to what the binding leads to. Raises NotAllowed for all that the credential does not open."""
    with transaction() as session:
        found = credentials.recognise(session, call.secret)
        if found is None:
            raise NotAllowed(
                "The credential of this function is unknown, replaced or revoked. Nothing was changed."
            )
        version = session.get_one(Version, found.version_id)
        binding = session.get(Binding, (version.id, call.name))
        if binding is None or binding.type not in _KINDS:
            raise NotAllowed(
                f"Version {version.number} binds no storage and no Worker as {call.name[:80]}. "
                "Nothing was changed."
            )
        kind = _KINDS[binding.type]
        _check_operation(call, kind)
        if kind == "services":
            return calls.door(session, version, binding)
        name = str(binding.attributes[RESOURCE_KINDS[binding.type]])
        return stores.door(session, version.script.account_id, kind, name)


def _check_operation(call: _Call, kind: str) -> None:
    asked = f"{call.request.method} {call.path}"
    if not _OPERATIONS[kind].fullmatch(asked) or (
        kind == "r2" and call.request.method == "GET" and _reads(call.request) not in _R2_READS
    ):
        raise NotAllowed(
            f"A function may not ask {asked[:80]} of this binding. Nothing was changed."
        )


def _reads(request: Request) -> str:
    try:
        return str(json.loads(request.headers.get(_R2_REQUEST, "")).get("method"))
    except (ValueError, AttributeError, RecursionError):
        return ""


async def _forwarded(call: _Call, door: StoreDoor) -> Response:
    """The store's answer; bodies pass in pieces, both ways."""
    request = call.request
    query = request.scope["query_string"].decode("ascii", "replace")
    sent = "content-length" in request.headers or "transfer-encoding" in request.headers
    client = stores.client_of(door)
    try:
        answer = await Store(door, client).send(
            request.method,
            call.path + (f"?{query}" if query else ""),
            headers=dict(_passed(request.headers.items())),
            content=request.stream() if sent else None,
        )
    except BaseException:
        await client.aclose()
        raise
    response = StreamingResponse(
        answer.aiter_raw(), answer.status_code, background=BackgroundTask(client.aclose)
    )
    response.raw_headers = _answered(answer)
    return response


def _passed(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if _ASKED.fullmatch(name.lower())]


def _answered(answer: httpx2.Response) -> list[tuple[bytes, bytes]]:
    # As they came: what a script gave to KV as metadata may be any Unicode.
    return [
        (name, value)
        for name, value in answer.headers.raw
        if _ANSWERED.fullmatch(name.decode("latin-1").lower())
    ]


def _refused(problem: Problem, request: Request) -> Response:
    log.info("binding_refused", path=request.url.path[:200], reason=problem.message)
    headers = {REFUSED_HEADER: problem.message.encode("ascii", "replace").decode()}
    # Who is still sending learns of it by the closed connection.
    if request.method in ("PUT", "POST"):
        headers["Connection"] = "close"
    return JSONResponse(failure(problem.as_error()), problem.status, headers)
